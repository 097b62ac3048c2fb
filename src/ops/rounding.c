// Rounding of matrices to a grid.
#include "ops/rounding.h"

#include "ops/chunks.h"

#include <math.h>
#include <stdio.h>

#define NUM_FACTORS (BM_GRID_MAX_FACTORS / 2)
#define SEARCH_GROUP 32 // 86 factors in three rounds of 32 work-items leave few idle

uint32_t bm_num_groups(uint64_t cols, uint32_t group_size)
{
    return (uint32_t)bm_divide_up(cols, group_size);
}

uint32_t bm_most_groups(uint64_t cols, const bm_grid_params *grids, uint32_t num_grids)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < num_grids; i++)
        most = (uint32_t)bm_max_u64(most, bm_num_groups(cols, grids[i].group_size));
    return most;
}

bool bm_grid_is_same(const bm_grid_params *a, const bm_grid_params *b)
{
    return a->bits == b->bits && a->group_size == b->group_size && a->symmetric == b->symmetric &&
           a->scale_dtype == b->scale_dtype && a->search == b->search && a->signed_scales == b->signed_scales &&
           a->nested == b->nested && a->clip_n_grid == b->clip_n_grid && a->clip_max_shrink == b->clip_max_shrink;
}

double bm_grid_search_operations(uint64_t rows, uint64_t cols, uint32_t num_factors)
{
    return 9.0 * (double)rows * (double)cols * num_factors; // scale, round, two clamps, back, difference, square, sum
}

static bm_status check_groups(const char *operation, const bm_tensor *matrix, uint32_t group_size, bm_error *err)
{
    if (group_size == 0 || (group_size % 4 != 0 && group_size != matrix->cols))
        return bm_fail(err, BM_E_ARGUMENT, "%s: group_size %u, expected a multiple of 4 or all %llu columns", operation,
                       group_size, (unsigned long long)matrix->cols);
    return BM_OK;
}

static bm_status check_bits(const char *operation, uint32_t bits, bm_error *err)
{
    if (bits < 2 || bits > 8)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %u bits, expected 2..8", operation, bits);
    return BM_OK;
}

static bm_status check_grid(const char *operation, const bm_tensor *matrix, const bm_tensor *step,
                            const bm_tensor *zero_point, uint32_t group_size, bm_error *err)
{
    const uint32_t groups = bm_num_groups(matrix->cols, group_size ? group_size : 1);
    bm_status status = BM_OK;
    BM_TRY(check_groups(operation, matrix, group_size, err));
    BM_TRY(bm_check_matrix(operation, "step", step, BM_DTYPE_F32, matrix->rows, groups, err));
    BM_TRY(bm_check_matrix(operation, "zero_point", zero_point, BM_DTYPE_I32, matrix->rows, groups, err));
    BM_FAIL_IF(step->stride != zero_point->stride, err, BM_E_ARGUMENT, "%s: step and zero_point have different strides",
               operation);
done:
    return status;
}

static bm_status check_ranges(const bm_device *device, const char *operation, const bm_tensor *w, uint32_t group_size,
                              const bm_tensor *minimum, const bm_tensor *maximum, bm_error *err)
{
    const uint32_t groups = bm_num_groups(w->cols, group_size ? group_size : 1);
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(device, operation, "w", w, w->rows, w->cols, err));
    BM_TRY(check_groups(operation, w, group_size, err));
    BM_TRY(bm_check_matrix(operation, "minimum", minimum, BM_DTYPE_F32, w->rows, groups, err));
    BM_TRY(bm_check_matrix(operation, "maximum", maximum, BM_DTYPE_F32, w->rows, groups, err));
    BM_FAIL_IF(minimum->stride != maximum->stride, err, BM_E_ARGUMENT, "%s: minimum and maximum have different strides",
               operation);
done:
    return status;
}

bm_status bm_group_range(bm_device *device, const bm_tensor *w, uint32_t group_size, const bm_tensor *minimum,
                         const bm_tensor *maximum, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(check_ranges(device, "group_range", w, group_size, minimum, maximum, err));
    const uint32_t groups = bm_num_groups(w->cols, group_size);
    bm_group_range_scalars scalars = {0,      (uint32_t)w->cols,        (uint32_t)w->stride, group_size,
                                      groups, (uint32_t)minimum->stride};
    BM_TRY(bm_run_rows(device,
                       &(bm_row_call){.kernel = BM_KERNEL_GROUP_RANGE,
                                      .tensors = {w, minimum, maximum},
                                      .scalars = &scalars,
                                      .operations = 2.0 * (double)w->cols,
                                      .items = groups},
                       err));
done:
    return status;
}

bm_status bm_group_normalize(bm_device *device, const bm_tensor *w, uint32_t group_size, const bm_tensor *minimum,
                             const bm_tensor *maximum, const bm_tensor *normalized, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(check_ranges(device, "group_normalize", w, group_size, minimum, maximum, err));
    BM_TRY(bm_check_matrix("group_normalize", "normalized", normalized, BM_DTYPE_F32, w->rows, w->cols, err));
    bm_group_normalize_scalars scalars = {0,          (uint32_t)w->cols,         (uint32_t)w->stride,
                                          group_size, (uint32_t)minimum->stride, (uint32_t)normalized->stride};
    BM_TRY(bm_run_rows(device,
                       &(bm_row_call){.kernel = BM_KERNEL_GROUP_NORMALIZE,
                                      .tensors = {w, minimum, maximum, normalized},
                                      .scalars = &scalars,
                                      .operations = 6.0 * (double)w->cols,
                                      .items = bm_divide_up(w->cols, 4)},
                       err));
done:
    return status;
}

// Thresholds of clipping, from the one that changes least; at least the range itself. A product that is meant to be a whole
// number may lie above it by what float32 makes of clip_max_shrink.
static uint32_t fill_thresholds(const bm_grid_params *p, float factors[BM_GRID_MAX_FACTORS])
{
    const double end = fmin(BM_GRID_MAX_FACTORS, (double)p->clip_n_grid * (double)p->clip_max_shrink - 1e-3);
    uint32_t count = 0;
    factors[count++] = 1.0f;
    for (; count < end; count++)
        factors[count] = (float)(1.0 - (double)count / (double)p->clip_n_grid);
    return count;
}

// The candidates 1.05 - 0.01 i, i = 0..85, from the one that changes least: 1, 0.99, 1.01, 0.98, ..., then, with signed
// scales, their negatives. In a tie the first wins. Returns their number; without a search it is 1.
static uint32_t fill_factors(const bm_grid_params *p, float factors[BM_GRID_MAX_FACTORS])
{
    enum { ONE = 5 }; // its index: 1.05 - 0.01 * 5
    uint32_t count = 0;
    if (p->search && p->clip_n_grid > 0)
        return fill_thresholds(p, factors);
    factors[count++] = 1.0f;
    for (int away = 1; p->search && away < NUM_FACTORS - ONE; away++) {
        factors[count++] = (float)(1.05 - 0.01 * (ONE + away));
        if (away <= ONE)
            factors[count++] = (float)(1.05 - 0.01 * (ONE - away));
    }
    if (!p->search || !p->signed_scales || !p->symmetric)
        return count;
    for (uint32_t i = 0; i < count; i++)
        factors[count + i] = -factors[i];
    return 2 * count;
}

bm_status bm_grid_factors(bm_device *device, const bm_grid_params *params, bm_tensor *out, bm_error *err)
{
    float factors[BM_GRID_MAX_FACTORS];
    bm_status status = bm_tensor_create(device, BM_DTYPE_F32, 1, fill_factors(params, factors), "factors", out, err);
    return status == BM_OK ? bm_tensor_upload(device, out, factors, err) : status;
}

// A work-item's loops over the quads of one group, in blocks of 64, for each of its factors: a driver that ends loops early
// would give wrong steps and say nothing.
static bm_status check_rounds(const bm_device *device, uint64_t group_cols, uint32_t num_factors, bm_error *err)
{
    const uint64_t quads = bm_divide_up(group_cols, 4);
    const uint64_t rounds = 1 + bm_divide_up(num_factors, SEARCH_GROUP) * (quads + bm_divide_up(quads, 64) + 1);
    char subject[96];
    snprintf(subject, sizeof subject, "grid search: groups of %llu weights", (unsigned long long)group_cols);
    return bm_check_rounds(device, rounds, subject, "smaller groups, or ", err);
}

static bm_status search(bm_device *device, const bm_tensor *w, const bm_grid_params *p, const bm_tensor *minimum,
                        const bm_tensor *maximum, const bm_tensor *factors, const bm_tensor *weights,
                        const bm_tensor *step, const bm_tensor *zero_point, bm_error *err)
{
    const uint32_t groups = bm_num_groups(w->cols, p->group_size), num_factors = (uint32_t)factors->cols;
    // A work-group walks few groups, whatever their number (see bm_chunk_groups).
    const uint64_t rows_at_once =
        bm_min_u64(bm_chunk_rows(device, w->stride, bm_grid_search_operations(1, w->cols, num_factors)),
                   bm_max_u64(4, (UINT64_C(1) << 20) / groups / 4 * 4));
    const uint32_t lanes = bm_chunk_lanes(device, BM_KERNEL_SCALE_SEARCH); // a variant, or 0: the generic kernel
    bm_status status = BM_OK;
    for (uint64_t first = 0; first < w->rows && status == BM_OK; first += rows_at_once) {
        const uint64_t rows = bm_min_u64(rows_at_once, w->rows - first);
        const bm_scale_search_scalars scalars = {
            (uint32_t)rows, (uint32_t)w->cols,        (uint32_t)w->stride, p->group_size,
            groups,         (uint32_t)step->stride,   num_factors,         p->bits,
            p->symmetric,   (uint32_t)p->scale_dtype, weights != NULL};
        const bm_call call = {
            .kernel = BM_KERNEL_SCALE_SEARCH,
            .variant = lanes,
            .buffers = {bm_tensor_rows(w, first, rows).view, bm_tensor_rows(minimum, first, rows).view,
                        bm_tensor_rows(maximum, first, rows).view, factors->view,
                        weights ? weights->view : (bm_view){0}, bm_tensor_rows(step, first, rows).view,
                        bm_tensor_rows(zero_point, first, rows).view},
            .types = {w->dtype},
            .scalars = &scalars,
            .tunables = {lanes ? 1 : SEARCH_GROUP},
            .groups = {bm_chunk_groups(device, rows * groups, 1), 1, 1},
            .seconds = bm_chunk_seconds(device, bm_grid_search_operations(rows, w->cols, num_factors))};
        status = bm_dispatch(device, &call, err);
    }
    return status;
}

bm_status bm_grid_search(bm_device *device, const bm_tensor *w, const bm_grid_params *p, const bm_tensor *weights,
                         const bm_tensor *step, const bm_tensor *zero_point, bm_error *err)
{
    bm_tensor minimum = {0}, maximum = {0}, factors = {0};
    bm_status status = BM_OK;
    BM_TRY(check_bits("grid search", p->bits, err));
    BM_FAIL_IF(p->scale_dtype != BM_DTYPE_F32 && p->scale_dtype != BM_DTYPE_F16 && p->scale_dtype != BM_DTYPE_BF16, err,
               BM_E_ARGUMENT, "grid search: steps of type %s", bm_dtype_name(p->scale_dtype));
    BM_TRY(check_grid("grid search", w, step, zero_point, p->group_size, err));
    if (weights)
        BM_TRY(bm_check_matrix("grid search", "weights", weights, BM_DTYPE_F32, 1, w->cols, err));
    BM_TRY(bm_grid_factors(device, p, &factors, err));
    BM_TRY(check_rounds(device, bm_min_u64(p->group_size, w->cols), (uint32_t)factors.cols, err));
    const uint32_t groups = bm_num_groups(w->cols, p->group_size);
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, w->rows, groups, "minimum", &minimum, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, w->rows, groups, "maximum", &maximum, err));
    BM_FAIL_IF(minimum.stride != step->stride, err, BM_E_ARGUMENT, "grid search: step is not dense");
    BM_TRY(bm_group_range(device, w, p->group_size, &minimum, &maximum, err));
    BM_TRY(search(device, w, p, &minimum, &maximum, &factors, weights, step, zero_point, err));
done:
    bm_tensor_destroy(&minimum);
    bm_tensor_destroy(&maximum);
    bm_tensor_destroy(&factors);
    return status;
}

bm_status bm_quantize(bm_device *device, const bm_tensor *w, const bm_tensor *step, const bm_tensor *zero_point,
                      uint32_t group_size, uint32_t bits, const bm_tensor *codes, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(device, "quantize", "w", w, w->rows, w->cols, err));
    BM_TRY(check_bits("quantize", bits, err));
    BM_TRY(check_grid("quantize", w, step, zero_point, group_size, err));
    BM_TRY(bm_check_matrix("quantize", "codes", codes, BM_DTYPE_I8, w->rows, w->cols, err));
    bm_quantize_scalars scalars = {
        0, (uint32_t)w->cols, (uint32_t)w->stride, group_size, (uint32_t)step->stride, (uint32_t)codes->stride, bits};
    BM_TRY(bm_run_rows(device,
                       &(bm_row_call){.kernel = BM_KERNEL_QUANTIZE,
                                      .tensors = {w, step, zero_point, codes},
                                      .scalars = &scalars,
                                      .operations = 8.0 * (double)w->cols,
                                      .items = bm_divide_up(w->cols, 4)},
                       err));
done:
    return status;
}

static bm_status dequantize(bm_device *device, const bm_tensor *codes, const bm_tensor *step,
                            const bm_tensor *zero_point, uint32_t group_size, bm_view group_index, const bm_tensor *w,
                            bm_error *err)
{
    bm_dequantize_scalars scalars = {0,
                                     (uint32_t)w->cols,
                                     (uint32_t)codes->stride,
                                     group_size,
                                     (uint32_t)step->stride,
                                     (uint32_t)w->stride,
                                     group_index.buffer != NULL};
    return bm_run_rows(device,
                       &(bm_row_call){.kernel = BM_KERNEL_DEQUANTIZE,
                                      .tensors = {codes, step, zero_point, NULL, w},
                                      .whole = {[3] = group_index},
                                      .scalars = &scalars,
                                      .operations = 2.0 * (double)w->cols,
                                      .items = bm_divide_up(w->cols, 4)},
                       err);
}

bm_status bm_dequantize(bm_device *device, const bm_tensor *codes, const bm_tensor *step, const bm_tensor *zero_point,
                        uint32_t group_size, const bm_tensor *w, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(device, "dequantize", "w", w, codes->rows, codes->cols, err));
    BM_TRY(check_grid("dequantize", codes, step, zero_point, group_size, err));
    BM_TRY(bm_check_matrix("dequantize", "codes", codes, BM_DTYPE_I8, w->rows, w->cols, err));
    BM_TRY(dequantize(device, codes, step, zero_point, group_size, (bm_view){0}, w, err));
done:
    return status;
}

bm_status bm_dequantize_indexed(bm_device *device, const bm_tensor *codes, const bm_tensor *step,
                                const bm_tensor *zero_point, bm_view group_index, const bm_tensor *w, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(device, "dequantize", "w", w, codes->rows, codes->cols, err));
    BM_TRY(bm_check_matrix("dequantize", "codes", codes, BM_DTYPE_I8, w->rows, w->cols, err));
    BM_TRY(bm_check_matrix("dequantize", "step", step, BM_DTYPE_F32, w->rows, step->cols, err));
    BM_TRY(bm_check_matrix("dequantize", "zero_point", zero_point, BM_DTYPE_I32, w->rows, step->cols, err));
    BM_TRY(bm_check_integers("dequantize", "group_index", group_index, w->cols, err));
    BM_FAIL_IF(step->stride != zero_point->stride, err, BM_E_ARGUMENT,
               "dequantize: step and zero_point have different strides");
    BM_TRY(dequantize(device, codes, step, zero_point, (uint32_t)w->cols, group_index, w, err));
done:
    return status;
}

bm_status bm_fake_quantize(bm_device *device, const bm_tensor *w, const bm_tensor *step, const bm_tensor *zero_point,
                           uint32_t group_size, uint32_t bits, const bm_tensor *y, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(device, "fake_quantize", "w", w, w->rows, w->cols, err));
    BM_TRY(bm_check_real(device, "fake_quantize", "y", y, w->rows, w->cols, err));
    BM_TRY(check_bits("fake_quantize", bits, err));
    BM_TRY(check_grid("fake_quantize", w, step, zero_point, group_size, err));
    bm_fake_quantize_scalars scalars = {
        0, (uint32_t)w->cols, (uint32_t)w->stride, group_size, (uint32_t)step->stride, (uint32_t)y->stride, bits};
    BM_TRY(bm_run_rows(device,
                       &(bm_row_call){.kernel = BM_KERNEL_FAKE_QUANTIZE,
                                      .tensors = {w, step, zero_point, y},
                                      .scalars = &scalars,
                                      .operations = 10.0 * (double)w->cols,
                                      .items = bm_divide_up(w->cols, 4)},
                       err));
done:
    return status;
}

static bm_status check_packing(const char *operation, const bm_tensor *codes, uint32_t bits, const bm_tensor *words,
                               bm_error *err)
{
    if (bits != 2 && bits != 3 && bits != 4 && bits != 8)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %u bits, expected 2, 3, 4 or 8", operation, bits);
    bm_status status = bm_check_matrix(operation, "codes", codes, BM_DTYPE_I8, codes->rows, codes->cols, err);
    if (status == BM_OK)
        status = bm_check_matrix(operation, "words", words, BM_DTYPE_U32, codes->rows,
                                 bm_divide_up(codes->cols * bits, 32), err);
    return status;
}

bm_status bm_pack_codes(bm_device *device, const bm_tensor *codes, uint32_t bits, const bm_tensor *words, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(check_packing("pack_codes", codes, bits, words, err));
    bm_pack_codes_scalars scalars = {0, (uint32_t)codes->cols, (uint32_t)codes->stride, (uint32_t)words->stride, bits};
    BM_TRY(bm_run_rows(device,
                       &(bm_row_call){.kernel = BM_KERNEL_PACK_CODES,
                                      .tensors = {codes, words},
                                      .scalars = &scalars,
                                      .operations = 4.0 * (double)codes->cols,
                                      .items = words->cols},
                       err));
done:
    return status;
}

bm_status bm_unpack_codes(bm_device *device, const bm_tensor *words, uint32_t bits, const bm_tensor *codes,
                          bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(check_packing("unpack_codes", codes, bits, words, err));
    bm_unpack_codes_scalars scalars = {0, (uint32_t)codes->cols, (uint32_t)words->stride, (uint32_t)codes->stride,
                                       bits};
    BM_TRY(bm_run_rows(device,
                       &(bm_row_call){.kernel = BM_KERNEL_UNPACK_CODES,
                                      .tensors = {words, codes},
                                      .scalars = &scalars,
                                      .operations = 4.0 * (double)codes->cols,
                                      .items = bm_divide_up(codes->cols, 4)},
                       err));
done:
    return status;
}
