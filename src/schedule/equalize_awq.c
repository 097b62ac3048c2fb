// AWQ's scales of a stage: sums of products of its inputs while they pass the float block, then the candidate whose rounded weights lose least by
// them. Linears that are rounded behind the scales take their steps from the same sums.
#include "schedule/equalize.h"

#include "ops/elementwise.h"
#include "quant/candidate_losses.h"
#include "quant/equalize/awq_scales.h"
#include "quant/equalize/smooth_work.h"
#include "quant/normalized_columns.h"

#include <math.h>

// Segments whose inputs the search of scales sees, and those by which steps are found: none more where the method keeps its own sums.
static uint32_t searched_segments(const bm_emit_context *emit)
{
    return bm_calibration_data_first(&emit->plan->calibration, emit->arguments->smooth_step);
}

static uint32_t weighed_segments(const bm_emit_context *emit)
{
    return bm_plan_solves_by_float(emit->plan) ? bm_plan_solving_segments(emit->plan, emit->arguments)
                                               : searched_segments(emit);
}

// Of a stage that is quantized.
static bool keeps_gram(const bm_emit_context *emit, const bm_fold_wanted *wanted, bm_stage stage)
{
    const bool searches = bm_job_scales_by_awq(emit->arguments) && wanted->scale;
    return (searches && !bm_judges_block(emit, wanted, stage)) || bm_plan_solves_by_float(emit->plan);
}

bm_status bm_equalizer_begin_grams(bm_equalizer *e, bm_stage stage, bm_error *err)
{
    bm_equalized_stage *s = &e->stages[stage];
    bm_status status = BM_OK;
    if (!s->is_quantized || !keeps_gram(e->emit, &s->wanted, stage))
        return BM_OK;
    BM_TRY(bm_gram_create(e->emit->device, s->channels, false, &s->gram, err));
    if (searched_segments(e->emit) != weighed_segments(e->emit))
        BM_TRY(bm_gram_create(e->emit->device, s->channels, false, &s->later_gram, err));
done:
    return status;
}

bm_status bm_equalizer_watch_grams(bm_equalizer *e, bm_stage stage, const bm_tensor *inputs, uint32_t first,
                                   uint32_t count, bm_error *err)
{
    const uint64_t near = bm_min_u64(searched_segments(e->emit), weighed_segments(e->emit));
    const uint64_t far = bm_max_u64(searched_segments(e->emit), weighed_segments(e->emit));
    bm_equalized_stage *s = &e->stages[stage];
    bm_status status = BM_OK;
    if (!s->gram.hessian.view.buffer)
        return BM_OK;
    uint64_t rows[2] = {0};
    for (uint32_t i = first; i < first + count && i < far; i++)
        rows[i >= near] += e->emit->plan->calibration.segments[i].count;
    for (uint32_t part = 0; part < 2; part++) {
        const bm_tensor some = bm_tensor_rows(inputs, part == 0 ? 0 : rows[0], rows[part]);
        if (rows[part] > 0)
            BM_TRY(bm_gram_add(e->multiplier, part == 0 ? &s->gram : &s->later_gram, &some, NULL, err));
    }
done:
    return status;
}

bm_status bm_equalizer_finish_grams(bm_equalizer *e, bm_stage stage, bm_error *err)
{
    bm_equalized_stage *s = &e->stages[stage];
    bm_status status = BM_OK;
    if (!s->gram.hessian.view.buffer)
        return BM_OK;
    BM_TRY(bm_gram_finish(e->emit->device, &s->gram, NULL, err));
    if (!s->later_gram.hessian.view.buffer)
        return BM_OK;
    BM_TRY(bm_gram_finish(e->emit->device, &s->later_gram, NULL, err)); // from here on, of all
    BM_TRY(bm_add(e->emit->device, &s->gram.hessian, &s->later_gram.hessian, &s->later_gram.hessian, err));
    s->later_gram.tokens += s->gram.tokens;
done:
    return status;
}

static bm_gram *gram_of(bm_equalizer *e, bm_stage stage, uint32_t segments)
{
    bm_equalized_stage *s = &e->stages[stage];
    const uint64_t near = bm_min_u64(searched_segments(e->emit), weighed_segments(e->emit));
    return segments > near ? &s->later_gram : &s->gram;
}

// ---- the search

// Records grid and losses as one move of all channels. Returns the candidate that loses least; as bm_awq_best.
static bm_status choose(bm_smooth_record *record, const double *losses, uint32_t *chosen, bm_error *err)
{
    const bm_smooth_grid *grid = &record->first_grid;
    bm_status status = BM_OK;
    *chosen = bm_awq_best(losses, grid->count);
    const double least = isfinite(losses[*chosen]) ? losses[*chosen] : INFINITY;
    record->stride = grid->count;
    record->num_evaluated = grid->count;
    record->identity_loss = isfinite(losses[0]) ? losses[0] : INFINITY;
    record->loss = least;
    record->nothing_finite = !isfinite(least);
    const bm_smooth_move move = {.chosen = record->nothing_finite ? BM_SMOOTH_KEPT : *chosen, .loss = least};
    BM_TRY(bm_smooth_record_add(record, &move, losses, grid->count, err));
done:
    return status;
}

typedef struct candidate_context {
    const bm_smooth_candidate *candidates;
    uint32_t channels;
    const double *m, *w;
} candidate_context;

static void make_scales(const void *context, uint32_t candidate, float *out)
{
    const candidate_context *c = context;
    bm_awq_scales(&c->candidates[candidate], c->channels, c->m, c->w, out);
}

static bm_status find_losses(bm_equalizer *e, bm_stage stage, const double *m, const double *w, double *losses,
                             bm_error *err)
{
    bm_equalized_stage *s = &e->stages[stage];
    const bm_smooth_grid *grid = &s->record->search.first_grid;
    const bm_weights *members[BM_NUM_LINEARS];
    bm_grid_params grids[BM_NUM_LINEARS];
    const bm_gram *gram = gram_of(e, stage, searched_segments(e->emit));
    const bm_gram_loss_params params = {.gram = &gram->hessian,
                                        .linears = members,
                                        .num_linears = bm_equalizer_members(e, stage, true, members, grids),
                                        .grids = grids,
                                        .phase = e->emit->phase};
    bm_status status = BM_OK;
    uint64_t rows = 0;
    for (uint32_t i = 0; i < params.num_linears; i++)
        rows += members[i]->out_features;
    const candidate_context context = {grid->candidates, s->channels, m, w};
    const bm_candidate_source source = {make_scales, &context};
    BM_TRY(bm_candidate_losses(e->multiplier, &params, &source, grid->count, losses, err));
    for (uint32_t i = 0; i < grid->count; i++)
        losses[i] /= (double)gram->tokens * (double)rows;
done:
    return status;
}

bm_status bm_equalizer_search_awq(bm_equalizer *e, bm_stage stage, const bm_log *log, float *scales, bm_error *err)
{
    const bm_arguments *a = e->emit->arguments;
    bm_equalized_stage *s = &e->stages[stage];
    bm_smooth_record *record = &s->record->search;
    const uint64_t sequences = bm_channel_statistics_first(&s->statistics, a->smooth_step);
    const bm_weights *members[BM_NUM_LINEARS];
    bm_grid_params grids[BM_NUM_LINEARS];
    const uint32_t num_members = bm_equalizer_members(e, stage, true, members, grids);
    const bool judges_block = bm_equalizer_judges_block(e, stage);
    const uint64_t tokens = judges_block ? s->sequence_tokens : gram_of(e, stage, searched_segments(e->emit))->tokens;
    bm_status status = BM_OK;
    double *m = bm_alloc(2 * (uint64_t)s->channels, sizeof *m), *w = m + s->channels, *losses = NULL;
    uint32_t chosen;
    BM_FAIL_IF(!m, err, BM_E_MEMORY, "out of memory");
    for (uint32_t c = 0; c < s->channels; c++)
        scales[c] = 1;
    record->skipped = tokens < 2;
    if (record->skipped)
        goto done;
    bm_channel_statistics_mean_magnitude(&s->statistics, 0, sequences, m);
    BM_TRY(bm_normalized_columns(e->emit->device, members, num_members, grids, w, err));
    bm_equalizer_share_heads(e, stage, w);
    BM_TRY(bm_awq_grid_create((uint32_t)a->awq_n_grid, a->awq_candidates == BM_AWQ_EXTENDED, &record->first_grid, err));
    losses = bm_alloc(record->first_grid.count, sizeof *losses);
    BM_FAIL_IF(!losses, err, BM_E_MEMORY, "out of memory");
    BM_TRY(judges_block ? bm_equalizer_block_losses(e, stage, m, w, losses, err)
                        : find_losses(e, stage, m, w, losses, err));
    BM_TRY(choose(record, losses, &chosen, err));
    if (record->nothing_finite)
        bm_log_write(log, BM_LOG_WARNING, "block %u, inputs of %s: no candidate's loss was finite; scales stay 1",
                     e->block, members[0]->name);
    else
        bm_awq_scales(&record->first_grid.candidates[chosen], s->channels, m, w, scales);
done:
    bm_free(m);
    bm_free(losses);
    return status;
}

// ---- steps

bm_status bm_equalizer_solving_gram(bm_equalizer *e, bm_stage stage, bm_gram **out, bm_error *err)
{
    bm_device *device = e->emit->device;
    bm_equalized_stage *s = &e->stages[stage];
    bm_gram *gram = gram_of(e, stage, weighed_segments(e->emit));
    bm_status status = BM_OK;
    bm_tensor factors = {0}, turned = {0};
    *out = gram;
    if (!s->scale)
        return BM_OK;
    BM_TRY(bm_equalizer_upload_vector(device, s->scale, s->channels, true, &factors, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, s->channels, s->channels, "Hessian", &turned, err));
    BM_TRY(bm_scale_columns(device, &gram->hessian, &factors, err));
    BM_TRY(bm_transpose(device, &gram->hessian, &turned, err));
    BM_TRY(bm_scale_columns(device, &turned, &factors, err));
    BM_TRY(bm_device_wait(device, err));
    bm_tensor_destroy(&gram->hessian);
    gram->hessian = turned;
    turned = (bm_tensor){0};
done:
    bm_tensor_destroy(&factors);
    bm_tensor_destroy(&turned);
    return status;
}

void bm_equalizer_free_grams(bm_equalizer *e, bm_stage stage)
{
    bm_gram_destroy(&e->stages[stage].gram);
    bm_gram_destroy(&e->stages[stage].later_gram);
}

uint64_t bm_equalizer_gram_bytes(const bm_emit_context *emit, bm_stage stage)
{
    const uint32_t num = searched_segments(emit) == weighed_segments(emit) ? 1 : 2;
    return keeps_gram(emit, &emit->plan->folds[stage], stage)
               ? num * bm_gram_bytes(bm_equalizer_channels(emit->model, stage), false)
               : 0;
}
