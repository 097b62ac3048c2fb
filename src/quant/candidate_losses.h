// What many candidates for the scales of a stage lose by a Gram matrix: where that is faster all of them roughly, then the best of them
// and the first, whose losses are told and decide, in float32.
#ifndef BM_QUANT_CANDIDATE_LOSSES_H
#define BM_QUANT_CANDIDATE_LOSSES_H

#include "quant/gram_loss.h"

// Where the scales of a candidate come from: [channels], above 0.
typedef struct bm_candidate_source {
    void (*scales)(const void *context, uint32_t candidate, float *out);
    const void *context;
} bm_candidate_source;

// Of the least loss: candidates as near as that are decided in float32. 24 times what losses of models were off by, and four times
// those of a few rows behind fewer tokens than channels, one of which outweighs all others.
#define BM_ROUGH_SHARE 1e-3

#define BM_CANDIDATES_AT_ONCE 8 // as many as make the products of few rows tall

//   losses  [count]  as of bm_gram_losses; of candidates that lose more than BM_ROUGH_SHARE above the least, but for the first, from
//                    float16 where the device has matrix units (gram_rough.h): good to some 1e-5 (4.2e-5 at most, measured)
//
// Errors   those of bm_gram_losses.
bm_status bm_candidate_losses(bm_multiplier *multiplier, const bm_gram_loss_params *params,
                              const bm_candidate_source *source, uint32_t count, double *losses, bm_error *err);

#endif
