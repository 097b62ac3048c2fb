// Behind GPTQ's column loop: codes swept once more, scales refitted, and plain rounding kept where it is better.
#include "quant/gptq_work.h"

#include <math.h>

bm_status bm_gptq_measure(bm_gptq_work *w, const bm_tensor *rounded, const bm_tensor *residual, const bm_tensor *error,
                          bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_add_scaled(w->device, &w->target, rounded, -1.0f, &w->other, err));
    BM_TRY(w->hessian.view.buffer ? bm_multiply(w->multiplier, &w->other, &w->hessian, residual, err)
                                  : bm_gram_multiply(w->multiplier, w->gram, &w->other, residual, err));
    BM_TRY(bm_row_dot(w->device, &w->other, residual, error, err));
done:
    return status;
}

// residual -= change H[columns, all]; H is symmetric.
static bm_status follow(bm_gptq_work *w, const bm_tensor *change, uint64_t first, bm_error *err)
{
    const bm_tensor columns = bm_tensor_part(bm_gptq_hessian(w), 0, w->gram->channels, first, change->cols);
    return bm_multiply_add(w->multiplier, change, &columns, -1.0f, &w->residual, err);
}

static bm_status sweep_codes(bm_gptq_work *w, bm_error *err)
{
    const uint64_t channels = w->gram->channels, rows = w->current.rows;
    bm_status status = BM_OK;
    for (uint64_t first = 0; first < channels; first += BM_GPTQ_BLOCK) {
        const uint64_t cols = bm_min_u64(BM_GPTQ_BLOCK, channels - first);
        const bm_tensor block = bm_tensor_part(&w->current, 0, rows, first, cols);
        const bm_tensor residual = bm_tensor_part(&w->residual, 0, rows, first, cols);
        const bm_tensor square = bm_tensor_part(bm_gptq_hessian(w), first, cols, first, cols);
        const bm_tensor change = bm_tensor_part(&w->errors, 0, rows, 0, cols);
        const bm_block_grid grid = {.step = &w->rows->codes->step,
                                    .zero_point = &w->rows->codes->zero_point,
                                    .first_column = (uint32_t)first,
                                    .group_size = bm_gptq_group_size(w),
                                    .bits = w->params->grid.bits};
        BM_TRY(bm_code_sweep(w->device, &block, &residual, &square, &grid, &change, err));
        BM_TRY(follow(w, &change, first, err));
        if (first % BM_GPTQ_SUPER_BLOCK == 0)
            BM_TRY(bm_gptq_report_progress(w, err));
    }
done:
    return status;
}

// Of nested steps it is the units that change: all of 256 columns at once.
static bm_status refit_scales(bm_gptq_work *w, bm_error *err)
{
    const bool nested = w->params->grid.nested;
    const bm_tensor *step = nested ? &w->rows->codes->nested.unit : &w->rows->codes->step;
    const bm_dtype type = nested ? BM_DTYPE_NONE : w->params->grid.scale_dtype;
    const uint64_t channels = w->gram->channels, rows = w->current.rows, size = bm_gptq_span(w);
    bm_status status = BM_OK;
    for (uint64_t first = 0; first < channels; first += size) {
        const uint64_t cols = bm_min_u64(size, channels - first);
        const bm_tensor columns = bm_tensor_part(&w->current, 0, rows, first, cols);
        const bm_tensor residual = bm_tensor_part(&w->residual, 0, rows, first, cols);
        const bm_tensor square = bm_tensor_part(bm_gptq_hessian(w), first, cols, first, cols);
        const bm_tensor product = bm_tensor_reshape(&w->other, rows, cols);
        bm_tensor change = bm_tensor_part(&w->errors, 0, rows, 0, bm_min_u64(cols, BM_GPTQ_SUPER_BLOCK));
        if (cols > BM_GPTQ_SUPER_BLOCK) // wider than the memory of changes: they take the place of the product
            change = product;
        BM_TRY(bm_multiply(w->multiplier, &columns, &square, &product, err));
        BM_TRY(bm_scale_refit(w->device, &columns, &residual, &product, step, (uint32_t)(first / size), type, &change,
                              err));
        BM_TRY(follow(w, &change, first, err));
    }
    if (nested)
        BM_TRY(bm_codes_multiply_units(w->device, w->rows->codes, err));
done:
    return status;
}

bm_status bm_gptq_refine(bm_gptq_work *w, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < w->params->code_sweeps; i++) {
        BM_TRY(sweep_codes(w, err));
        if (i == 0 && w->params->scale_refit)
            BM_TRY(refit_scales(w, err));
    }
    if (w->params->code_sweeps == 0 && w->params->scale_refit)
        BM_TRY(refit_scales(w, err));
done:
    return status;
}

bm_status bm_gptq_guard(bm_gptq_work *w, bm_error *err)
{
    const bm_method_rows *rows = w->rows;
    const uint64_t count = w->current.rows;
    bm_status status = BM_OK;
    float *host = bm_alloc(16 * count, sizeof *host);
    BM_FAIL_IF(!host, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_gptq_measure(w, &w->current, &w->residual, &w->error, err));
    BM_TRY(bm_fake_quantize(w->device, &w->target, &rows->codes->step, &rows->codes->zero_point, bm_gptq_group_size(w),
                            w->params->grid.bits, &w->rounding, err));
    BM_TRY(bm_gptq_measure(w, &w->rounding, &w->residual, &w->rounding_error, err));
    BM_TRY(bm_row_error(w->device, &w->target, &w->current, &w->norm, err));
    BM_TRY(bm_row_error(w->device, &w->target, &w->rounding, &w->rounding_norm, err));
    BM_TRY(bm_keep_better(w->device, &w->current, &w->rounding, &w->error, &w->rounding_error, err));
    BM_TRY(bm_tensor_download(w->device, &w->error, host, err));
    BM_TRY(bm_tensor_download(w->device, &w->rounding_error, host + 4 * count, err));
    BM_TRY(bm_tensor_download(w->device, &w->norm, host + 8 * count, err));
    BM_TRY(bm_tensor_download(w->device, &w->rounding_norm, host + 12 * count, err));
    BM_TRY(bm_device_wait(w->device, err));
    for (uint64_t r = 0; r < count; r++) {
        const float *error = host + 4 * r, *rounding = host + 4 * (count + r);
        const double undamped = fmax(0, (double)error[0] - w->gram->damping * (double)error[8 * count]),
                     undamped_rounding = fmax(0, (double)rounding[0] - w->gram->damping * (double)rounding[8 * count]);
        rows->errors[r].output_error_rounding += undamped_rounding;
        rows->errors[r].output_error += rounding[0] < error[0] ? undamped_rounding : undamped;
        rows->errors[r].guarded_rows += rounding[0] < error[0];
    }
done:
    bm_free(host);
    return status;
}
