// GPTQ's column loop: each column is rounded, and those behind it make its error good. Grids of groups are found here, before
// the loop or as it enters them.
#include "ops/gram_search.h"
#include "quant/gptq_work.h"

// The same of nested steps: found for the columns as errors before them have left them, which static ones before the loop are not.
static bm_status search_nested(bm_gptq_work *w, const bm_tensor *matrix, uint64_t first, uint64_t count, bm_error *err)
{
    const bm_grid_params *grid = &w->params->grid;
    const bm_codes *codes = w->rows->codes;
    const bm_search search = w->params->scale_search;
    const bool weighs = search == BM_SEARCH_WEIGHTED_MSE || search == BM_SEARCH_GRAM;
    const bm_nested_params params = {grid->bits, grid->symmetric, search != BM_SEARCH_ABS_MAX, !weighs};
    const bm_tensor columns = bm_tensor_part(matrix, 0, matrix->rows, first, count);
    const bm_tensor target = bm_tensor_part(&w->target, 0, matrix->rows, first, count);
    const bm_tensor weights = bm_tensor_part(&w->column_weights, 0, 1, first, count);
    bm_status status = BM_OK;
    BM_TRY(bm_nested_search(w->device, &columns, &params, weighs ? &weights : NULL,
                            (uint32_t)(first / BM_NESTED_COLUMNS), &codes->step, &codes->nested, err));
    BM_TRY(bm_codes_shift(w->device, codes, &target, first, 1, err));
    if (matrix != &w->target)
        BM_TRY(bm_codes_shift(w->device, codes, &columns, first, 1, err));
done:
    return status;
}

bm_status bm_gptq_search_grids(bm_gptq_work *w, const bm_tensor *matrix, uint64_t first, uint64_t count, bm_error *err)
{
    const bm_method_params *p = w->params;
    const uint64_t group = first / bm_gptq_group_size(w), groups = bm_num_groups(count, bm_gptq_group_size(w));
    const bm_tensor columns = bm_tensor_part(matrix, 0, matrix->rows, first, count);
    const bm_tensor weights = bm_tensor_part(&w->column_weights, 0, 1, first, count);
    bm_status status = BM_OK;
    bm_tensor step = {0}, zero_point = {0};
    bm_grid_params grid = p->grid;
    if (grid.nested)
        return search_nested(w, matrix, first, count, err);
    grid.search = p->scale_search != BM_SEARCH_ABS_MAX;
    grid.group_size = (uint32_t)bm_min_u64(grid.group_size, count);
    if (groups == w->rows->codes->step.cols) { // all at once
        step = w->rows->codes->step;
        zero_point = w->rows->codes->zero_point;
    } else {
        BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, matrix->rows, groups, "steps", &step, err));
        BM_TRY(bm_tensor_create(w->device, BM_DTYPE_I32, matrix->rows, groups, "zero points", &zero_point, err));
    }
    if (p->scale_search == BM_SEARCH_GRAM) {
        const bm_tensor gram = bm_tensor_part(bm_gptq_hessian(w), first, count, first, count);
        BM_TRY(bm_gram_search(w->multiplier, &columns, &gram, &grid, &step, &zero_point, err));
    } else {
        BM_TRY(bm_grid_search(w->device, &columns, &grid, p->scale_search == BM_SEARCH_WEIGHTED_MSE ? &weights : NULL,
                              &step, &zero_point, err));
    }
    if (groups != w->rows->codes->step.cols) {
        BM_TRY(bm_copy_column(w->device, &step, &w->rows->codes->step, group, err));
        BM_TRY(bm_copy_column(w->device, &zero_point, &w->rows->codes->zero_point, group, err));
    }
done:
    if (groups != w->rows->codes->step.cols) {
        bm_tensor_destroy(&step);
        bm_tensor_destroy(&zero_point);
    }
    return status;
}

// Columns of the block that starts at first, then what lies behind it in its super-block.
static bm_status run_block(bm_gptq_work *w, uint64_t first, uint64_t cols, uint64_t super_first, uint64_t super_end,
                           bm_error *err)
{
    const uint64_t rows = w->current.rows;
    const bm_tensor block = bm_tensor_part(&w->current, 0, rows, first, cols);
    const bm_tensor upper = bm_tensor_part(&w->factor->upper, first, cols, first, cols);
    const bm_tensor errors = bm_tensor_part(&w->errors, 0, rows, first - super_first, cols);
    const bm_tensor index = bm_tensor_part(&w->group_index, 0, 1, first, cols);
    const bm_block_grid grid = {.step = &w->rows->codes->step,
                                .zero_point = &w->rows->codes->zero_point,
                                .first_column = (uint32_t)first,
                                .group_size = bm_gptq_group_size(w),
                                .bits = w->params->grid.bits,
                                .group_index = bm_gptq_is_static(w) ? index.view : (bm_view){0}};
    bm_status status = BM_OK;
    BM_TRY(bm_gptq_block(w->device, &block, &upper, &grid, &errors, err));
    if (first + cols < super_end) {
        const uint64_t behind = super_end - first - cols;
        const bm_tensor rest = bm_tensor_part(&w->current, 0, rows, first + cols, behind);
        const bm_tensor transposed = bm_tensor_part(&w->factor->transposed, first + cols, behind, first, cols);
        BM_TRY(bm_multiply_add(w->multiplier, &errors, &transposed, -1.0f, &rest, err));
    }
done:
    return status;
}

bm_status bm_gptq_run_columns(bm_gptq_work *w, bm_error *err)
{
    const uint64_t channels = w->gram->channels, rows = w->current.rows, span = bm_gptq_span(w);
    // A group that is entered finds its columns corrected by all before it: blocks end where groups do.
    const bool enters = !bm_gptq_is_static(w) && span < channels;
    const uint64_t block = enters ? bm_min_u64(BM_GPTQ_BLOCK, span) : BM_GPTQ_BLOCK;
    bm_status status = BM_OK;
    for (uint64_t super = 0; super < channels; super += BM_GPTQ_SUPER_BLOCK) {
        const uint64_t end = bm_min_u64(channels, super + BM_GPTQ_SUPER_BLOCK);
        for (uint64_t first = super; first < end; first += block) {
            if (enters && first % span == 0)
                BM_TRY(bm_gptq_search_grids(w, &w->current, first, bm_min_u64(span, channels - first), err));
            BM_TRY(run_block(w, first, bm_min_u64(block, end - first), super, end, err));
        }
        if (end < channels) {
            const bm_tensor errors = bm_tensor_part(&w->errors, 0, rows, 0, end - super);
            const bm_tensor rest = bm_tensor_part(&w->current, 0, rows, end, channels - end);
            const bm_tensor transposed =
                bm_tensor_part(&w->factor->transposed, end, channels - end, super, end - super);
            BM_TRY(bm_multiply_add(w->multiplier, &errors, &transposed, -1.0f, &rest, err));
        }
        BM_TRY(bm_gptq_report_progress(w, err));
    }
done:
    return status;
}
