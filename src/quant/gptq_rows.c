// GPTQ of some rows: target, grids, column loop, refinement, codes.
#include "quant/gptq_rows.h"

#include "ops/elementwise.h"
#include "ops/gptq_block.h"
#include "ops/gram_search.h"
#include "quant/rtn.h"

#include <math.h>

#define SUPER_BLOCK 512 // columns behind a super-block learn of its errors in one product

// All matrices are [rows, channels] float32 unless stated.
typedef struct gptq_work {
    bm_multiplier *multiplier;
    bm_device *device;
    const bm_gram *gram;
    const bm_inverse_factor *factor;
    const bm_method_params *params;
    const bm_method_rows *rows;
    bm_tensor target;                // the weights that are to be met
    bm_tensor current;               // those that the column loop works on, then rounded ones
    bm_tensor other;                 // memory for one more
    bm_tensor rounding;              // plain rounding of the target
    bm_tensor residual;              // (target - rounded) H
    bm_tensor errors;                // [rows, SUPER_BLOCK]: of the column loop; changes of the refinement
    bm_tensor hessian;               // with groups in the order of the loop: H in that order
    bm_tensor group_index;           // [1, channels] u32: the group of each column in the order of the loop
    bm_tensor column_weights;        // [1, channels]: for the search of grids
    bm_tensor error, rounding_error; // [rows, 4]
    bm_tensor norm, rounding_norm;   // [rows, 4]: of target - current and of target - rounding
} gptq_work;

static bool is_static(const gptq_work *w)
{
    return w->params->act_order == BM_COLUMN_ORDER_STATIC;
}

// H in the order of the columns of target and current.
static const bm_tensor *hessian_of(const gptq_work *w)
{
    return w->hessian.view.buffer ? &w->hessian : &w->gram->hessian;
}

static uint32_t group_size_of(const gptq_work *w)
{
    return w->params->grid.group_size;
}

static bm_status create_work(gptq_work *w, bm_error *err)
{
    const uint64_t rows = w->rows->weights->rows, channels = w->gram->channels;
    bm_tensor *const matrices[] = {&w->target, &w->current, &w->other, &w->residual, &w->rounding};
    bm_status status = BM_OK;
    for (size_t i = 0; i < BM_COUNT(matrices); i++)
        BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, rows, channels, "GPTQ", matrices[i], err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, rows, SUPER_BLOCK, "GPTQ errors", &w->errors, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, rows, 4, "row errors", &w->error, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, rows, 4, "row errors", &w->rounding_error, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, rows, 4, "row norms", &w->norm, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, rows, 4, "row norms", &w->rounding_norm, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, 1, channels, "column weights", &w->column_weights, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_U32, 1, channels, "groups of columns", &w->group_index, err));
done:
    return status;
}

static void destroy_work(gptq_work *w)
{
    bm_tensor *const all[] = {&w->rounding,       &w->target,  &w->current,      &w->other,          &w->residual,
                              &w->errors,         &w->hessian, &w->group_index,  &w->column_weights, &w->error,
                              &w->rounding_error, &w->norm,    &w->rounding_norm};
    for (size_t i = 0; i < BM_COUNT(all); i++)
        bm_tensor_destroy(all[i]);
}

// target = weights without the columns of dead channels, in the order of channels; column weights and group indices.
static bm_status prepare(gptq_work *w, bm_error *err)
{
    const bm_inverse_factor *f = w->factor;
    bm_status status = BM_OK;
    bm_tensor live = {0};
    float *values = bm_alloc(f->channels, sizeof *values);
    uint32_t *groups = bm_alloc(f->channels, sizeof *groups);
    BM_FAIL_IF(!values || !groups, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_permute(w->device, w->rows->weights, &(bm_permutation){0}, &w->target, err));
    if (f->num_dead > 0) {
        for (uint32_t c = 0; c < f->channels; c++)
            values[c] = f->dead[c] ? 0.0f : 1.0f;
        BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, 1, f->channels, "live channels", &live, err));
        BM_TRY(bm_tensor_upload(w->device, &live, values, err));
        BM_TRY(bm_scale_columns(w->device, &w->target, &live, err));
    }
    const bool moved = w->params->act_order == BM_COLUMN_ORDER_DYNAMIC;
    for (uint32_t i = 0; i < f->channels; i++) {
        const uint32_t channel = moved ? f->order[i] : i;
        values[i] = 1.0f / (f->diagonal[channel] * f->diagonal[channel]);
        groups[i] = f->order[i] / group_size_of(w);
    }
    BM_TRY(bm_tensor_upload(w->device, &w->column_weights, values, err));
    BM_TRY(bm_tensor_upload(w->device, &w->group_index, groups, err));
done:
    bm_tensor_destroy(&live);
    bm_free(values);
    bm_free(groups);
    return status;
}

// target += alpha weights (F - X)^T X (H + d I)^-1: with the weights of dead channels, which are so in X and need not be in F.
// Source: Arai and Ichikawa, Quantization Error Propagation, 2025.
static bm_status make_good(gptq_work *w, bm_error *err)
{
    const bm_inverse_factor *f = w->factor;
    bm_status status = BM_OK;
    BM_TRY(bm_multiply(w->multiplier, w->rows->weights, &w->gram->difference, &w->other, err));
    BM_TRY(bm_permute(w->device, &w->other, &(bm_permutation){.col_order = f->order_view}, &w->current, err));
    BM_TRY(bm_multiply(w->multiplier, &w->current, &f->upper, &w->other, err));
    BM_TRY(bm_multiply(w->multiplier, &w->other, &f->transposed, &w->current, err));
    BM_TRY(bm_permute(w->device, &w->current, &(bm_permutation){.col_order = f->place_view}, &w->other, err));
    BM_TRY(bm_add_scaled(w->device, &w->target, &w->other, (float)w->params->qep_alpha, &w->target, err));
done:
    return status;
}

// Grids of columns first .. of matrix (whole groups), into the groups that begin there.
static bm_status search_grids(gptq_work *w, const bm_tensor *matrix, uint64_t first, uint64_t count, bm_error *err)
{
    const bm_method_params *p = w->params;
    const uint64_t group = first / group_size_of(w), groups = bm_num_groups(count, group_size_of(w));
    const bm_tensor columns = bm_tensor_part(matrix, 0, matrix->rows, first, count);
    const bm_tensor weights = bm_tensor_part(&w->column_weights, 0, 1, first, count);
    bm_status status = BM_OK;
    bm_tensor step = {0}, zero_point = {0};
    bm_grid_params grid = p->grid;
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
        const bm_tensor gram = bm_tensor_part(hessian_of(w), first, count, first, count);
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
static bm_status run_block(gptq_work *w, uint64_t first, uint64_t cols, uint64_t super_first, uint64_t super_end,
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
                                .group_size = group_size_of(w),
                                .bits = w->params->grid.bits,
                                .group_index = is_static(w) ? index.view : (bm_view){0}};
    bm_status status = BM_OK;
    BM_TRY(bm_gptq_block(w->device, &block, &upper, &grid, &errors, err));
    if (first + cols < super_end) {
        const uint64_t behind = super_end - first - cols;
        const bm_tensor rest = bm_tensor_part(&w->current, 0, rows, first + cols, behind);
        const bm_tensor turned = bm_tensor_part(&w->factor->transposed, first + cols, behind, first, cols);
        BM_TRY(bm_multiply_add(w->multiplier, &errors, &turned, -1.0f, &rest, err));
    }
done:
    return status;
}

// Between parts of the work: whoever wants it stopped is heard.
static bm_status breathe(gptq_work *w, bm_error *err)
{
    if (!w->rows->phase)
        return BM_OK;
    const bm_status status = bm_device_wait(w->device, err);
    return status == BM_OK ? bm_phase_step(w->rows->phase, 0, err) : status;
}

// The column loop over current, in the order of the factor.
static bm_status run_columns(gptq_work *w, bm_error *err)
{
    const uint64_t channels = w->gram->channels, rows = w->current.rows, group_size = group_size_of(w);
    // A group that is entered finds its columns corrected by all before it: blocks end where groups do.
    const bool enters = !is_static(w) && group_size < channels;
    const uint64_t block = enters ? bm_min_u64(BM_GPTQ_BLOCK, group_size) : BM_GPTQ_BLOCK;
    bm_status status = BM_OK;
    for (uint64_t super = 0; super < channels; super += SUPER_BLOCK) {
        const uint64_t end = bm_min_u64(channels, super + SUPER_BLOCK);
        for (uint64_t first = super; first < end; first += block) {
            if (enters && first % group_size == 0)
                BM_TRY(search_grids(w, &w->current, first, bm_min_u64(group_size, channels - first), err));
            BM_TRY(run_block(w, first, bm_min_u64(block, end - first), super, end, err));
        }
        if (end < channels) {
            const bm_tensor errors = bm_tensor_part(&w->errors, 0, rows, 0, end - super);
            const bm_tensor rest = bm_tensor_part(&w->current, 0, rows, end, channels - end);
            const bm_tensor turned = bm_tensor_part(&w->factor->transposed, end, channels - end, super, end - super);
            BM_TRY(bm_multiply_add(w->multiplier, &errors, &turned, -1.0f, &rest, err));
        }
        BM_TRY(breathe(w, err));
    }
done:
    return status;
}

// residual = (target - rounded) H, and the error of each row.
static bm_status measure(gptq_work *w, const bm_tensor *rounded, const bm_tensor *residual, const bm_tensor *error,
                         bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_add_scaled(w->device, &w->target, rounded, -1.0f, &w->other, err));
    BM_TRY(bm_multiply(w->multiplier, &w->other, hessian_of(w), residual, err));
    BM_TRY(bm_row_dot(w->device, &w->other, residual, error, err));
done:
    return status;
}

// residual -= change H[columns, all]; H is symmetric.
static bm_status follow(gptq_work *w, const bm_tensor *change, uint64_t first, bm_error *err)
{
    const bm_tensor columns = bm_tensor_part(hessian_of(w), 0, w->gram->channels, first, change->cols);
    return bm_multiply_add(w->multiplier, change, &columns, -1.0f, &w->residual, err);
}

static bm_status sweep_codes(gptq_work *w, bm_error *err)
{
    const uint64_t channels = w->gram->channels, rows = w->current.rows;
    bm_status status = BM_OK;
    for (uint64_t first = 0; first < channels; first += BM_GPTQ_BLOCK) {
        const uint64_t cols = bm_min_u64(BM_GPTQ_BLOCK, channels - first);
        const bm_tensor block = bm_tensor_part(&w->current, 0, rows, first, cols);
        const bm_tensor residual = bm_tensor_part(&w->residual, 0, rows, first, cols);
        const bm_tensor square = bm_tensor_part(hessian_of(w), first, cols, first, cols);
        const bm_tensor change = bm_tensor_part(&w->errors, 0, rows, 0, cols);
        const bm_block_grid grid = {.step = &w->rows->codes->step,
                                    .zero_point = &w->rows->codes->zero_point,
                                    .first_column = (uint32_t)first,
                                    .group_size = group_size_of(w),
                                    .bits = w->params->grid.bits};
        BM_TRY(bm_code_sweep(w->device, &block, &residual, &square, &grid, &change, err));
        BM_TRY(follow(w, &change, first, err));
        if (first % SUPER_BLOCK == 0)
            BM_TRY(breathe(w, err));
    }
done:
    return status;
}

static bm_status refit_scales(gptq_work *w, bm_error *err)
{
    const uint64_t channels = w->gram->channels, rows = w->current.rows, size = group_size_of(w);
    bm_status status = BM_OK;
    for (uint64_t first = 0; first < channels; first += size) {
        const uint64_t cols = bm_min_u64(size, channels - first);
        const bm_tensor columns = bm_tensor_part(&w->current, 0, rows, first, cols);
        const bm_tensor residual = bm_tensor_part(&w->residual, 0, rows, first, cols);
        const bm_tensor square = bm_tensor_part(hessian_of(w), first, cols, first, cols);
        const bm_tensor product = bm_tensor_reshape(&w->other, rows, cols);
        bm_tensor change = bm_tensor_part(&w->errors, 0, rows, 0, bm_min_u64(cols, SUPER_BLOCK));
        if (cols > SUPER_BLOCK) // wider than the memory of changes: they take the place of the product
            change = product;
        BM_TRY(bm_multiply(w->multiplier, &columns, &square, &product, err));
        BM_TRY(bm_scale_refit(w->device, &columns, &residual, &product, &w->rows->codes->step, (uint32_t)(first / size),
                              w->params->grid.scale_dtype, &change, err));
        BM_TRY(follow(w, &change, first, err));
    }
done:
    return status;
}

// Sweeps and a refit behind the first of them; residual is up to date before and behind.
static bm_status refine(gptq_work *w, bm_error *err)
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

// Rows that plain rounding serves better keep it; errors to the host.
static bm_status guard(gptq_work *w, bm_error *err)
{
    const bm_method_rows *rows = w->rows;
    const uint64_t count = w->current.rows;
    bm_status status = BM_OK;
    float *host = bm_alloc(16 * count, sizeof *host);
    BM_FAIL_IF(!host, err, BM_E_MEMORY, "out of memory");
    BM_TRY(measure(w, &w->current, &w->residual, &w->error, err));
    BM_TRY(bm_fake_quantize(w->device, &w->target, &rows->codes->step, &rows->codes->zero_point, group_size_of(w),
                            w->params->grid.bits, &w->rounding, err));
    BM_TRY(measure(w, &w->rounding, &w->residual, &w->rounding_error, err));
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
    }
done:
    bm_free(host);
    return status;
}

// Codes from the order of the loop to that of channels: as numbers, by steps of 1.
static bm_status move_codes(gptq_work *w, bm_error *err)
{
    const uint64_t rows = w->current.rows;
    const uint32_t channels = w->gram->channels, one = 0x3f800000; // 1.0f
    bm_status status = BM_OK;
    bm_tensor ones = {0}, zeros = {0};
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, rows, 1, "ones", &ones, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_I32, rows, 1, "zeros", &zeros, err));
    BM_TRY(bm_fill(w->device, ones.view, one, err));
    BM_TRY(bm_fill(w->device, zeros.view, 0, err));
    BM_TRY(bm_dequantize(w->device, &w->rows->codes->codes, &ones, &zeros, channels, &w->residual, err));
    BM_TRY(bm_permute(w->device, &w->residual, &(bm_permutation){.col_order = w->factor->place_view}, &w->other, err));
    BM_TRY(
        bm_quantize(w->device, &w->other, &ones, &zeros, channels, w->params->grid.bits, &w->rows->codes->codes, err));
done:
    bm_tensor_destroy(&ones);
    bm_tensor_destroy(&zeros);
    return status;
}

// Codes and rounded weights in the order of channels, and how far they are from the weights.
static bm_status finish(gptq_work *w, bm_error *err)
{
    const bm_method_rows *rows = w->rows;
    const bool moved = w->params->act_order == BM_COLUMN_ORDER_DYNAMIC;
    bm_status status = BM_OK;
    BM_TRY(bm_quantize(w->device, &w->current, &rows->codes->step, &rows->codes->zero_point, group_size_of(w),
                       w->params->grid.bits, &rows->codes->codes, err));
    if (moved)
        BM_TRY(move_codes(w, err));
    BM_TRY(bm_permute(w->device, &w->current,
                      &(bm_permutation){.col_order = moved ? w->factor->place_view : (bm_view){0}}, &w->rounding, err));
    if (rows->rounded)
        BM_TRY(bm_permute(w->device, &w->rounding, &(bm_permutation){0}, rows->rounded, err));
    BM_TRY(bm_add_weight_error(w->device, rows, &w->rounding, err));
done:
    return status;
}

double bm_gptq_rows_operations(uint64_t rows, uint64_t channels, const bm_method_params *p)
{
    const double product = 2.0 * (double)rows * (double)channels * (double)channels; // of the rows and a square
    const double block = 2.0 * (double)rows * (double)channels * BM_GPTQ_BLOCK;
    const double group = 2.0 * (double)rows * (double)channels * (double)bm_min_u64(p->grid.group_size, channels);
    const double errors = 3 * product; // measured behind the column loop, then of both candidates of the guard
    return product / 2 + errors + (p->qep_alpha > 0 ? 3 * product : 0) + p->code_sweeps * (product + block / 2) +
           (p->scale_refit ? product + group : 0);
}

bm_status bm_gptq_rows_solve(bm_multiplier *multiplier, const bm_gram *gram, const bm_inverse_factor *factor,
                             const bm_method_params *params, const bm_method_rows *rows, bm_error *err)
{
    bm_status status = BM_OK;
    gptq_work w = {.multiplier = multiplier,
                   .device = multiplier->device,
                   .gram = gram,
                   .factor = factor,
                   .params = params,
                   .rows = rows};
    const uint32_t size = params->grid.group_size;
    // Blocks of columns end where groups do, and super-blocks hold whole groups.
    BM_FAIL_IF(size == 0 || (size != gram->channels && SUPER_BLOCK % size != 0 && size % SUPER_BLOCK != 0), err,
               BM_E_ARGUMENT, "GPTQ: groups of %u channels, expected a divisor or a multiple of %d, or all %u", size,
               SUPER_BLOCK, gram->channels);
    BM_TRY(create_work(&w, err));
    BM_TRY(prepare(&w, err));
    if (params->qep_alpha > 0)
        BM_TRY(make_good(&w, err));
    if (params->act_order == BM_COLUMN_ORDER_DYNAMIC) { // everything from here on in the order of the loop
        BM_TRY(bm_tensor_create(w.device, BM_DTYPE_F32, gram->channels, gram->channels, "ordered Hessian", &w.hessian,
                                err));
        BM_TRY(bm_permute(w.device, &gram->hessian,
                          &(bm_permutation){.row_order = factor->order_view, .col_order = factor->order_view},
                          &w.hessian, err));
        BM_TRY(bm_permute(w.device, &w.target, &(bm_permutation){.col_order = factor->order_view}, &w.other, err));
        BM_TRY(bm_permute(w.device, &w.other, &(bm_permutation){0}, &w.target, err));
    }
    if (is_static(&w) || group_size_of(&w) >= gram->channels)
        BM_TRY(search_grids(&w, &w.target, 0, gram->channels, err));
    BM_TRY(bm_permute(w.device, &w.target,
                      &(bm_permutation){.col_order = is_static(&w) ? factor->order_view : (bm_view){0}}, &w.current,
                      err));
    BM_TRY(run_columns(&w, err));
    if (is_static(&w)) {
        BM_TRY(bm_permute(w.device, &w.current, &(bm_permutation){.col_order = factor->place_view}, &w.other, err));
        BM_TRY(bm_permute(w.device, &w.other, &(bm_permutation){0}, &w.current, err));
    }
    BM_TRY(measure(&w, &w.current, &w.residual, &w.error, err));
    BM_TRY(refine(&w, err));
    BM_TRY(guard(&w, err));
    BM_TRY(finish(&w, err));
done:
    destroy_work(&w);
    return status;
}
