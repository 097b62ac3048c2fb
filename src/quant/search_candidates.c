// Candidates one after the other: weights and inputs to codes, products beside the wanted outputs, sums of squared errors a
// token. Sums of several candidates are fetched with one wait.
#include "quant/search_work.h"

#include "ops/elementwise.h"

#include <math.h>

#define MAX_SECONDS 0.5 // of work between two waits, by a low estimate of the device's rate

// ---- one candidate ----

// What is recorded for it.
typedef struct candidate {
    bm_tensor scales, inverses;        // [1, channels]
    float peak;                        // of static inputs
    uint64_t first_sum, first, tokens; // of its tokens
} candidate;

static bm_int8_rows first_rows(const bm_int8_rows *rows, uint64_t count)
{
    return (bm_int8_rows){bm_tensor_rows(&rows->codes, 0, count), bm_tensor_rows(&rows->rows, 0, count)};
}

// Steps of rows as a column.
static bm_tensor steps_of(const bm_int8_rows *rows)
{
    bm_tensor steps = rows->rows;
    steps.cols = 1;
    return steps;
}

// What a candidate's tokens are of a slab.
typedef struct slab_part {
    bm_tensor inputs;       // [tokens, channels]
    const bm_tensor *wants; // of the whole slab
    uint64_t first;         // of the slab's tokens
    uint64_t first_sum;     // of the candidate's
} slab_part;

// False: none of its tokens are there.
static bool find_part(const bm_search_slab *slab, const candidate *c, slab_part *part)
{
    const uint64_t from = bm_max_u64(slab->first, c->first);
    const uint64_t end = bm_min_u64(slab->first + slab->inputs.rows, c->first + c->tokens);
    if (end <= from)
        return false;
    const uint64_t first = from - slab->first;
    *part = (slab_part){bm_tensor_rows(&slab->inputs, first, end - from), slab->wants, first, from - c->first};
    return true;
}

static bm_tensor wants_of(const slab_part *part, uint32_t product)
{
    return bm_tensor_rows(&part->wants[product], part->first, part->inputs.rows);
}

static bm_tensor sums_of(const bm_search_loss *l, const candidate *c, uint32_t sum, const slab_part *part)
{
    return bm_tensor_rows(&l->sums, c->first_sum + sum * c->tokens + part->first_sum, part->inputs.rows);
}

static bm_status quantize_inputs(bm_search_loss *l, const candidate *c, const bm_tensor *inputs, bm_int8_rows *codes,
                                 bm_error *err)
{
    const bm_quantize_rows_params params = {.name = "inputs of the search",
                                            .factor = &c->inverses,
                                            .per_row = l->params.input == BM_INPUT_DYNAMIC,
                                            .peak = c->peak};
    *codes = first_rows(&l->input_codes, inputs->rows);
    return bm_quantize_rows(l->device, inputs, &params, codes, err);
}

static bm_status quantize_weights(bm_search_loss *l, const candidate *c, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < l->num_pieces; i++) {
        const bm_search_piece *piece = &l->pieces[i];
        const bm_int8_rows rows = first_rows(&l->piece_codes, piece->rows.rows);
        const bm_quantize_rows_params params = {.name = "weights", .factor = &c->scales, .per_row = true};
        const bm_tensor steps = steps_of(&rows);
        BM_TRY(bm_quantize_rows(l->device, &piece->rows, &params, &rows, err));
        BM_TRY(bm_int8_weights_set_rows(l->device, l->products[piece->product].weights, piece->first, &rows.codes,
                                        &steps, err));
    }
done:
    return status;
}

static bm_status record_integers(bm_search_loss *l, const candidate *c, const slab_part *part, bm_error *err)
{
    bm_status status = BM_OK;
    bm_int8_rows codes;
    BM_TRY(quantize_inputs(l, c, &part->inputs, &codes, err));
    for (uint32_t p = 0; p < l->num_products; p++) {
        const bm_tensor want = wants_of(part, p), sums = sums_of(l, c, p, part);
        BM_TRY(bm_gemm_int8_loss(l->device, &codes, l->products[p].weights, NULL, &want, &sums, err));
    }
done:
    return status;
}

static bm_status scale_inputs(bm_search_loss *l, const candidate *c, const bm_tensor *inputs, const bm_tensor *out,
                              bm_error *err)
{
    if (l->params.input == BM_INPUT_FLOAT)
        return bm_shift_scale(l->device, inputs, NULL, &c->inverses, out, err);
    bm_status status = BM_OK;
    bm_int8_rows codes;
    BM_TRY(quantize_inputs(l, c, inputs, &codes, err));
    const bm_tensor steps = steps_of(&codes), zeros = bm_tensor_rows(&l->zeros, 0, inputs->rows);
    BM_TRY(bm_dequantize(l->device, &codes.codes, &steps, &zeros, (uint32_t)l->channels, out, err));
done:
    return status;
}

static bm_status record_floats(bm_search_loss *l, const candidate *c, const slab_part *part, bm_error *err)
{
    const uint64_t tokens = part->inputs.rows;
    const bm_tensor scaled_inputs = bm_tensor_rows(&l->scaled_inputs, 0, tokens);
    bm_status status = BM_OK;
    BM_TRY(scale_inputs(l, c, &part->inputs, &scaled_inputs, err));
    for (uint32_t i = 0; i < l->num_pieces; i++) {
        const bm_search_piece *piece = &l->pieces[i];
        const bm_grid_params *grid = &piece->grid;
        const uint64_t rows = piece->rows.rows, groups = bm_num_groups(l->channels, grid->group_size);
        const bm_tensor scaled = bm_tensor_rows(&l->scaled, 0, rows), step = bm_tensor_reshape(&l->step, rows, groups);
        const bm_tensor zero_point = bm_tensor_reshape(&l->zero_point, rows, groups);
        const bm_tensor wants = wants_of(part, piece->product), want = bm_tensor_columns(&wants, piece->first, rows);
        const bm_tensor outputs = bm_tensor_reshape(&l->outputs, tokens, rows), sums = sums_of(l, c, i, part);
        BM_TRY(bm_shift_scale(l->device, &piece->rows, NULL, &c->scales, &scaled, err));
        BM_TRY(bm_grid_search(l->device, &scaled, grid, NULL, &step, &zero_point, err));
        BM_TRY(bm_fake_quantize(l->device, &scaled, &step, &zero_point, grid->group_size, grid->bits, &scaled, err));
        BM_TRY(bm_multiplier_set(&l->multiplier, &scaled, err));
        BM_TRY(bm_multiplier_run(&l->multiplier, &scaled_inputs, 0, rows, &outputs, err));
        BM_TRY(bm_row_error(l->device, &want, &outputs, &sums, err));
    }
done:
    return status;
}

static bm_status record(bm_search_loss *l, const candidate *c, bm_error *err)
{
    bm_status status = BM_OK;
    if (l->is_integer)
        BM_TRY(quantize_weights(l, c, err));
    for (uint32_t s = 0; s < l->num_slabs; s++) {
        slab_part part;
        if (find_part(&l->slabs[s], c, &part))
            BM_TRY(l->is_integer ? record_integers(l, c, &part, err) : record_floats(l, c, &part, err));
    }
done:
    return status;
}

// ---- batches ----

static double loss_of(const bm_search_loss *l, const float *sums, uint64_t first, uint64_t tokens)
{
    const double *weights = l->weights + first;
    double loss = 0, weight = 0;
    for (uint64_t i = 0; i < tokens; i++)
        weight += weights[i];
    for (uint32_t s = 0; s < l->num_sums; s++) {
        const uint32_t product = l->is_integer ? s : l->pieces[s].product;
        loss += l->products[product].weighting * bm_search_add_rows(sums + 4 * s * tokens, weights, tokens);
    }
    return loss / (weight * (double)l->rows);
}

// The tokens that a batch is judged by: those in front of its part.
static uint64_t tokens_of(const bm_search_loss *l, const bm_smooth_batch *batch, uint64_t *first)
{
    const uint64_t end = batch->part == 1 ? l->first_of_second : l->tokens;
    *first = batch->part == 2 ? l->first_of_second : 0;
    return bm_divide_up(end - *first, batch->token_share);
}

// Candidates first .. first + count - 1, at most at_once. One that has no largest input is not computed.
static bm_status evaluate(bm_search_loss *l, const bm_smooth_batch *batch, uint32_t first, uint32_t count,
                          double *losses, bm_error *err)
{
    uint64_t first_token;
    const uint64_t tokens = tokens_of(l, batch, &first_token), block = l->num_sums * tokens;
    const bm_tensor factors = bm_tensor_rows(&l->factors, 0, 2 * (uint64_t)count);
    const bm_tensor sums = bm_tensor_rows(&l->sums, 0, count * block);
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < count; i++) {
        const float *scales = batch->scales + (first + i) * l->channels;
        float *to = l->host_factors + 2 * i * l->channels;
        for (uint64_t c = 0; c < l->channels; c++) {
            to[c] = scales[c];
            to[l->channels + c] = 1.0f / scales[c];
        }
    }
    BM_TRY(bm_tensor_upload(l->device, &factors, l->host_factors, err));
    for (uint32_t i = 0; i < count; i++) {
        const candidate c = {.scales = bm_tensor_rows(&l->factors, 2 * (uint64_t)i, 1),
                             .inverses = bm_tensor_rows(&l->factors, 2 * (uint64_t)i + 1, 1),
                             .peak = (float)batch->act_amax[first + i],
                             .first_sum = i * block,
                             .first = first_token,
                             .tokens = tokens};
        losses[first + i] = l->params.input == BM_INPUT_STATIC && !(c.peak >= 0 && isfinite(c.peak)) ? NAN : 0;
        if (isfinite(losses[first + i]))
            BM_TRY(record(l, &c, err));
    }
    BM_TRY(bm_tensor_download(l->device, &sums, l->host_sums, err));
    BM_TRY(bm_device_wait(l->device, err));
    for (uint32_t i = 0; i < count; i++)
        if (isfinite(losses[first + i]))
            losses[first + i] = loss_of(l, l->host_sums + 4 * i * block, first_token, tokens);
done:
    return status;
}

static bm_status evaluate_alone(bm_search_loss *l, const bm_smooth_batch *batch, uint32_t first, uint32_t count,
                                double *losses, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = first; i < first + count && status == BM_OK; i++) {
        status = evaluate(l, batch, i, 1, losses, err);
        if (status == BM_E_NUMERIC) {
            losses[i] = NAN;
            status = BM_OK;
        }
    }
    return status;
}

// How many are evaluated between two waits.
static uint32_t candidates_at_once(const bm_search_loss *l, uint64_t tokens)
{
    const double gflops = (l->is_integer ? bm_gemm_int8_choose(l->device) : bm_gemm_choose(l->device)).gflops;
    const double seconds = bm_gemm_operations(tokens, l->rows, l->channels) / (gflops * 1e9);
    const uint64_t by_size = bm_min_u64(BM_SEARCH_AT_ONCE, l->sums.rows / (l->num_sums * tokens));
    return (uint32_t)fmax(1, fmin((double)by_size, MAX_SECONDS / seconds));
}

bm_status bm_search_loss_run(void *context, const bm_smooth_batch *batch, double *losses, bm_error *err)
{
    bm_search_loss *l = context;
    bm_status status = BM_OK;
    BM_FAIL_IF(batch->token_share != 1 && batch->token_share != BM_SMOOTH_PRUNE_SHARE, err, BM_E_ARGUMENT,
               "piecewise search: one token in %u, expected 1 or %d", batch->token_share, BM_SMOOTH_PRUNE_SHARE);
    uint64_t first_token;
    const uint64_t tokens = tokens_of(l, batch, &first_token);
    const bool has_parts = l->first_of_second < l->tokens;
    BM_FAIL_IF(tokens == 0 || (has_parts && batch->part == BM_SMOOTH_WHOLE && batch->token_share != 1), err,
               BM_E_ARGUMENT, "piecewise search: part %u, one token in %u, of %llu and %llu tokens", batch->part,
               batch->token_share, (unsigned long long)l->first_of_second,
               (unsigned long long)(l->tokens - l->first_of_second));
    const uint32_t at_once = candidates_at_once(l, tokens);
    for (uint32_t first = 0; first < batch->count; first += at_once) {
        const uint32_t count = (uint32_t)bm_min_u64(at_once, batch->count - first);
        if (l->params.phase)
            BM_TRY(bm_phase_step(l->params.phase, 0, err));
        status = evaluate(l, batch, first, count, losses, err);
        if (status == BM_E_NUMERIC) // one of them is not finite: each alone
            status = evaluate_alone(l, batch, first, count, losses, err);
        BM_TRY(status);
    }
done:
    return status;
}
