// Problems of the search, for its tests, and the search over their pieces.
#ifndef BM_TESTS_QUANT_EQUALIZE_SMOOTH_PROBLEM_H
#define BM_TESTS_QUANT_EQUALIZE_SMOOTH_PROBLEM_H

#include "quant/equalize/smooth_search.h"
#include "support/unit.h"

// Of channels with these largest inputs and weights, of one sequence that the largest of all are observed of.
static inline bm_smooth_problem make_smooth_problem(uint32_t channels, const double *a, const float *w, uint64_t tokens,
                                                    bm_smooth_loss *loss, void *context)
{
    return (bm_smooth_problem){.channels = channels,
                               .a = a,
                               .w = w,
                               .magnitudes = a,
                               .num_sequences = 1,
                               .observer = BM_ACTIVATION_ABS_MAX,
                               .tokens = tokens,
                               .loss = loss,
                               .context = context};
}

// Observed of other sequences: magnitudes [num_sequences, channels].
static inline void observe(bm_smooth_problem *problem, bm_activation_observer observer, const double *magnitudes,
                           uint64_t num_sequences)
{
    problem->observer = observer;
    problem->magnitudes = magnitudes;
    problem->num_sequences = num_sequences;
}

// Partitions it and searches; what bm_smooth_search returns.
static inline bm_status search_pieces(const bm_smooth_problem *problem, const bm_smooth_search_params *params,
                                      float *scales, bm_smooth_record *record, bm_error *err)
{
    bm_channel_pieces pieces[8];
    uint32_t num_found = 0;
    assert_true(params->k_piece <= 8);
    assert_ok(bm_smooth_partition(problem, params, pieces, &num_found, err), err);
    const bm_status status = bm_smooth_search(problem, params, pieces, num_found, scales, record, err);
    for (uint32_t i = 0; i < num_found; i++)
        bm_channel_pieces_free(&pieces[i]);
    return status;
}

#endif
