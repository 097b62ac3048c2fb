// Losses of the candidates of one move, and memory for them.
#include "quant/equalize/smooth_work.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bm_status bm_smooth_work_init(bm_smooth_work *work, bm_error *err)
{
    const uint32_t channels = work->problem->channels, stride = work->record->stride;
    const uint64_t num_sequences = bm_max_u64(1, work->problem->num_sequences);
    work->num_sets = work->problem->part_a ? 2 : 1;
    work->scales = bm_alloc(work->num_sets, channels * sizeof *work->scales);
    work->whole = work->num_sets > 1 ? bm_alloc(channels, sizeof *work->whole) : work->scales;
    work->members = bm_alloc(channels, sizeof *work->members);
    work->candidates = bm_alloc((uint64_t)work->num_sets * stride, channels * sizeof *work->candidates);
    work->finished = bm_alloc((uint64_t)work->num_sets * stride, channels * sizeof *work->finished);
    work->act_amax = bm_alloc((uint64_t)work->num_sets * stride, sizeof *work->act_amax);
    work->losses = bm_alloc(3 * (uint64_t)stride, sizeof *work->losses);
    work->rest = bm_alloc(num_sequences, sizeof *work->rest);
    work->most = bm_alloc(num_sequences, sizeof *work->most);
    work->packed = bm_alloc(num_sequences, channels * sizeof *work->packed);
    work->packed_scales = bm_alloc(channels, sizeof *work->packed_scales);
    if (!work->scales || !work->whole || !work->members || !work->candidates || !work->finished || !work->act_amax ||
        !work->losses || !work->rest || !work->most || !work->packed || !work->packed_scales)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    return BM_OK;
}

void bm_smooth_work_free(bm_smooth_work *work)
{
    if (work->whole != work->scales)
        bm_free(work->whole);
    bm_free(work->scales);
    bm_free(work->members);
    bm_free(work->candidates);
    bm_free(work->finished);
    bm_free(work->act_amax);
    bm_free(work->losses);
    bm_free(work->rest);
    bm_free(work->most);
    bm_free(work->packed);
    bm_free(work->packed_scales);
}

uint32_t bm_smooth_members(bm_smooth_work *work, const bm_channel_pieces *pieces, uint32_t piece)
{
    uint32_t count = 0;
    for (uint32_t c = 0; c < work->problem->channels; c++)
        if (!pieces || pieces->piece[c] == piece)
            work->members[count++] = c;
    return count;
}

// The largest of magnitudes / scales [count], at least `most`. In lanes, which compilers make vectors of: of wide models this is
// billions of divisions.
static double largest_of(const double *magnitudes, const double *scales, uint32_t count, double most)
{
    enum { LANES = 8 };
    double lanes[LANES] = {0};
    uint32_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (uint32_t l = 0; l < LANES; l++) {
            const double value = magnitudes[i + l] / scales[i + l];
            lanes[l] = value > lanes[l] ? value : lanes[l];
        }
    for (; i < count; i++)
        most = fmax(most, magnitudes[i] / scales[i]);
    for (uint32_t l = 0; l < LANES; l++)
        most = fmax(most, lanes[l]);
    return most;
}

// Sequences first .. end - 1 are those that a set's largest inputs are of: its part is judged by the others.
static void observe_set(bm_smooth_work *work, uint32_t set, uint64_t first, uint64_t end, uint32_t num_members,
                        uint32_t count)
{
    const bm_smooth_problem *problem = work->problem;
    const uint32_t channels = problem->channels, stride = work->record->stride;
    const float *scales = work->scales + (size_t)set * channels;
    // members rise: the channels between them are the rest.
    memset(work->rest, 0, problem->num_sequences * sizeof *work->rest);
    for (uint64_t n = first; n < end; n++)
        for (uint32_t c = 0, next = 0; c < channels; c++) {
            const bool inside = next < num_members && work->members[next] == c;
            next += inside;
            if (!inside)
                work->rest[n] = fmax(work->rest[n], problem->magnitudes[n * channels + c] / (double)scales[c]);
        }
    for (uint64_t n = first; n < end; n++)
        for (uint32_t m = 0; m < num_members; m++)
            work->packed[n * num_members + m] = problem->magnitudes[n * channels + work->members[m]];
    for (uint32_t i = 0; i < count; i++) {
        const float *candidate = work->candidates + ((size_t)set * stride + i) * channels;
        for (uint32_t m = 0; m < num_members; m++)
            work->packed_scales[m] = (double)candidate[work->members[m]];
        for (uint64_t n = first; n < end; n++)
            work->most[n] = largest_of(work->packed + n * num_members, work->packed_scales, num_members, work->rest[n]);
        work->act_amax[set * stride + i] = bm_activation_amax_of(problem->observer, work->most + first, end - first);
    }
}

void bm_smooth_observe(bm_smooth_work *work, uint32_t num_members, uint32_t count)
{
    const uint64_t num = work->problem->num_sequences, split = work->problem->split;
    if (work->num_sets == 1) {
        observe_set(work, 0, 0, num, num_members, count);
        return;
    }
    observe_set(work, 0, split, num, num_members, count);
    observe_set(work, 1, 0, split, num_members, count);
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

// One of losses [count] lies that share below the first.
static bool gains(const double *losses, uint32_t count, double share)
{
    for (uint32_t i = 1; i < count; i++)
        if (losses[i] < losses[0] * (1 - share))
            return true;
    return !isfinite(losses[0]);
}

// losses [count]: over all tokens, whichever set each is judged with.
static bm_status call(bm_smooth_work *work, const float *candidates, uint32_t count, uint32_t share, double *losses,
                      bm_error *err)
{
    const bm_smooth_problem *problem = work->problem;
    const uint32_t stride = work->record->stride;
    double *of_set = work->losses + 2 * (size_t)stride;
    bm_status status = BM_OK;
    work->record->num_evaluated += bm_divide_up(count, share);
    for (uint32_t set = 0; set < work->num_sets; set++) {
        const bm_smooth_batch batch = {.count = count,
                                       .scales = candidates + (size_t)set * stride * problem->channels,
                                       .act_amax = work->act_amax + set * stride,
                                       .token_share = share,
                                       .part = work->num_sets > 1 ? set + 1 : BM_SMOOTH_WHOLE};
        const double weight =
            work->num_sets > 1 ? problem->part_weights[set] / (problem->part_weights[0] + problem->part_weights[1]) : 1;
        for (uint32_t i = 0; i < count; i++)
            of_set[i] = NAN;
        BM_TRY(problem->loss(problem->context, &batch, of_set, err));
        for (uint32_t i = 0; i < count; i++)
            losses[i] = weight * of_set[i] + (set > 0 ? losses[i] : 0);
    }
done:
    return status;
}

bm_status bm_smooth_evaluate(bm_smooth_work *work, uint32_t count, bool may_prune, double *losses, bm_error *err)
{
    const uint32_t channels = work->problem->channels, stride = work->record->stride;
    bm_status status = BM_OK;
    double *finished_losses = work->losses + stride;
    ranked *order = NULL;
    // An eighth of few tokens says nothing.
    if (!may_prune || !work->params->prune || count < 8 || work->problem->tokens < 16 * BM_SMOOTH_PRUNE_SHARE)
        return call(work, work->candidates, count, 1, losses, err);
    order = bm_alloc(count, sizeof *order);
    BM_FAIL_IF(!order, err, BM_E_MEMORY, "out of memory");
    BM_TRY(call(work, work->candidates, count, BM_SMOOTH_PRUNE_SHARE, losses, err));
    if (work->least_gain > 0 && !gains(losses, count, work->least_gain)) {
        losses[0] = work->loss; // what the piece has
        for (uint32_t i = 1; i < count; i++)
            losses[i] = NAN;
        goto done;
    }
    const uint32_t kept = keep_best_quarter(losses, count, order);
    for (uint32_t set = 0; set < work->num_sets; set++)
        for (uint32_t i = 0; i < kept; i++) {
            const size_t from = (size_t)set * stride + order[i].index, to = (size_t)set * stride + i;
            memcpy(work->finished + to * channels, work->candidates + from * channels,
                   channels * sizeof *work->finished);
            work->act_amax[to] = work->act_amax[from];
        }
    BM_TRY(call(work, work->finished, kept, 1, finished_losses, err));
    for (uint32_t i = 0; i < count; i++)
        losses[i] = NAN;
    for (uint32_t i = 0; i < kept; i++)
        losses[order[i].index] = finished_losses[i];
done:
    bm_free(order);
    return status;
}
