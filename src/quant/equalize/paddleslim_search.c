// The piecewise search as PaddleSlim runs it. What a piece finds is added to what was found before, and the sum is not
// cleared between numbers of pieces: for the first number, and each piece of it, channels that nothing was found for
// count as 1; from the second number on candidates are added to the scales that are there, so they only grow. No
// identity, one round, a later candidate wins against an equal one, and a number of pieces is judged by the loss of its
// last piece.
#include "quant/equalize/paddleslim.h"
#include "quant/equalize/smooth_work.h"

#include <math.h>
#include <string.h>

// What a candidate would add at channel c.
static float increment(const bm_smooth_problem *problem, const bm_smooth_candidate *candidate, uint32_t c)
{
    if (candidate->kind == BM_SMOOTH_CONSTANT)
        return (float)candidate->value;
    return bm_paddleslim_smooth_scale(problem->a[c], (double)problem->w[c], candidate->value);
}

// sum [channels]: 0 where nothing was found yet; work->scales are the same with 1 there.
static bm_status add_piece(bm_smooth_work *w, const bm_channel_pieces *pieces, uint32_t piece, float *sum,
                           bm_error *err)
{
    const bm_smooth_problem *problem = w->problem;
    const bm_smooth_grid *grid = &w->record->grid;
    const uint32_t num_members = bm_smooth_members(w, pieces, piece);
    bm_smooth_move move = {
        .num_pieces = pieces->num_pieces, .piece = piece, .chosen = BM_SMOOTH_KEPT, .loss = INFINITY};
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < grid->count; i++) {
        float *scales = w->candidates + (size_t)i * problem->channels;
        memcpy(scales, w->scales, problem->channels * sizeof *scales);
        for (uint32_t m = 0; m < num_members; m++) {
            const uint32_t c = w->members[m];
            scales[c] = sum[c] + increment(problem, &grid->candidates[i], c);
        }
    }
    bm_smooth_observe(w, num_members, grid->count);
    BM_TRY(bm_smooth_evaluate(w, grid->count, false, w->losses, err));
    for (uint32_t i = 0; i < grid->count; i++)
        if (isfinite(w->losses[i]) && w->losses[i] <= move.loss) {
            move.loss = w->losses[i];
            move.chosen = i;
        }
    for (uint32_t m = 0; move.chosen != BM_SMOOTH_KEPT && m < num_members; m++) {
        const uint32_t c = w->members[m];
        sum[c] += increment(problem, &grid->candidates[move.chosen], c);
        w->scales[c] = sum[c];
    }
    w->loss = move.loss;
    BM_TRY(bm_smooth_record_add(w->record, &move, w->losses, grid->count, err));
done:
    return status;
}

bm_status bm_paddleslim_search(bm_smooth_work *w, const bm_channel_pieces *pieces, uint32_t num_partitions, float *best,
                               bm_error *err)
{
    const uint32_t channels = w->problem->channels;
    bm_status status = BM_OK;
    float *sum = bm_alloc_zero(channels, sizeof *sum);
    BM_FAIL_IF(!sum, err, BM_E_MEMORY, "out of memory");
    for (uint32_t c = 0; c < channels; c++)
        w->scales[c] = 1;
    for (uint32_t k = w->params->search_piece ? 1 : num_partitions; k <= num_partitions; k++) {
        for (uint32_t piece = 0; piece < k; piece++)
            BM_TRY(add_piece(w, &pieces[k - 1], piece, sum, err));
        if (w->loss < w->record->loss) {
            w->record->loss = w->loss;
            w->record->chosen_pieces = k;
            memcpy(best, w->scales, channels * sizeof *best);
        }
    }
    w->record->nothing_finite = !isfinite(w->record->loss);
done:
    bm_free(sum);
    return status;
}
