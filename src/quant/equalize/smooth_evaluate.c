// Losses of the candidates of one move, and memory for them.
#include "quant/equalize/smooth_work.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bm_status bm_smooth_work_init(bm_smooth_work *work, bm_error *err)
{
    const uint32_t channels = work->problem->channels, stride = work->record->stride;
    const uint64_t num_sequences = bm_max_u64(1, work->problem->num_sequences);
    work->scales = bm_alloc(channels, sizeof *work->scales);
    work->members = bm_alloc(channels, sizeof *work->members);
    work->candidates = bm_alloc(stride, channels * sizeof *work->candidates);
    work->finished = bm_alloc(stride, channels * sizeof *work->finished);
    work->act_amax = bm_alloc(stride, sizeof *work->act_amax);
    work->losses = bm_alloc(2 * (uint64_t)stride, sizeof *work->losses);
    work->rest = bm_alloc(num_sequences, sizeof *work->rest);
    work->most = bm_alloc(num_sequences, sizeof *work->most);
    if (!work->scales || !work->members || !work->candidates || !work->finished || !work->act_amax || !work->losses ||
        !work->rest || !work->most)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    return BM_OK;
}

void bm_smooth_work_free(bm_smooth_work *work)
{
    bm_free(work->scales);
    bm_free(work->members);
    bm_free(work->candidates);
    bm_free(work->finished);
    bm_free(work->act_amax);
    bm_free(work->losses);
    bm_free(work->rest);
    bm_free(work->most);
}

uint32_t bm_smooth_members(bm_smooth_work *work, const bm_channel_pieces *pieces, uint32_t piece)
{
    uint32_t count = 0;
    for (uint32_t c = 0; c < work->problem->channels; c++)
        if (!pieces || pieces->piece[c] == piece)
            work->members[count++] = c;
    return count;
}

// most [num_sequences] rises to the largest of magnitude / scale over the members.
static void raise(const bm_smooth_problem *problem, const uint32_t *members, uint32_t num_members, const float *scales,
                  double *most)
{
    for (uint64_t n = 0; n < problem->num_sequences; n++) {
        const double *magnitudes = problem->magnitudes + n * problem->channels;
        for (uint32_t i = 0; i < num_members; i++)
            most[n] = fmax(most[n], magnitudes[members[i]] / (double)scales[members[i]]);
    }
}

void bm_smooth_observe(bm_smooth_work *work, uint32_t num_members, uint32_t count)
{
    const bm_smooth_problem *problem = work->problem;
    const uint32_t channels = problem->channels;
    const uint64_t num_sequences = problem->num_sequences;
    // members rise: the channels between them are the rest.
    memset(work->rest, 0, num_sequences * sizeof *work->rest);
    for (uint64_t n = 0; n < num_sequences; n++)
        for (uint32_t c = 0, next = 0; c < channels; c++) {
            const bool inside = next < num_members && work->members[next] == c;
            next += inside;
            if (!inside)
                work->rest[n] = fmax(work->rest[n], problem->magnitudes[n * channels + c] / (double)work->scales[c]);
        }
    for (uint32_t i = 0; i < count; i++) {
        memcpy(work->most, work->rest, num_sequences * sizeof *work->most);
        raise(problem, work->members, num_members, work->candidates + (size_t)i * channels, work->most);
        work->act_amax[i] = bm_activation_amax_of(problem->observer, work->most, num_sequences);
    }
}

typedef struct ranked {
    double loss;
    uint32_t index;
} ranked;

static int compare_ranked(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return (x->loss > y->loss) - (x->loss < y->loss) +
           2 * ((x->index > y->index) - (x->index < y->index)) * (x->loss == y->loss);
}

// The best quarter of candidates and the first, which is the identity; indices in their order. Returns their number.
static uint32_t keep_best_quarter(const double *losses, uint32_t count, ranked *order)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        order[i] = (ranked){i == 0 ? -INFINITY : isfinite(losses[i]) ? losses[i] : INFINITY, i};
    qsort(order, count, sizeof *order, compare_ranked);
    kept = 1 + (count + 3) / 4;
    kept = kept < count ? kept : count;
    for (uint32_t i = 0; i < kept; i++)
        order[i].loss = 0; // now by index alone
    qsort(order, kept, sizeof *order, compare_ranked);
    return kept;
}

static bm_status call(bm_smooth_work *work, const bm_smooth_batch *batch, double *losses, bm_error *err)
{
    for (uint32_t i = 0; i < batch->count; i++)
        losses[i] = NAN;
    work->record->num_evaluated += bm_divide_up(batch->count, batch->token_share);
    return work->problem->loss(work->problem->context, batch, losses, err);
}

bm_status bm_smooth_evaluate(bm_smooth_work *work, uint32_t count, bool may_prune, double *losses, bm_error *err)
{
    const uint32_t channels = work->problem->channels;
    bm_status status = BM_OK;
    bm_smooth_batch batch = {count, work->candidates, work->act_amax, 1};
    double *finished_losses = work->losses + work->record->stride;
    ranked *order = NULL;
    // An eighth of few tokens says nothing.
    if (!may_prune || !work->params->prune || count < 8 || work->problem->tokens < 16 * BM_SMOOTH_PRUNE_SHARE)
        return call(work, &batch, losses, err);
    order = bm_alloc(count, sizeof *order);
    BM_FAIL_IF(!order, err, BM_E_MEMORY, "out of memory");
    batch.token_share = BM_SMOOTH_PRUNE_SHARE;
    BM_TRY(call(work, &batch, losses, err));
    const uint32_t kept = keep_best_quarter(losses, count, order);
    for (uint32_t i = 0; i < kept; i++) {
        memcpy(work->finished + (size_t)i * channels, work->candidates + (size_t)order[i].index * channels,
               channels * sizeof *work->finished);
        work->act_amax[i] = work->act_amax[order[i].index];
    }
    batch = (bm_smooth_batch){kept, work->finished, work->act_amax, 1};
    BM_TRY(call(work, &batch, finished_losses, err));
    for (uint32_t i = 0; i < count; i++)
        losses[i] = NAN;
    for (uint32_t i = 0; i < kept; i++)
        losses[order[i].index] = finished_losses[i];
done:
    bm_free(order);
    return status;
}
