// GPTQ of some rows: target, the steps of the work in their order, codes.
#include "base/clock.h"
#include "quant/gptq_work.h"
#include "quant/rtn.h"

// How far the work is recorded ahead of the device: each wait leaves a fast one idle, and without any a slow one would go on
// for long when it is to stop.
#define MAX_AHEAD_NS UINT64_C(250000000)

static bm_status create_work(bm_gptq_work *w, bm_error *err)
{
    const uint64_t rows = w->rows->weights->rows, channels = w->gram->channels;
    bm_tensor *const matrices[] = {&w->target, &w->current, &w->other, &w->residual, &w->rounding};
    bm_status status = BM_OK;
    for (size_t i = 0; i < BM_COUNT(matrices); i++)
        BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, rows, channels, "GPTQ", matrices[i], err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, rows, BM_GPTQ_SUPER_BLOCK, "GPTQ errors", &w->errors, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, rows, 4, "row errors", &w->error, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, rows, 4, "row errors", &w->rounding_error, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, rows, 4, "row norms", &w->norm, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, rows, 4, "row norms", &w->rounding_norm, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, 1, channels, "column weights", &w->column_weights, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_U32, 1, channels, "groups of columns", &w->group_index, err));
done:
    return status;
}

static void destroy_work(bm_gptq_work *w)
{
    bm_tensor *const all[] = {&w->rounding,       &w->target,  &w->current,      &w->other,          &w->residual,
                              &w->errors,         &w->hessian, &w->group_index,  &w->column_weights, &w->error,
                              &w->rounding_error, &w->norm,    &w->rounding_norm};
    for (size_t i = 0; i < BM_COUNT(all); i++)
        bm_tensor_destroy(all[i]);
}

// What one held is the other's: the memory of a result that was made apart from its source.
static void exchange(bm_tensor *x, bm_tensor *y)
{
    const bm_tensor kept = *x;
    *x = *y;
    *y = kept;
}

// target = weights without the columns of dead channels, in the order of channels; column weights and group indices.
static bm_status prepare(bm_gptq_work *w, bm_error *err)
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
        groups[i] = f->order[i] / bm_gptq_group_size(w);
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
// d is the automatic damping at least: with less the few tokens there may be move weights where none was seen, and more is
// lost than made good.
// Source: Arai and Ichikawa, Quantization Error Propagation, 2025.
static bm_status make_good(bm_gptq_work *w, bm_error *err)
{
    const bm_inverse_factor *f = w->factor->automatic ? w->factor->automatic : w->factor;
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

bm_status bm_gptq_report_progress(bm_gptq_work *w, bm_error *err)
{
    bm_status status = BM_OK;
    if (!w->rows->phase)
        return BM_OK;
    if (bm_clock_ns() - w->waited_ns > MAX_AHEAD_NS) {
        BM_TRY(bm_device_wait(w->device, err));
        w->waited_ns = bm_clock_ns();
    }
    BM_TRY(bm_phase_step(w->rows->phase, 0, err));
done:
    return status;
}

// Codes from the order of the loop to that of channels: as numbers, by steps of 1.
static bm_status move_codes(bm_gptq_work *w, bm_error *err)
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
static bm_status finish(bm_gptq_work *w, bm_error *err)
{
    const bm_method_rows *rows = w->rows;
    const bool moved = w->params->act_order == BM_COLUMN_ORDER_DYNAMIC;
    bm_status status = BM_OK;
    BM_TRY(bm_quantize(w->device, &w->current, &rows->codes->step, &rows->codes->zero_point, bm_gptq_group_size(w),
                       w->params->grid.bits, &rows->codes->codes, err));
    BM_TRY(bm_codes_shift(w->device, rows->codes, &w->current, 0, -1, err));
    if (moved) {
        BM_TRY(move_codes(w, err));
        BM_TRY(
            bm_permute(w->device, &w->current, &(bm_permutation){.col_order = w->factor->place_view}, &w->other, err));
        exchange(&w->current, &w->other);
    }
    if (rows->rounded)
        BM_TRY(bm_permute(w->device, &w->current, &(bm_permutation){0}, rows->rounded, err));
    BM_TRY(bm_add_weight_error(w->device, rows, &w->current, err));
done:
    return status;
}

// Whether anything follows the column loop but the guard.
static bool refines(const bm_method_params *p)
{
    return p->code_sweeps > 0 || p->scale_refit;
}

double bm_gptq_rows_operations(uint64_t rows, uint64_t channels, const bm_method_params *p)
{
    const double product = 2.0 * (double)rows * (double)channels * (double)channels; // of the rows and a square
    const double block = 2.0 * (double)rows * (double)channels * BM_GPTQ_BLOCK;
    const double group = 2.0 * (double)rows * (double)channels * (double)bm_min_u64(p->grid.group_size, channels);
    // Measured behind the column loop, where something follows it, then of both candidates of the guard.
    const double errors = (refines(p) ? 3 : 2) * product;
    return product / 2 + errors + (p->qep_alpha > 0 ? 3 * product : 0) + p->code_sweeps * (product + block / 2) +
           (p->scale_refit ? product + group : 0);
}

bm_status bm_gptq_rows_solve(bm_multiplier *multiplier, const bm_gram *gram, const bm_inverse_factor *factor,
                             const bm_method_params *params, const bm_method_rows *rows, bm_error *err)
{
    bm_status status = BM_OK;
    bm_gptq_work w = {.multiplier = multiplier,
                      .device = multiplier->device,
                      .gram = gram,
                      .factor = factor,
                      .params = params,
                      .rows = rows,
                      .waited_ns = bm_clock_ns()};
    const uint32_t size = params->grid.group_size;
    // Blocks of columns end where groups do, and super-blocks hold whole groups.
    BM_FAIL_IF(size == 0 ||
                   (size != gram->channels && BM_GPTQ_SUPER_BLOCK % size != 0 && size % BM_GPTQ_SUPER_BLOCK != 0),
               err, BM_E_ARGUMENT, "GPTQ: groups of %u channels, expected a divisor or a multiple of %d, or all %u",
               size, BM_GPTQ_SUPER_BLOCK, gram->channels);
    BM_FAIL_IF(params->grid.nested && params->act_order == BM_COLUMN_ORDER_DYNAMIC, err, BM_E_ARGUMENT,
               "GPTQ: nested steps of columns in an order of their own, expected neighbours");
    BM_TRY(create_work(&w, err));
    BM_TRY(prepare(&w, err));
    if (params->grid.nested && params->scale_search == BM_SEARCH_GRAM)
        BM_TRY(bm_diagonal(w.device, &gram->hessian, &w.column_weights, err));
    if (params->qep_alpha > 0)
        BM_TRY(make_good(&w, err));
    if (params->act_order == BM_COLUMN_ORDER_DYNAMIC) { // everything from here on in the order of the loop
        BM_TRY(bm_tensor_create(w.device, BM_DTYPE_F32, gram->channels, gram->channels, "ordered Hessian", &w.hessian,
                                err));
        BM_TRY(bm_permute(w.device, &gram->hessian,
                          &(bm_permutation){.row_order = factor->order_view, .col_order = factor->order_view},
                          &w.hessian, err));
        BM_TRY(bm_permute(w.device, &w.target, &(bm_permutation){.col_order = factor->order_view}, &w.other, err));
        exchange(&w.target, &w.other);
    }
    if (bm_gptq_is_static(&w) || bm_gptq_span(&w) >= gram->channels)
        BM_TRY(bm_gptq_search_grids(&w, &w.target, 0, gram->channels, err));
    BM_TRY(bm_permute(w.device, &w.target,
                      &(bm_permutation){.col_order = bm_gptq_is_static(&w) ? factor->order_view : (bm_view){0}},
                      &w.current, err));
    BM_TRY(bm_gptq_run_columns(&w, err));
    if (bm_gptq_is_static(&w)) {
        BM_TRY(bm_permute(w.device, &w.current, &(bm_permutation){.col_order = factor->place_view}, &w.other, err));
        exchange(&w.current, &w.other);
    }
    if (refines(params)) {
        BM_TRY(bm_gptq_measure(&w, &w.current, &w.residual, &w.error, err));
        BM_TRY(bm_gptq_refine(&w, err));
    }
    BM_TRY(bm_gptq_guard(&w, err));
    BM_TRY(finish(&w, err));
done:
    destroy_work(&w);
    return status;
}
