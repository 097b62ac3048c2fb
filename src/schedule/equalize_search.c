// The piecewise search of a stage's scales.
#include "ops/elementwise.h"
#include "quant/equalize/better.h"
#include "quant/equalize/int8_loss.h"
#include "quant/search_loss.h"
#include "schedule/equalize.h"

#include <math.h>

static bm_smooth_search_params search_params(const bm_arguments *a, uint32_t channels)
{
    bm_smooth_search_params params;
    bm_smooth_search_params_init(&params);
    params.grid = (bm_smooth_grid_params){.alpha_min = a->search_alpha_min,
                                          .alpha_max = a->search_alpha_max,
                                          .alpha_step = a->search_alpha_step,
                                          .has_constants = a->search_scale_min > 0 && a->search_scale_max > 0,
                                          .scale_min = a->search_scale_min,
                                          .scale_max = a->search_scale_max,
                                          .scale_step = a->search_scale_step};
    params.candidates = a->piecewise_candidates == BM_PIECES_RELATIVE ? BM_PIECEWISE_RELATIVE
                        : a->piecewise_candidates == BM_PIECES_LOG    ? BM_PIECEWISE_LOG
                                                                      : BM_PIECEWISE_ABSOLUTE;
    params.k_piece = (uint32_t)bm_min_u64((uint64_t)a->smooth_k_piece, channels);
    params.search_piece = a->smooth_search_piece;
    params.rounds = (uint32_t)a->search_rounds;
    params.falling = a->smooth_piece_order == BM_PIECES_FALLING;
    params.prune = a->search_prune;
    params.pow2 = a->smooth_pow2;
    params.margin = a->search_margin;
    params.compat_paddleslim = a->compat == BM_COMPAT_PADDLESLIM;
    return params;
}

uint64_t bm_equalizer_most_candidates(const bm_arguments *a)
{
    const bm_smooth_search_params params = search_params(a, UINT32_MAX);
    return bm_smooth_grid_most(&params.grid);
}

// PaddleSlim's codes are of its own rounding, which no kernel has: plain C computes them, slowly. The last linear alone counts.
typedef struct compat_loss {
    float *inputs, *weights;
    bm_int8_loss loss;
} compat_loss;

static void free_compat(compat_loss *c)
{
    bm_int8_loss_free(&c->loss);
    bm_free(c->inputs);
    bm_free(c->weights);
}

static bm_status make_compat(const bm_equalizer *e, const bm_equalized_stage *s, const bm_weights *weights,
                             compat_loss *out, bm_error *err)
{
    bm_device *device = e->emit->device;
    const uint64_t tokens = s->watched.num_sample, rows = weights->out_features;
    bm_status status = BM_OK;
    bm_tensor inputs = {0};
    out->inputs = bm_alloc(tokens * s->channels, sizeof *out->inputs);
    out->weights = bm_alloc(rows * s->channels, sizeof *out->weights);
    BM_FAIL_IF(!out->inputs || !out->weights, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, tokens, s->channels, "sample of inputs", &inputs, err));
    BM_TRY(bm_convert(device, &s->watched.sample, &inputs, "sample of inputs", err));
    BM_TRY(bm_tensor_download(device, &inputs, out->inputs, err));
    for (uint32_t p = 0; p < weights->num_parts; p++)
        BM_TRY(bm_tensor_download(device, &weights->parts[p], out->weights + p * weights->rows_per_part * s->channels,
                                  err));
    BM_TRY(bm_device_wait(device, err));
    for (uint64_t i = 0; s->shift && i < tokens * s->channels; i++)
        out->inputs[i] -= (float)s->shift[i % s->channels];
    const bm_int8_loss_params params = {.inputs = out->inputs,
                                        .weights = out->weights,
                                        .tokens = tokens,
                                        .rows = rows,
                                        .channels = s->channels,
                                        .linear_rows = &rows,
                                        .num_linears = 1,
                                        .group_size = s->channels,
                                        .per_token = e->emit->plan->input == BM_INPUT_DYNAMIC,
                                        .compat_paddleslim = true};
    BM_TRY(bm_int8_loss_init(&out->loss, &params, err));
done:
    bm_tensor_destroy(&inputs);
    return status;
}

// ---- the loss

// Which half of the sequences each token of the sample is of, to part [num_sample]; what both weigh together, sums [2].
static void split_sample(const bm_activation_statistics *w, uint64_t split, const double *weights, uint8_t *part,
                         double *sums)
{
    sums[0] = sums[1] = 0;
    for (uint32_t i = 0, sequence = 0, row = 0; i < w->num_sample; i++) {
        for (; w->sample_tokens[i] >= w->first_token[sequence + 1]; sequence++)
            row += w->watched[sequence]; // statistics have a row for each that was watched
        part[i] = row < split ? 1 : 2;
        sums[part[i] - 1] += weights ? weights[i] : 1;
    }
}

// Makes s->loss. problem: searched next, or NULL; it is not judged crosswise where a half has no tokens.
static bm_status make_loss(bm_equalizer *e, bm_stage stage, bm_smooth_problem *problem, bm_error *err)
{
    const bm_plan *plan = e->emit->plan;
    const bm_arguments *a = e->emit->arguments;
    bm_equalized_stage *s = &e->stages[stage];
    const uint32_t num_sample = s->watched.num_sample;
    const bm_weights *members[BM_NUM_LINEARS];
    bm_grid_params grids[BM_NUM_LINEARS];
    bm_status status = BM_OK;
    double *token_weights = NULL;
    uint8_t *part = NULL;
    BM_TRY(bm_equalizer_token_weights(e, stage, &token_weights, err));
    if (problem && problem->part_a) {
        part = bm_alloc(num_sample, 1);
        BM_FAIL_IF(!part, err, BM_E_MEMORY, "out of memory");
        split_sample(&s->watched, problem->split, token_weights, part, problem->part_weights);
        if (!(problem->part_weights[0] > 0 && problem->part_weights[1] > 0))
            problem->part_a = NULL;
    }
    const bm_search_loss_params params = {.inputs = &s->watched.sample,
                                          .zero_point = s->shift,
                                          .linears = members,
                                          .num_linears = bm_equalizer_members(e, stage, true, members, grids),
                                          .grids = grids,
                                          .input = plan->input,
                                          .nmse = a->search_loss == BM_LOSS_NMSE,
                                          .token_weights = token_weights,
                                          .part = problem && problem->part_a ? part : NULL,
                                          .phase = e->emit->phase};
    BM_TRY(bm_search_loss_create(e->emit->device, &params, &s->loss, err));
done:
    bm_free(token_weights);
    bm_free(part);
    return status;
}

// ---- searches

// Shares of the largest of all that are tried, then those around the best of them.
static const double first_shares[] = {1, 0.85, 0.7, 0.55, 0.4}, next_shares[] = {0.1, 0.05, -0.05, -0.1};
enum { MAX_SHARES = BM_COUNT(first_shares) };
// What a share must gain over one that was tried before it: where losses hardly differ, the first is safer, and all devices agree.
#define SHARE_GAIN 1e-3

// One round of shares [count]; *best and *least become what loses least so far.
static bm_status try_shares(bm_equalized_stage *s, const float *scales, double largest, const double *shares,
                            uint32_t count, double *best, double *least, bm_error *err)
{
    bm_status status = BM_OK;
    double amax[MAX_SHARES], losses[MAX_SHARES];
    for (uint32_t i = 0; i < count; i++)
        amax[i] = largest * shares[i];
    const bm_smooth_batch batch = {.count = count, .scales = scales, .act_amax = amax, .token_share = 1};
    BM_TRY(bm_search_loss_run(s->loss, &batch, losses, err));
    for (uint32_t i = 0; i < count; i++)
        if (bm_is_better(losses[i], *least * (1 - SHARE_GAIN))) {
            *least = losses[i];
            *best = shares[i];
        }
done:
    return status;
}

bm_status bm_equalizer_search_share(bm_equalizer *e, bm_stage stage, double largest, double *share, bm_error *err)
{
    bm_equalized_stage *s = &e->stages[stage];
    bm_status status = BM_OK;
    double best = 1, least = INFINITY, shares[BM_COUNT(next_shares)];
    uint32_t count = 0;
    float *scales = bm_alloc(MAX_SHARES, s->channels * sizeof *scales);
    BM_FAIL_IF(!scales, err, BM_E_MEMORY, "out of memory");
    for (size_t i = 0; i < MAX_SHARES; i++)
        for (uint32_t c = 0; c < s->channels; c++)
            scales[i * s->channels + c] = s->scale ? (float)s->scale[c] : 1.0f;
    if (!s->loss)
        BM_TRY(make_loss(e, stage, NULL, err));
    BM_TRY(try_shares(s, scales, largest, first_shares, BM_COUNT(first_shares), &best, &least, err));
    for (size_t i = 0; i < BM_COUNT(next_shares); i++)
        if (best + next_shares[i] < 1)
            shares[count++] = best + next_shares[i];
    BM_TRY(try_shares(s, scales, largest, shares, count, &best, &least, err));
    *share = best;
done:
    bm_free(scales);
    return status;
}

bm_status bm_equalizer_search(bm_equalizer *e, bm_stage stage, bm_smooth_problem *problem, const bm_log *log,
                              float *scales, bm_error *err)
{
    const bm_arguments *a = e->emit->arguments;
    bm_equalized_stage *s = &e->stages[stage];
    const bm_smooth_search_params params = search_params(a, s->channels);
    const bm_weights *members[BM_NUM_LINEARS];
    const uint32_t num_members = bm_equalizer_members(e, stage, a->compat == BM_COMPAT_NONE, members, NULL);
    bm_status status = BM_OK;
    compat_loss host_loss = {0};
    uint32_t num_found = 0;
    bm_channel_pieces *pieces = bm_alloc_zero(params.k_piece, sizeof *pieces);
    BM_FAIL_IF(!pieces, err, BM_E_MEMORY, "out of memory");
    problem->tokens = s->watched.num_sample;
    problem->loss = params.compat_paddleslim ? bm_int8_loss_run : bm_search_loss_run;
    BM_TRY(bm_smooth_partition(problem, &params, pieces, &num_found, err));
    if (problem->tokens > 1 && params.compat_paddleslim)
        BM_TRY(make_compat(e, s, members[num_members - 1], &host_loss, err));
    else if (problem->tokens > 1)
        BM_TRY(make_loss(e, stage, problem, err));
    problem->context = params.compat_paddleslim ? (void *)&host_loss.loss : (void *)s->loss;
    BM_TRY(bm_smooth_search(problem, &params, pieces, num_found, scales, &s->record->search, err));
    s->record->search.asked_pieces = (uint32_t)a->smooth_k_piece;
    s->record->search.one_sided =
        a->search_crosswise && !params.compat_paddleslim && !s->record->search.skipped && !problem->part_a;
    if (s->record->search.nothing_finite)
        bm_log_write(log, BM_LOG_WARNING, "block %u, inputs of %s: no candidate's loss was finite; scales stay 1",
                     e->block, members[0]->name);
done:
    free_compat(&host_loss);
    for (uint32_t i = 0; pieces && i < num_found; i++)
        bm_channel_pieces_free(&pieces[i]);
    bm_free(pieces);
    return status;
}
