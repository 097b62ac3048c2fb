// Choosing a token from logits: greedy, or temperature and nucleus sampling.
// Source: Holtzman et al., The Curious Case of Neural Text Degeneration, 2020 (top-p).
#ifndef BM_INFER_TOKEN_CHOICE_H
#define BM_INFER_TOKEN_CHOICE_H

#include "base/base.h"
#include "base/random.h"

typedef struct bm_sample_params {
    double temperature; // 0: greedy (the largest logit, the smallest id on ties)
    double top_p;       // (0, 1]: the smallest set of most likely tokens whose probability reaches it
    uint64_t seed;
} bm_sample_params;

typedef struct bm_sampler_state {
    bm_sample_params params;
    bm_random random;
    uint32_t *order;       // [vocabulary] scratch
    double *probabilities; // [vocabulary] scratch
    uint32_t vocabulary;
} bm_sampler_state;

bm_status bm_sampler_create(bm_sampler_state *out, const bm_sample_params *params, uint32_t vocabulary, bm_error *err);
void bm_sampler_destroy(bm_sampler_state *sampler);
// logits [vocabulary] finite. The same seed and logits give the same tokens.
uint32_t bm_sampler_choose(bm_sampler_state *sampler, const float *logits);

#endif
