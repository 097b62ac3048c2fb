// The product with weights that stay packed codes: their memory, and the dispatch.
#include "ops/gemm_codes.h"

#include "ops/chunks.h"
#include "ops/rate.h"
#include "ops/rounding.h"

#include <stdio.h>
#include <string.h>

#define MAX_SCRATCH_BYTES (UINT64_C(64) << 20) // for codes and values of rows on their way to dense weights
#define WIDE_OUTPUTS 32                        // rows of w that a work-item of _wide takes

uint32_t bm_gemm_codes_form(const bm_device *device, uint32_t *group)
{
    const bool is_wide = bm_device_get_info(device)->kind == BM_DEVICE_CPU &&
                         bm_kernel_has_variant(device, BM_KERNEL_GEMM_CODES, BM_VARIANT_GEMM_CODES_WIDE);
    *group = is_wide ? 1 : bm_chunk_group(device, 64);
    return is_wide ? BM_VARIANT_GEMM_CODES_WIDE : 0;
}

uint32_t bm_gemm_codes_rows(const bm_device *device, uint64_t m)
{
    // Eight spill on Intel's GPUs.
    const bm_device_info *info = bm_device_get_info(device);
    const bool is_intel = bm_device_kind_is_gpu(info->kind) && strstr(info->name, "Intel");
    return m == 1 ? 1 : is_intel ? 4 : BM_GEMM_CODES_MAX_ROWS;
}

bool bm_code_weights_can(const bm_device *device, uint64_t out_features, uint64_t in_features, uint32_t bits,
                         uint32_t group_size)
{
    const uint64_t words = bm_tensor_stride(BM_DTYPE_U32, bm_divide_up(in_features * bits, 32));
    return (bits == 2 || bits == 4 || bits == 8) && group_size > 0 &&
           (group_size % 16 == 0 || group_size == in_features) && out_features * words < UINT32_C(0x80000000) &&
           out_features * words * sizeof(uint32_t) <= bm_device_get_info(device)->limits.max_allocation_bytes;
}

bool bm_code_weights_pay(const bm_device *device)
{
    const bm_device_kind kind = bm_device_get_info(device)->kind;
    uint32_t group;
    return bm_device_kind_is_gpu(kind) || kind == BM_DEVICE_OTHER || bm_gemm_codes_form(device, &group) != 0;
}

uint64_t bm_code_weights_bytes(uint64_t out_features, uint64_t in_features, uint32_t bits, uint32_t group_size,
                               bool symmetric)
{
    const uint64_t words = bm_tensor_stride(BM_DTYPE_U32, bm_divide_up(in_features * bits, 32));
    const uint64_t groups = bm_tensor_stride(BM_DTYPE_F32, bm_num_groups(in_features, group_size));
    return out_features * sizeof(uint32_t) * (words + (symmetric ? 1 : 2) * groups);
}

bm_status bm_code_weights_create(bm_device *device, uint64_t out_features, uint64_t in_features, uint32_t bits,
                                 uint32_t group_size, bool symmetric, const char *name, bm_code_weights **out,
                                 bm_error *err)
{
    bm_status status = BM_OK;
    bm_code_weights *w = NULL;
    BM_FAIL_IF(!bm_code_weights_can(device, out_features, in_features, bits, group_size), err, BM_E_ARGUMENT,
               "%s: codes of %u bits in groups of %u, expected 2, 4 or 8 bits and groups of a multiple of 16", name,
               bits, group_size);
    w = bm_alloc_zero(1, sizeof *w);
    BM_FAIL_IF(!w, err, BM_E_MEMORY, "out of memory");
    w->out_features = out_features;
    w->in_features = in_features;
    w->bits = bits;
    w->group_size = group_size;
    snprintf(w->name, sizeof w->name, "%s", name);
    const uint64_t words = bm_divide_up(in_features * bits, 32), groups = bm_num_groups(in_features, group_size);
    BM_TRY(bm_tensor_create(device, BM_DTYPE_U32, out_features, words, name, &w->words, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, out_features, groups, name, &w->step, err));
    if (!symmetric)
        BM_TRY(bm_tensor_create(device, BM_DTYPE_I32, out_features, groups, name, &w->zero_point, err));
    *out = w;
    w = NULL;
done:
    bm_code_weights_destroy(&w);
    return status;
}

void bm_code_weights_destroy(bm_code_weights **weights)
{
    if (!weights || !*weights)
        return;
    bm_tensor_destroy(&(*weights)->words);
    bm_tensor_destroy(&(*weights)->step);
    bm_tensor_destroy(&(*weights)->zero_point);
    bm_free(*weights);
    *weights = NULL;
}

bm_status bm_code_weights_set_rows(bm_device *device, bm_code_weights *w, uint64_t first_row, const bm_tensor *codes,
                                   const bm_tensor *step, const bm_tensor *zero_point, bm_error *err)
{
    bm_status status = BM_OK;
    BM_FAIL_IF(
        codes->cols != w->in_features || first_row > w->out_features || codes->rows > w->out_features - first_row, err,
        BM_E_ARGUMENT, "%s: rows %llu..%llu of %llu columns, the weights are [%llu, %llu]", w->name,
        (unsigned long long)first_row, (unsigned long long)(first_row + codes->rows), (unsigned long long)codes->cols,
        (unsigned long long)w->out_features, (unsigned long long)w->in_features);
    const bm_tensor words = bm_tensor_rows(&w->words, first_row, codes->rows);
    const bm_tensor steps = bm_tensor_rows(&w->step, first_row, codes->rows);
    BM_TRY(bm_pack_codes(device, codes, w->bits, &words, err));
    BM_TRY(bm_tensor_copy(device, step, &steps, err));
    if (w->zero_point.view.buffer) {
        const bm_tensor zeros = bm_tensor_rows(&w->zero_point, first_row, codes->rows);
        BM_TRY(bm_tensor_copy(device, zero_point, &zeros, err));
    }
done:
    return status;
}

// Zero points of rows: those of the weights, or zeros in memory behind the values.
static bm_status zero_points(bm_device *device, const bm_code_weights *w, uint64_t first, uint64_t count, bm_view zeros,
                             bm_tensor *out, bm_error *err)
{
    if (w->zero_point.view.buffer) {
        *out = bm_tensor_rows(&w->zero_point, first, count);
        return BM_OK;
    }
    *out = (bm_tensor){BM_DTYPE_I32, count, w->step.cols, w->step.stride, zeros};
    return bm_fill(device, zeros, 0, err);
}

bm_status bm_code_weights_dequantize(bm_device *device, const bm_code_weights *w, bm_weights *dense, bm_error *err)
{
    bm_status status = BM_OK;
    bm_view memory;
    const uint64_t codes_stride = bm_tensor_stride(BM_DTYPE_I8, w->in_features);
    const uint64_t values_stride = bm_tensor_stride(BM_DTYPE_F32, w->in_features);
    const uint64_t a_row = codes_stride + (values_stride + w->step.stride) * sizeof(float);
    const uint64_t rows = bm_min_u64(w->out_features, bm_max_u64(1, MAX_SCRATCH_BYTES / a_row));
    BM_FAIL_IF(dense->out_features != w->out_features || dense->in_features != w->in_features, err, BM_E_ARGUMENT,
               "%s: weights of [%llu, %llu] for codes of [%llu, %llu]", w->name,
               (unsigned long long)dense->out_features, (unsigned long long)dense->in_features,
               (unsigned long long)w->out_features, (unsigned long long)w->in_features);
    BM_TRY(bm_device_scratch(device, rows * a_row, &memory, err));
    for (uint64_t first = 0; first < w->out_features; first += rows) {
        const uint64_t count = bm_min_u64(rows, w->out_features - first);
        const uint64_t codes_bytes = count * codes_stride, values_bytes = count * values_stride * sizeof(float);
        const bm_tensor words = bm_tensor_rows(&w->words, first, count), step = bm_tensor_rows(&w->step, first, count);
        const bm_tensor codes = {BM_DTYPE_I8, count, w->in_features, codes_stride,
                                 bm_view_part(memory, 0, codes_bytes)};
        const bm_tensor values = {BM_DTYPE_F32, count, w->in_features, values_stride,
                                  bm_view_part(memory, codes_bytes, values_bytes)};
        bm_tensor zeros;
        BM_TRY(zero_points(device, w, first, count,
                           bm_view_part(memory, codes_bytes + values_bytes, count * w->step.stride * sizeof(int32_t)),
                           &zeros, err));
        BM_TRY(bm_unpack_codes(device, &words, w->bits, &codes, err));
        BM_TRY(bm_dequantize(device, &codes, &step, &zeros, w->group_size, &values, err));
        BM_TRY(bm_weights_set_rows(device, dense, first, &values, err));
    }
done:
    return status;
}

static bm_status check(const bm_device *device, const bm_tensor *x, const bm_code_weights *w, const bm_tensor *bias,
                       const bm_tensor *y, bm_error *err)
{
    bm_status status = BM_OK;
    char subject[160];
    snprintf(subject, sizeof subject, "%s: %llu input features", w->name, (unsigned long long)w->in_features);
    BM_TRY(bm_check_real(device, w->name, "x", x, x->rows, w->in_features, err));
    BM_TRY(bm_check_real(device, w->name, "y", y, x->rows, w->out_features, err));
    if (bias)
        BM_TRY(bm_check_real(device, w->name, "bias", bias, 1, w->out_features, err));
    BM_TRY(bm_check_rounds(device, w->in_features / 16 + 64, subject, "", err));
done:
    return status;
}

uint64_t bm_gemm_codes_piece(const bm_device *device, uint64_t m, uint64_t out_features, uint64_t in_features)
{
    const uint64_t unit = bm_gemm_codes_rows(device, m);
    const double a_row = bm_gemm_operations(1, out_features, in_features);
    const double by_time = bm_chunk_max_seconds(device) * bm_rate(device, BM_WORK_GENERIC) / a_row;
    return by_time >= (double)m ? m : bm_max_u64(bm_max_u64(unit, BM_THIN_ROWS), (uint64_t)by_time / unit * unit);
}

// Of rows that one dispatch takes; rows: that a work-item takes at a time.
static bm_status multiply(bm_device *device, const bm_tensor *x, const bm_code_weights *w, const bm_tensor *bias,
                          bool adds, uint32_t rows, const bm_tensor *y, bm_error *err)
{
    const uint64_t m = x->rows, n = w->out_features, k = w->in_features;
    uint32_t group;
    const uint32_t variant = bm_gemm_codes_form(device, &group);
    const uint64_t tiles = bm_divide_up(m, rows) * bm_divide_up(n, variant != 0 ? WIDE_OUTPUTS : 4);
    const bm_gemm_codes_scalars scalars = {(uint32_t)m,
                                           (uint32_t)n,
                                           (uint32_t)k,
                                           (uint32_t)x->stride,
                                           (uint32_t)w->words.stride,
                                           (uint32_t)w->step.stride,
                                           (uint32_t)y->stride,
                                           w->group_size,
                                           w->zero_point.view.buffer != NULL,
                                           bias != NULL,
                                           adds};
    bm_call call = {.kernel = BM_KERNEL_GEMM_CODES,
                    .variant = variant,
                    .buffers = {x->view, w->words.view, w->step.view, w->zero_point.view, {0}, y->view},
                    .types = {x->dtype, BM_DTYPE_NONE, BM_DTYPE_NONE, BM_DTYPE_NONE, BM_DTYPE_NONE, y->dtype},
                    .scalars = &scalars,
                    .tunables = {group, rows, w->bits},
                    .groups = {(uint32_t)bm_min_u64(tiles, bm_device_get_info(device)->limits.max_groups[0]), 1, 1},
                    .subject = w->name,
                    .seconds = bm_chunk_seconds(device, bm_gemm_operations(m, n, k))};
    if (bias)
        call.buffers[4] = bias->view, call.types[4] = bias->dtype;
    return bm_dispatch(device, &call, err);
}

bm_status bm_gemm_codes(bm_device *device, const bm_tensor *x, const bm_code_weights *w, const bm_tensor *bias,
                        bool adds, const bm_tensor *y, bm_error *err)
{
    const uint64_t m = x->rows, rows = bm_gemm_codes_piece(device, m, w->out_features, w->in_features);
    bm_status status = check(device, x, w, bias, y, err);
    for (uint64_t first = 0; first < m && status == BM_OK; first += rows) {
        const uint64_t count = bm_min_u64(rows, m - first);
        const bm_tensor some_x = bm_tensor_rows(x, first, count), some_y = bm_tensor_rows(y, first, count);
        status = multiply(device, &some_x, w, bias, adds, bm_gemm_codes_rows(device, m), &some_y, err);
    }
    return status;
}
