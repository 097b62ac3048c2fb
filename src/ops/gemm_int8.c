// The product in 8-bit integers: checks, the cuts into parts and dispatches, and the dispatches.
#include "ops/gemm_int8.h"

#include "ops/chunks.h"
#include "ops/matrix.h"

#include <math.h>
#include <stdio.h>

#define MAX_SCRATCH_BYTES (UINT64_C(64) << 20) // for errors of outputs
#define LOSS_COLS 16                           // outputs that share one
#define MOVE_GROUP 64                          // of the kernel that packs
#define EXACT_COLUMNS 1024                     // of a slice in gemm_int8_packed
#define ZERO_PEAK 1e-30f
#define LARGEST_PEAK 0x1p120f

// ---- activations ----

bm_status bm_int8_rows_create(bm_device *device, uint64_t tokens, uint64_t channels, bm_int8_rows *out, bm_error *err)
{
    bm_status status = BM_OK;
    *out = (bm_int8_rows){0};
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I8, tokens, channels, "activation codes", &out->codes, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, tokens, 4, "activation steps", &out->rows, err));
done:
    if (status != BM_OK)
        bm_int8_rows_destroy(out);
    return status;
}

void bm_int8_rows_destroy(bm_int8_rows *rows)
{
    bm_tensor_destroy(&rows->codes);
    bm_tensor_destroy(&rows->rows);
}

bm_status bm_quantize_rows(bm_device *device, const bm_tensor *x, const bm_quantize_rows_params *params,
                           const bm_int8_rows *out, bm_error *err)
{
    const bm_tensor *shift = params->shift, *factor = params->factor;
    const bool by_step = !params->per_row && params->step > 0;
    const float given = by_step ? 127 * params->step : params->peak;
    const float peak = params->per_row || given < ZERO_PEAK ? 0 : fminf(given, LARGEST_PEAK);
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(device, "quantize_rows", "x", x, x->rows, x->cols, err));
    BM_TRY(bm_check_matrix("quantize_rows", "codes", &out->codes, BM_DTYPE_I8, x->rows, x->cols, err));
    BM_TRY(bm_check_matrix("quantize_rows", "rows", &out->rows, BM_DTYPE_F32, x->rows, 4, err));
    if (shift)
        BM_TRY(bm_check_matrix("quantize_rows", "shift", shift, BM_DTYPE_F32, 1, x->cols, err));
    if (factor)
        BM_TRY(bm_check_matrix("quantize_rows", "factor", factor, BM_DTYPE_F32, 1, x->cols, err));
    BM_FAIL_IF(!params->per_row && !(params->peak >= 0 && isfinite(params->peak)), err, BM_E_ARGUMENT,
               "%s: activations with a largest magnitude of %g", params->name, (double)params->peak);
    BM_FAIL_IF(out->rows.stride != 4, err, BM_E_ARGUMENT, "%s: steps of activations at a stride of %llu, expected 4",
               params->name, (unsigned long long)out->rows.stride);
    bm_quantize_rows_scalars scalars = {0,
                                        (uint32_t)x->cols,
                                        (uint32_t)x->stride,
                                        (uint32_t)out->codes.stride,
                                        shift != NULL,
                                        factor != NULL,
                                        params->per_row,
                                        peak,
                                        by_step    ? 1 / params->step
                                        : peak > 0 ? 127 / peak
                                                   : 0,
                                        by_step    ? params->step
                                        : peak > 0 ? peak / 127
                                                   : 1};
    const bm_row_call call = {.kernel = BM_KERNEL_QUANTIZE_ROWS,
                              .subject = params->name,
                              .tensors = {x, NULL, NULL, &out->codes, &out->rows},
                              .whole = {{0}, shift ? shift->view : (bm_view){0}, factor ? factor->view : (bm_view){0}},
                              .scalars = &scalars,
                              .operations = 10.0 * (double)x->cols,
                              .items = bm_chunk_row_group(device),
                              .group = bm_chunk_row_group(device),
                              .width = bm_chunk_width(device)};
    BM_TRY(bm_run_rows(device, &call, err));
done:
    return status;
}

// ---- weights ----

static bool in_panels(const bm_int8_weights *weights)
{
    return weights->codes->choice.form == BM_GEMM_PANELS;
}

bm_status bm_int8_weights_create(bm_device *device, uint64_t out_features, uint64_t in_features, const char *name,
                                 const bm_gemm_choice *choice, bm_int8_weights **out, bm_error *err)
{
    bm_status status = BM_OK;
    const bm_gemm_choice chosen = choice ? *choice : bm_gemm_int8_choose(device);
    bm_int8_weights *weights = bm_alloc_zero(1, sizeof *weights);
    BM_FAIL_IF(!weights, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(in_features > BM_INT8_MAX_FEATURES, err, BM_E_ARGUMENT,
               "%s: %llu input features, 8-bit products are exact up to %d", name, (unsigned long long)in_features,
               BM_INT8_MAX_FEATURES);
    BM_TRY(bm_weights_allocate(device, out_features, in_features,
                               chosen.form == BM_GEMM_PANELS ? BM_DTYPE_F32 : BM_DTYPE_I8, name, &chosen,
                               &weights->codes, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, out_features, 1, name, &weights->step, err));
    BM_TRY(bm_fill(device, weights->step.view, 0, err));
    *out = weights;
    weights = NULL;
done:
    bm_int8_weights_destroy(&weights);
    return status;
}

uint64_t bm_int8_weights_bytes(bm_device *device, uint64_t out_features, uint64_t in_features)
{
    const bool is_wide = bm_gemm_int8_choose(device).form == BM_GEMM_PANELS;
    return out_features * in_features * (is_wide ? sizeof(float) : sizeof(int8_t));
}

void bm_int8_weights_destroy(bm_int8_weights **weights)
{
    if (!weights || !*weights)
        return;
    bm_weights_destroy(&(*weights)->codes);
    bm_tensor_destroy(&(*weights)->step);
    bm_free(*weights);
    *weights = NULL;
}

// Rows of codes to panels of panel_rows that begin at first; padded rows are written, those behind codes as zeros.
static bm_status pack(bm_device *device, const bm_tensor *codes, uint64_t first, uint64_t padded, uint32_t panel_rows,
                      bm_view out, const char *name, bm_error *err)
{
    const uint32_t k = (uint32_t)codes->cols;
    const bm_gemm_int8_pack_scalars scalars = {(uint32_t)codes->rows, (uint32_t)padded, (uint32_t)first, k,
                                               (uint32_t)codes->stride};
    const uint64_t items = (padded / panel_rows + 2) * bm_divide_up(k, 4);
    const bm_call call = {.kernel = BM_KERNEL_GEMM_INT8_PACK,
                          .subject = name,
                          .buffers = {codes->view, out},
                          .scalars = &scalars,
                          .tunables = {MOVE_GROUP, panel_rows},
                          .groups = {bm_chunk_groups(device, items, MOVE_GROUP), 1, 1},
                          .seconds = bm_chunk_seconds(device, 5.0 * (double)padded * k)};
    return bm_dispatch(device, &call, err);
}

bm_status bm_int8_weights_set_rows(bm_device *device, bm_int8_weights *weights, uint64_t first_row,
                                   const bm_tensor *codes, const bm_tensor *step, bm_error *err)
{
    const bm_weights *w = weights->codes;
    bm_status status = BM_OK;
    BM_FAIL_IF(codes->rows == 0 || first_row > w->out_features || codes->rows > w->out_features - first_row, err,
               BM_E_ARGUMENT, "%s: rows %llu..%llu of %llu", w->name, (unsigned long long)first_row,
               (unsigned long long)(first_row + codes->rows), (unsigned long long)w->out_features);
    BM_TRY(bm_check_matrix(w->name, "codes", codes, BM_DTYPE_I8, codes->rows, w->in_features, err));
    BM_TRY(bm_check_matrix(w->name, "step", step, BM_DTYPE_F32, codes->rows, 1, err));
    BM_FAIL_IF(codes->stride != bm_tensor_stride(BM_DTYPE_I8, codes->cols) || step->stride != weights->step.stride, err,
               BM_E_ARGUMENT, "%s: codes or steps at a stride of %llu and %llu", w->name,
               (unsigned long long)codes->stride, (unsigned long long)step->stride);
    const uint64_t at_once = bm_chunk_rows(device, codes->stride, 5.0 * (double)codes->cols); // bytes of both sides
    for (uint64_t done_rows = 0; done_rows < codes->rows;) {
        const uint32_t p = (uint32_t)((first_row + done_rows) / w->rows_per_part);
        const uint64_t first = (first_row + done_rows) % w->rows_per_part;
        const uint64_t left = bm_min_u64(codes->rows - done_rows, w->rows_per_part - first);
        const bm_tensor some = bm_tensor_rows(codes, done_rows, bm_min_u64(left, at_once));
        if (in_panels(weights)) {
            BM_TRY(pack(device, &some, first, some.rows, w->choice.panel_cols, w->parts[p].view, w->name, err));
        } else {
            const bm_tensor to = bm_tensor_rows(&w->parts[p], first, some.rows);
            BM_TRY(bm_tensor_copy(device, &some, &to, err));
        }
        done_rows += some.rows;
    }
    const bm_tensor steps = bm_tensor_rows(&weights->step, first_row, step->rows);
    BM_TRY(bm_tensor_copy(device, step, &steps, err));
done:
    return status;
}

// ---- products ----

// What a product gives: y, or with sums the errors beside y.
typedef struct int8_job {
    const bm_int8_rows *x;
    const bm_int8_weights *weights;
    const bm_tensor *bias, *y, *sums;
} int8_job;

static bm_status check_shapes(bm_device *device, const int8_job *job, bm_error *err)
{
    const bm_weights *w = job->weights->codes;
    const uint64_t tokens = job->x->codes.rows;
    bm_status status = BM_OK;
    BM_TRY(bm_check_matrix(w->name, "codes of x", &job->x->codes, BM_DTYPE_I8, tokens, w->in_features, err));
    BM_TRY(bm_check_matrix(w->name, "steps of x", &job->x->rows, BM_DTYPE_F32, tokens, 4, err));
    BM_TRY(bm_check_real(device, w->name, job->sums ? "want" : "y", job->y, tokens, w->out_features, err));
    if (job->bias)
        BM_TRY(bm_check_real(device, w->name, "bias", job->bias, 1, w->out_features, err));
    if (job->sums)
        BM_TRY(bm_check_matrix(w->name, "sums", job->sums, BM_DTYPE_F32, tokens, 4, err));
    BM_FAIL_IF(job->x->rows.stride != 4, err, BM_E_ARGUMENT, "%s: steps of x at a stride of %llu, expected 4", w->name,
               (unsigned long long)job->x->rows.stride);
    if (in_panels(job->weights)) {
        char subject[160];
        snprintf(subject, sizeof subject, "%s: %llu input features", w->name, (unsigned long long)w->in_features);
        const uint64_t rounds = w->in_features + bm_divide_up(w->in_features, EXACT_COLUMNS) + 1; // and one a tile
        BM_TRY(bm_check_rounds(device, rounds, subject, "--variant gemm_int8=generic or ", err));
    }
done:
    return status;
}

// One product small enough for a dispatch: rows r .. of x by features c .. c + y->cols - 1, which lie in one part. y and loss
// begin there already.
static bm_status multiply(bm_device *device, const int8_job *job, uint64_t r, bm_view x_panels, uint32_t panel_rows,
                          uint64_t c, const bm_tensor *y, const bm_tensor *loss, bm_error *err)
{
    const bm_weights *w = job->weights->codes;
    const bm_gemm_choice *choice = &w->choice;
    const uint32_t m = (uint32_t)y->rows, n = (uint32_t)y->cols, k = (uint32_t)w->in_features;
    const bm_tensor *part = &w->parts[c / w->rows_per_part];
    const uint64_t first = c % w->rows_per_part;
    const bm_tensor bias = job->bias ? bm_tensor_columns(job->bias, c, n) : (bm_tensor){0};
    bm_call call = {.subject = w->name,
                    .buffers = {{0},
                                {0},
                                bm_tensor_rows(&job->x->rows, r, m).view,
                                bm_tensor_rows(&job->weights->step, c, n).view,
                                bias.view,
                                y->view,
                                job->sums ? loss->view : (bm_view){0}},
                    .types = {[4] = bias.dtype, [5] = y->dtype},
                    .groups = {1, 1, 1},
                    .seconds = bm_gemm_operations(m, n, k) / (choice->gflops * 1e9)};
    const uint32_t y_stride = (uint32_t)y->stride, loss_stride = (uint32_t)loss->stride;
    if (in_panels(job->weights)) {
        const bm_gemm_int8_packed_scalars scalars = {
            m, n, k, y_stride, loss_stride, job->bias != NULL, job->sums != NULL, bm_gemm_walk(panel_rows, k)};
        const uint64_t skip = first * k * sizeof(float), cols = choice->panel_cols;
        call.kernel = BM_KERNEL_GEMM_INT8_PACKED;
        call.buffers[0] = x_panels;
        call.buffers[1] = bm_view_part(part->view, skip, part->view.size - skip);
        call.scalars = &scalars;
        call.tunables[0] = choice->group, call.tunables[1] = panel_rows, call.tunables[2] = (uint32_t)cols;
        call.groups[0] = bm_gemm_groups(device, bm_divide_up(m, panel_rows) * bm_divide_up(n, cols), choice->group);
        return bm_dispatch(device, &call, err);
    }
    const bm_tensor x = bm_tensor_rows(&job->x->codes, r, m), rows = bm_tensor_rows(part, first, n);
    const bm_gemm_int8_scalars scalars = {m,
                                          n,
                                          k,
                                          (uint32_t)x.stride,
                                          (uint32_t)rows.stride,
                                          y_stride,
                                          loss_stride,
                                          job->bias != NULL,
                                          job->sums != NULL};
    call.kernel = BM_KERNEL_GEMM_INT8;
    call.buffers[0] = x.view;
    call.buffers[1] = rows.view;
    call.scalars = &scalars;
    if (m <= BM_THIN_ROWS && bm_kernel_has_variant(device, call.kernel, BM_VARIANT_GEMM_INT8_THIN)) {
        const uint32_t thin = m == 1 ? 1 : m == 2 ? 2 : m <= 4 ? 4 : 8;
        call.variant = BM_VARIANT_GEMM_INT8_THIN;
        call.tunables[0] = bm_chunk_group(device, 64), call.tunables[1] = thin;
        call.groups[0] = bm_gemm_groups(device, bm_divide_up(n, LOSS_COLS), 1);
    } else {
        const uint32_t edge = choice->variant == 0 ? 32 : 128; // of a tile
        call.variant = choice->variant;
        call.tunables[0] = choice->group;
        call.groups[0] = bm_gemm_groups(device, bm_divide_up(m, edge) * bm_divide_up(n, edge), 1);
    }
    return bm_dispatch(device, &call, err);
}

static bm_status run(bm_device *device, const int8_job *job, bm_error *err)
{
    const bm_weights *w = job->weights->codes;
    const uint64_t m = job->y->rows, n = w->out_features, k = w->in_features;
    const uint64_t loss_cols = bm_divide_up(n, LOSS_COLS), loss_stride = bm_tensor_stride(BM_DTYPE_F32, loss_cols);
    const uint64_t loss_row = job->sums ? loss_stride * sizeof(float) : 0;
    bm_status status = BM_OK;
    BM_TRY(check_shapes(device, job, err));
    const uint32_t panel_rows = in_panels(job->weights) ? bm_gemm_panel_rows(w, m) : 1;
    uint64_t rows = 0, cols = 0;
    bm_gemm_piece(device, w, w->dtype, m, n, &rows, &cols);
    if (job->sums)
        rows = bm_min_u64(rows, bm_max_u64(panel_rows, MAX_SCRATCH_BYTES / loss_row / panel_rows * panel_rows));
    for (uint64_t r = 0; r < m; r += rows) {
        const uint64_t height = bm_min_u64(rows, m - r), padded = bm_round_up(height, panel_rows);
        const uint64_t panel_bytes =
            in_panels(job->weights) ? bm_round_up(padded * k * sizeof(float), BM_VIEW_ALIGNMENT) : 0;
        bm_view scratch = {0}, panels = {0};
        if (panel_bytes + height * loss_row > 0)
            BM_TRY(bm_device_scratch(device, panel_bytes + height * loss_row, &scratch, err));
        if (panel_bytes > 0) {
            const bm_tensor some_x = bm_tensor_rows(&job->x->codes, r, height);
            panels = bm_view_part(scratch, 0, panel_bytes);
            BM_TRY(pack(device, &some_x, 0, padded, panel_rows, panels, w->name, err));
        }
        const bm_tensor some_y = bm_tensor_rows(job->y, r, height);
        const bm_tensor loss = {BM_DTYPE_F32, height, loss_cols, loss_stride,
                                loss_row ? bm_view_part(scratch, panel_bytes, height * loss_row) : (bm_view){0}};
        for (uint64_t c = 0; c < n;) {
            const uint64_t width = bm_min_u64(bm_min_u64(cols, n - c), w->rows_per_part - c % w->rows_per_part);
            const bm_tensor y = bm_tensor_columns(&some_y, c, width);
            const bm_tensor some_loss =
                loss_row ? bm_tensor_columns(&loss, c / LOSS_COLS, bm_divide_up(width, LOSS_COLS)) : loss;
            BM_TRY(multiply(device, job, r, panels, panel_rows, c, &y, &some_loss, err));
            c += width;
        }
        if (job->sums) {
            const bm_tensor sums = bm_tensor_rows(job->sums, r, height);
            BM_TRY(bm_row_dot(device, &loss, NULL, &sums, err));
        }
    }
done:
    return status;
}

bm_status bm_gemm_int8(bm_device *device, const bm_int8_rows *x, const bm_int8_weights *weights, const bm_tensor *bias,
                       const bm_tensor *y, bm_error *err)
{
    return run(device, &(int8_job){x, weights, bias, y, NULL}, err);
}

bm_status bm_gemm_int8_loss(bm_device *device, const bm_int8_rows *x, const bm_int8_weights *weights,
                            const bm_tensor *bias, const bm_tensor *want, const bm_tensor *sums, bm_error *err)
{
    return run(device, &(int8_job){x, weights, bias, want, sums}, err);
}
