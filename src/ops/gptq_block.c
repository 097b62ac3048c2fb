// Column by column: checks and dispatches.
#include "ops/gptq_block.h"

#include "ops/chunks.h"

#define GROUP 32 // each work-item keeps a row in local memory: 512 bytes

static bm_status check_block(const char *operation, const bm_tensor *w, const bm_tensor *square,
                             const bm_block_grid *grid, bm_error *err)
{
    bm_status status = BM_OK;
    BM_FAIL_IF(w->cols > BM_GPTQ_BLOCK || grid->first_column % 4 != 0 || grid->group_size == 0 || grid->bits < 2 ||
                   grid->bits > 8,
               err, BM_E_ARGUMENT, "%s: %llu columns from %u on, %u bits in groups of %u", operation,
               (unsigned long long)w->cols, grid->first_column, grid->bits, grid->group_size);
    BM_TRY(bm_check_matrix(operation, "w", w, BM_DTYPE_F32, w->rows, w->cols, err));
    BM_TRY(bm_check_matrix(operation, "square", square, BM_DTYPE_F32, w->cols, w->cols, err));
    BM_TRY(bm_check_matrix(operation, "step", grid->step, BM_DTYPE_F32, w->rows, grid->step->cols, err));
    BM_TRY(bm_check_matrix(operation, "zero_point", grid->zero_point, BM_DTYPE_I32, w->rows, grid->step->cols, err));
    BM_FAIL_IF(grid->step->stride != grid->zero_point->stride, err, BM_E_ARGUMENT,
               "%s: step and zero_point have different strides", operation);
    if (grid->group_index.buffer)
        BM_TRY(bm_check_integers(operation, "group_index", grid->group_index, w->cols, err));
    else
        BM_FAIL_IF((grid->first_column + w->cols - 1) / grid->group_size >= grid->step->cols, err, BM_E_ARGUMENT,
                   "%s: %llu groups, expected one for each %u columns", operation, (unsigned long long)grid->step->cols,
                   grid->group_size);
done:
    return status;
}

// A row's columns one behind the other, each with all that follow it.
static double operations(const bm_tensor *w)
{
    return (double)w->cols * (double)w->cols + 16.0 * (double)w->cols;
}

bm_status bm_gptq_block(bm_device *device, const bm_tensor *w, const bm_tensor *u, const bm_block_grid *grid,
                        const bm_tensor *errors, bm_error *err)
{
    bm_status status = BM_OK;
    bm_gptq_block_scalars scalars = {0,
                                     (uint32_t)w->cols,
                                     (uint32_t)w->stride,
                                     (uint32_t)u->stride,
                                     (uint32_t)grid->step->stride,
                                     (uint32_t)errors->stride,
                                     grid->first_column,
                                     grid->group_size,
                                     grid->bits,
                                     grid->group_index.buffer != NULL};
    BM_TRY(check_block("gptq_block", w, u, grid, err));
    BM_TRY(bm_check_matrix("gptq_block", "errors", errors, BM_DTYPE_F32, w->rows, w->cols, err));
    BM_TRY(bm_run_rows(device,
                       &(bm_row_call){.kernel = BM_KERNEL_GPTQ_BLOCK,
                                      .tensors = {w, NULL, grid->step, grid->zero_point, NULL, errors},
                                      .whole = {[1] = u->view, [4] = grid->group_index},
                                      .scalars = &scalars,
                                      .operations = operations(w),
                                      .items = 1,
                                      .lanes = bm_chunk_lanes(device, BM_KERNEL_GPTQ_BLOCK),
                                      .group = bm_chunk_group(device, GROUP)},
                       err));
done:
    return status;
}

bm_status bm_code_sweep(bm_device *device, const bm_tensor *w, const bm_tensor *residual, const bm_tensor *h,
                        const bm_block_grid *grid, const bm_tensor *change, bm_error *err)
{
    bm_status status = BM_OK;
    bm_code_sweep_scalars scalars = {0,
                                     (uint32_t)w->cols,
                                     (uint32_t)w->stride,
                                     (uint32_t)residual->stride,
                                     (uint32_t)h->stride,
                                     (uint32_t)grid->step->stride,
                                     (uint32_t)change->stride,
                                     grid->first_column,
                                     grid->group_size,
                                     grid->bits};
    BM_TRY(check_block("code_sweep", w, h, grid, err));
    BM_TRY(bm_check_matrix("code_sweep", "residual", residual, BM_DTYPE_F32, w->rows, w->cols, err));
    BM_TRY(bm_check_matrix("code_sweep", "change", change, BM_DTYPE_F32, w->rows, w->cols, err));
    BM_TRY(bm_run_rows(device,
                       &(bm_row_call){.kernel = BM_KERNEL_CODE_SWEEP,
                                      .tensors = {w, residual, NULL, grid->step, grid->zero_point, change},
                                      .whole = {[2] = h->view},
                                      .scalars = &scalars,
                                      .operations = operations(w),
                                      .items = 1,
                                      .lanes = bm_chunk_lanes(device, BM_KERNEL_CODE_SWEEP),
                                      .group = bm_chunk_group(device, GROUP)},
                       err));
done:
    return status;
}

bm_status bm_scale_refit(bm_device *device, const bm_tensor *w, const bm_tensor *residual, const bm_tensor *product,
                         const bm_tensor *step, uint32_t group, bm_dtype scale_dtype, const bm_tensor *change,
                         bm_error *err)
{
    bm_status status = BM_OK;
    bm_scale_refit_scalars scalars = {0,
                                      (uint32_t)w->cols,
                                      (uint32_t)w->stride,
                                      (uint32_t)residual->stride,
                                      (uint32_t)product->stride,
                                      (uint32_t)step->stride,
                                      (uint32_t)change->stride,
                                      group,
                                      (uint32_t)scale_dtype};
    BM_TRY(bm_check_matrix("scale_refit", "w", w, BM_DTYPE_F32, w->rows, w->cols, err));
    BM_TRY(bm_check_matrix("scale_refit", "residual", residual, BM_DTYPE_F32, w->rows, w->cols, err));
    BM_TRY(bm_check_matrix("scale_refit", "product", product, BM_DTYPE_F32, w->rows, w->cols, err));
    BM_TRY(bm_check_matrix("scale_refit", "step", step, BM_DTYPE_F32, w->rows, step->cols, err));
    BM_TRY(bm_check_matrix("scale_refit", "change", change, BM_DTYPE_F32, w->rows, w->cols, err));
    BM_FAIL_IF(group >= step->cols, err, BM_E_ARGUMENT, "scale_refit: group %u of %llu", group,
               (unsigned long long)step->cols);
    BM_TRY(bm_run_rows(device,
                       &(bm_row_call){.kernel = BM_KERNEL_SCALE_REFIT,
                                      .tensors = {w, residual, product, step, change},
                                      .scalars = &scalars,
                                      .operations = 12.0 * (double)w->cols,
                                      .items = 64},
                       err));
done:
    return status;
}
