// What the files of the search share.
#ifndef BM_QUANT_EQUALIZE_SMOOTH_WORK_H
#define BM_QUANT_EQUALIZE_SMOOTH_WORK_H

#include "quant/equalize/smooth_search.h"

typedef struct bm_smooth_work {
    const bm_smooth_problem *problem;
    const bm_smooth_search_params *params;
    bm_smooth_record *record;
    uint32_t num_sets; // of scales: one, or one of each half of the sequences where candidates are judged crosswise
    float *scales;     // [num_sets, channels]: the incumbent
    float *whole;      // [channels]: the incumbent from all sequences; scales, where there is one set
    double least_gain; // relative candidates of which none gains so much on a part of the tokens are not finished
    double loss;       // its; INFINITY: not known yet, or not finite
    // Memory for the candidates of one move, count <= record->stride.
    uint32_t *members;     // [channels]
    float *candidates;     // [num_sets, stride, channels]
    float *finished;       // the same: those that a part of the tokens leaves
    double *act_amax;      // [num_sets, stride]
    double *losses;        // [3, stride]
    double *rest, *most;   // [num_sequences]: largest magnitude outside the piece; of all
    double *packed;        // [num_sequences, members]: their magnitudes, one behind the other
    double *packed_scales; // [members]: of a candidate
} bm_smooth_work;

bm_status bm_smooth_work_init(bm_smooth_work *work, bm_error *err); // the first three are set, grids of record too
void bm_smooth_work_free(bm_smooth_work *work);

// Largest inputs [channels] that candidates of a set are made from.
static inline const double *bm_smooth_set_a(const bm_smooth_work *work, uint32_t set)
{
    return work->num_sets > 1 ? work->problem->part_a + (size_t)set * work->problem->channels : work->problem->a;
}

// work->members become the channels of a piece; pieces NULL: all. Returns their number.
uint32_t bm_smooth_members(bm_smooth_work *work, const bm_channel_pieces *pieces, uint32_t piece);
// work->act_amax of work->candidates [num_sets, count], which differ from work->scales at the members alone.
void bm_smooth_observe(bm_smooth_work *work, uint32_t num_members, uint32_t count);
// losses [count] of work->candidates; NaN for those that were pruned. may_prune: what is asked for may be done.
bm_status bm_smooth_evaluate(bm_smooth_work *work, uint32_t count, bool may_prune, double *losses, bm_error *err);
// Appends a move and its losses [count].
bm_status bm_smooth_record_add(bm_smooth_record *record, const bm_smooth_move *move, const double *losses,
                               uint32_t count, bm_error *err);

// bm_smooth_search's way under compat.
bm_status bm_paddleslim_search(bm_smooth_work *work, const bm_channel_pieces *pieces, uint32_t num_partitions,
                               float *best, bm_error *err);

#endif
