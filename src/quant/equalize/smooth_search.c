// The search itself: pieces in turn, rounds over them, numbers of pieces.
#include "quant/equalize/smooth_search.h"

#include "quant/equalize/better.h"
#include "quant/equalize/smooth_scales.h"
#include "quant/equalize/smooth_work.h"

#include <math.h>
#include <string.h>

void bm_smooth_search_params_init(bm_smooth_search_params *params)
{
    *params = (bm_smooth_search_params){.k_piece = 3, .rounds = 2, .prune = true};
    bm_smooth_grid_params_init(&params->grid);
}

bm_status bm_smooth_partition(const bm_smooth_problem *problem, const bm_smooth_search_params *params,
                              bm_channel_pieces *pieces, uint32_t *num_found, bm_error *err)
{
    const uint32_t channels = problem->channels;
    bm_status status = BM_OK;
    double *logs = NULL, least = INFINITY;
    *num_found = 0;
    if (params->candidates != BM_PIECEWISE_LOG || params->compat_paddleslim)
        return bm_kmeans(problem->a, channels, params->k_piece, pieces, num_found, err);
    logs = bm_alloc(channels, sizeof *logs);
    BM_FAIL_IF(!logs, err, BM_E_MEMORY, "out of memory");
    for (uint32_t c = 0; c < channels; c++)
        least = problem->a[c] > 0 ? fmin(least, problem->a[c]) : least;
    // A channel of zeros goes with the smallest.
    for (uint32_t c = 0; c < channels; c++)
        logs[c] = problem->a[c] > 0 ? log(problem->a[c]) : isfinite(least) ? log(least) : 0;
    BM_TRY(bm_kmeans(logs, channels, params->k_piece, pieces, num_found, err));
done:
    bm_free(logs);
    return status;
}

static void apply(const bm_smooth_work *w, const bm_smooth_candidate *candidate, uint32_t num_members, const double *a,
                  float *scales)
{
    bm_smooth_candidate_apply(candidate, w->members, num_members, a, w->problem->w, w->params->pow2, scales);
}

// Candidates that may change something: a constant for all channels changes no code, since steps follow it. Constants but the first,
// which is the identity, come last.
static uint32_t count_candidates(const bm_smooth_grid *grid, bool all_channels)
{
    uint32_t count = grid->count;
    while (all_channels && count > 1 && grid->candidates[count - 1].kind == BM_SMOOTH_CONSTANT)
        count--;
    return count;
}

// One piece tries all candidates of a grid. *improved: one of them won over what the piece had.
static bm_status move_piece(bm_smooth_work *w, const bm_smooth_grid *grid, const bm_channel_pieces *pieces,
                            bm_smooth_move *move, bool *improved, bm_error *err)
{
    const uint32_t channels = w->problem->channels, num_members = bm_smooth_members(w, pieces, move->piece);
    const uint32_t count = count_candidates(grid, num_members == channels);
    const size_t bytes = channels * sizeof *w->scales;
    const double before = w->loss;
    bm_status status = BM_OK;
    for (uint32_t set = 0; set < w->num_sets; set++)
        for (uint32_t i = 0; i < count; i++) {
            float *scales = w->candidates + ((size_t)set * w->record->stride + i) * channels;
            memcpy(scales, w->scales + (size_t)set * channels, bytes);
            apply(w, &grid->candidates[i], num_members, bm_smooth_set_a(w, set), scales);
        }
    bm_smooth_observe(w, num_members, count);
    BM_TRY(bm_smooth_evaluate(w, count, true, w->losses, err));
    move->chosen = BM_SMOOTH_KEPT;
    for (uint32_t i = 0; i < count; i++)
        if (bm_is_better(w->losses[i], w->loss)) {
            w->loss = w->losses[i];
            move->chosen = i;
        }
    for (uint32_t set = 0; set < w->num_sets && move->chosen != BM_SMOOTH_KEPT; set++)
        memcpy(w->scales + (size_t)set * channels,
               w->candidates + ((size_t)set * w->record->stride + move->chosen) * channels, bytes);
    if (w->num_sets > 1 && move->chosen != BM_SMOOTH_KEPT)
        apply(w, &grid->candidates[move->chosen], num_members, w->problem->a, w->whole);
    // Where no loss was known yet, the identity is what there was.
    *improved = *improved || (move->chosen != BM_SMOOTH_KEPT && (isfinite(before) || move->chosen != 0));
    move->loss = w->loss;
    BM_TRY(bm_smooth_record_add(w->record, move, w->losses, count, err));
done:
    return status;
}

static bm_status search_rounds(bm_smooth_work *w, const bm_channel_pieces *pieces, bm_error *err)
{
    bm_status status = BM_OK;
    bool improved = true;
    // Candidates of the published grid do not depend on what their piece has: where it is alone, a second look sees the same.
    const bool same_again = pieces->num_pieces == 1 && w->params->candidates != BM_PIECEWISE_RELATIVE;
    const uint32_t rounds = same_again ? 1 : w->params->rounds;
    for (uint32_t round = 0; round < rounds && improved; round++) {
        improved = false;
        for (uint32_t i = 0; i < pieces->num_pieces; i++) {
            bm_smooth_move move = {.num_pieces = pieces->num_pieces,
                                   .round = round,
                                   .piece = w->params->falling ? pieces->num_pieces - 1 - i : i};
            BM_TRY(move_piece(w, &w->record->grid, pieces, &move, &improved, err));
        }
    }
done:
    return status;
}

// The first grid over all channels together: from its winner pieces move.
static bm_status search_first(bm_smooth_work *w, bm_error *err)
{
    bm_smooth_move move = {0};
    bool improved = false;
    bm_status status = BM_OK;
    BM_TRY(move_piece(w, &w->record->first_grid, NULL, &move, &improved, err));
    w->record->identity_loss = w->record->losses[0];
done:
    return status;
}

// start [num_sets + 1, channels]: what every number of pieces begins with, the one from all sequences last.
static void copy_scales(const bm_smooth_work *w, bool back, float *start)
{
    const size_t channels = w->problem->channels, sets = w->num_sets;
    memcpy(back ? w->scales : start, back ? start : w->scales, sets * channels * sizeof *start);
    if (sets > 1)
        memcpy(back ? w->whole : start + sets * channels, back ? start + sets * channels : w->whole,
               channels * sizeof *start);
}

static bm_status search_all(bm_smooth_work *w, const bm_channel_pieces *pieces, uint32_t num_partitions, float *best,
                            bm_error *err)
{
    bm_smooth_record *record = w->record;
    const bm_smooth_search_params *params = w->params;
    const uint32_t channels = w->problem->channels;
    // With a margin one piece is what k_piece pieces have to be better than; relative candidates have begun with it.
    const bool from_one = params->search_piece || (params->margin > 0 && !record->first_grid.count);
    const uint32_t fewest = from_one ? 1 : num_partitions;
    bm_status status = BM_OK;
    float *start = bm_alloc((uint64_t)w->num_sets + 1, channels * sizeof *start);
    BM_FAIL_IF(!start, err, BM_E_MEMORY, "out of memory");
    for (uint32_t c = 0; c < w->num_sets * channels; c++)
        w->scales[c] = 1;
    for (uint32_t c = 0; c < channels; c++)
        w->whole[c] = 1;
    w->loss = INFINITY;
    if (record->first_grid.count)
        BM_TRY(search_first(w, err));
    copy_scales(w, false, start);
    memcpy(best, w->whole, channels * sizeof *best);
    const double start_loss = record->loss = w->loss;
    for (uint32_t k = fewest; k <= num_partitions;
         k = params->search_piece || k == num_partitions ? k + 1 : num_partitions) {
        const bool has_fewer = k > fewest || (k > 1 && record->first_grid.count);
        const double asked = has_fewer ? record->loss * (1 - params->margin) : record->loss;
        copy_scales(w, true, start);
        w->loss = start_loss;
        // Pieces that are to halve the loss together gain something each; half of an even share is asked of one.
        w->least_gain = has_fewer && record->first_grid.count ? params->margin / (2 * k) : 0;
        BM_TRY(search_rounds(w, &pieces[k - 1], err));
        if (bm_is_better(w->loss, asked)) {
            record->loss = w->loss;
            record->chosen_pieces = k;
            memcpy(best, w->whole, channels * sizeof *best);
        }
    }
    if (!record->first_grid.count)
        record->identity_loss = record->losses[0];
    record->identity_loss = isfinite(record->identity_loss) ? record->identity_loss : INFINITY;
    record->nothing_finite = !isfinite(record->loss);
done:
    bm_free(start);
    return status;
}

static bm_status make_grids(const bm_smooth_search_params *params, bm_smooth_record *record, bm_error *err)
{
    bm_status status = BM_OK;
    const bool relative = params->candidates == BM_PIECEWISE_RELATIVE;
    if (params->compat_paddleslim)
        BM_TRY(bm_smooth_grid_create_paddleslim(&params->grid, &record->grid, err));
    else if (relative)
        BM_TRY(bm_smooth_grid_create_relative(&params->grid, &record->grid, err));
    else
        BM_TRY(bm_smooth_grid_create_absolute(&params->grid, &record->grid, err));
    if (relative && !params->compat_paddleslim)
        BM_TRY(bm_smooth_grid_create_absolute(&params->grid, &record->first_grid, err));
    record->stride = (uint32_t)bm_max_u64(record->grid.count, record->first_grid.count);
done:
    return status;
}

bm_status bm_smooth_search(const bm_smooth_problem *problem, const bm_smooth_search_params *params,
                           const bm_channel_pieces *pieces, uint32_t num_partitions, float *scales,
                           bm_smooth_record *record, bm_error *err)
{
    bm_status status = BM_OK;
    bm_smooth_work work = {.problem = problem, .params = params, .record = record};
    *record = (bm_smooth_record){.asked_pieces = params->k_piece, .most_pieces = num_partitions};
    record->identity_loss = record->loss = INFINITY;
    BM_FAIL_IF(num_partitions == 0, err, BM_E_ARGUMENT, "piecewise search: expected pieces, found none");
    BM_FAIL_IF(params->rounds == 0, err, BM_E_ARGUMENT, "search_rounds: found 0, expected 1 or more");
    BM_TRY(make_grids(params, record, err));
    for (uint32_t c = 0; c < problem->channels; c++)
        scales[c] = 1;
    record->skipped = problem->tokens < 2;
    if (record->skipped)
        goto done;
    BM_TRY(bm_smooth_work_init(&work, err));
    if (params->compat_paddleslim)
        BM_TRY(bm_paddleslim_search(&work, pieces, num_partitions, scales, err));
    else
        BM_TRY(search_all(&work, pieces, num_partitions, scales, err));
done:
    bm_smooth_work_free(&work);
    return status;
}
