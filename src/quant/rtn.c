// Plain rounding to nearest: steps from the weights, or from the weights and the inputs' Gram matrix, each weight to the nearest
// point of its grid.
#include "quant/rtn.h"

#include "ops/elementwise.h"
#include "ops/gram_search.h"

bm_status bm_add_weight_error(bm_device *device, const bm_method_rows *rows, const bm_tensor *rounded, bm_error *err)
{
    const uint64_t count = rows->weights->rows;
    bm_status status = BM_OK;
    bm_tensor sums = {0};
    float *host = bm_alloc(4 * count, sizeof *host);
    BM_FAIL_IF(!host, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, count, 4, "row errors", &sums, err));
    BM_TRY(bm_row_error(device, rows->weights, rounded, &sums, err));
    BM_TRY(bm_tensor_download(device, &sums, host, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint64_t r = 0; r < count; r++) {
        // row_error gives {sum (x - y)^2, sum x^2}
        rows->errors[r].weight_error += (double)host[4 * r];
        rows->errors[r].weight_norm += (double)host[4 * r + 1];
    }
done:
    bm_tensor_destroy(&sums);
    bm_free(host);
    return status;
}

// Adds sum over tokens |X (w - rounded)|^2, to both sums, since this is plain rounding.
static bm_status add_output_error(bm_multiplier *m, const bm_gram *gram, const bm_method_rows *rows,
                                  const bm_tensor *rounded, bm_error *err)
{
    const uint64_t count = rows->weights->rows, cols = rows->weights->cols;
    bm_status status = BM_OK;
    bm_tensor difference = {0}, product = {0}, sums = {0};
    float *host = bm_alloc(4 * count, sizeof *host);
    BM_FAIL_IF(!host, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(m->device, BM_DTYPE_F32, count, cols, "differences", &difference, err));
    BM_TRY(bm_tensor_create(m->device, BM_DTYPE_F32, count, cols, "products", &product, err));
    BM_TRY(bm_tensor_create(m->device, BM_DTYPE_F32, count, 4, "row errors", &sums, err));
    BM_TRY(bm_add_scaled(m->device, rows->weights, rounded, -1.0f, &difference, err));
    BM_TRY(bm_gram_multiply(m, gram, &difference, &product, err));
    BM_TRY(bm_row_dot(m->device, &difference, &product, &sums, err));
    BM_TRY(bm_tensor_download(m->device, &sums, host, err));
    BM_TRY(bm_device_wait(m->device, err));
    for (uint64_t r = 0; r < count; r++) {
        rows->errors[r].output_error += (double)host[4 * r];
        rows->errors[r].output_error_rounding += (double)host[4 * r];
    }
done:
    bm_tensor_destroy(&difference);
    bm_tensor_destroy(&product);
    bm_tensor_destroy(&sums);
    bm_free(host);
    return status;
}

static bm_watches watches(const bm_method_params *params)
{
    return params->scale_search == BM_SEARCH_GRAM || params->scale_search == BM_SEARCH_WEIGHTED_MSE
               ? BM_WATCHES_INPUTS
               : BM_WATCHES_NOTHING;
}

static bm_status find_steps(bm_multiplier *m, const bm_gram *gram, const bm_method_params *params,
                            const bm_method_rows *rows, bm_error *err)
{
    const bm_codes *codes = rows->codes;
    bm_status status = BM_OK;
    bm_tensor weights = {0};
    bm_grid_params grid = params->grid;
    const bool skips = gram && watches(params) != BM_WATCHES_NOTHING && !bm_gram_is_enough(gram);
    grid.search = params->scale_search != BM_SEARCH_ABS_MAX && !skips;
    if (gram && !skips && params->scale_search == BM_SEARCH_GRAM && !grid.nested)
        return bm_gram_search(m, rows->weights, &gram->hessian, &grid, &codes->step, &codes->zero_point, err);
    if (gram && !skips && watches(params) != BM_WATCHES_NOTHING) {
        BM_TRY(bm_tensor_create(m->device, BM_DTYPE_F32, 1, gram->channels, "column weights", &weights, err));
        BM_TRY(bm_diagonal(m->device, &gram->hessian, &weights, err));
    }
    const bm_tensor *counts = weights.view.buffer ? &weights : NULL;
    if (grid.nested) {
        const bm_nested_params nested = {grid.bits, grid.symmetric, grid.search, !counts};
        BM_TRY(bm_nested_search(m->device, rows->weights, &nested, counts, 0, &codes->step, &codes->nested, err));
    } else {
        BM_TRY(bm_grid_search(m->device, rows->weights, &grid, counts, &codes->step, &codes->zero_point, err));
    }
done:
    bm_tensor_destroy(&weights);
    return status;
}

bm_status bm_rtn_solve_rows(bm_multiplier *m, const bm_gram *gram, const bm_method_params *params,
                            const bm_method_rows *rows, bm_error *err)
{
    const bm_codes *codes = rows->codes;
    const uint64_t count = rows->weights->rows, cols = rows->weights->cols;
    bm_status status = BM_OK;
    bm_tensor own = {0};
    BM_FAIL_IF(codes->bits < 2 || codes->bits > 8, err, BM_E_ARGUMENT, "rounding: %u bits, expected 2 to 8",
               codes->bits);
    BM_FAIL_IF(codes->group_size == 0, err, BM_E_ARGUMENT, "rounding: group_size 0");
    if (!rows->rounded)
        BM_TRY(bm_tensor_create(m->device, BM_DTYPE_F32, count, cols, "rounded weights", &own, err));
    const bm_tensor *rounded = rows->rounded ? rows->rounded : &own;
    BM_TRY(find_steps(m, gram, params, rows, err));
    const bool shifts = codes->nested.offset.view.buffer;
    if (shifts)
        BM_TRY(bm_permute(m->device, rows->weights, &(bm_permutation){0}, rounded, err));
    BM_TRY(bm_codes_shift(m->device, codes, rounded, 0, 1, err));
    BM_TRY(bm_quantize(m->device, shifts ? rounded : rows->weights, &codes->step, &codes->zero_point, codes->group_size,
                       codes->bits, &codes->codes, err));
    BM_TRY(bm_dequantize(m->device, &codes->codes, &codes->step, &codes->zero_point, codes->group_size, rounded, err));
    BM_TRY(bm_codes_shift(m->device, codes, rounded, 0, -1, err));
    BM_TRY(bm_add_weight_error(m->device, rows, rounded, err));
    if (gram)
        BM_TRY(add_output_error(m, gram, rows, rounded, err));
done:
    bm_tensor_destroy(&own);
    return status;
}

static uint64_t state_bytes(const bm_method_params *params, uint32_t channels)
{
    return watches(params) == BM_WATCHES_NOTHING ? 0 : 2 * bm_gram_bytes(channels, false);
}

static bm_status begin(bm_multiplier *m, const bm_method_params *params, uint32_t channels, void **state, bm_error *err)
{
    (void)params;
    bm_gram *gram = bm_alloc_zero(1, sizeof *gram);
    if (!gram)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    const bm_status status = bm_gram_create(m->device, channels, false, gram, err);
    if (status != BM_OK)
        bm_free(gram);
    else
        *state = gram;
    return status;
}

static bm_status watch(bm_multiplier *m, void *state, const bm_tensor *inputs, const bm_tensor *float_inputs,
                       bm_error *err)
{
    (void)float_inputs;
    return bm_gram_add(m, state, inputs, NULL, err);
}

static bm_status prepare(bm_multiplier *m, void *state, const bm_method_params *params, bm_group_record *record,
                         bm_error *err)
{
    const bm_gram *gram = state;
    (void)params;
    record->tokens = gram->tokens;
    record->search_skipped = !bm_gram_is_enough(gram);
    return bm_gram_finish(m->device, state, NULL, err);
}

static bm_status solve(bm_multiplier *m, void *state, const bm_method_params *params, const bm_method_rows *rows,
                       bm_error *err)
{
    return bm_rtn_solve_rows(m, state, params, rows, err);
}

static bm_status group_index(const void *state, const bm_method_params *params, uint32_t **out, bm_error *err)
{
    (void)state;
    (void)params;
    (void)err;
    *out = NULL;
    return BM_OK;
}

static void end(void **state)
{
    if (!*state)
        return;
    bm_gram_destroy(*state);
    bm_free(*state);
    *state = NULL;
}

const bm_method bm_method_rtn = {.name = "rtn",
                                 .words = "plain rounding (RTN)",
                                 .watches = watches,
                                 .state_bytes = state_bytes,
                                 .begin = begin,
                                 .watch = watch,
                                 .prepare = prepare,
                                 .solve = solve,
                                 .group_index = group_index,
                                 .end = end};
