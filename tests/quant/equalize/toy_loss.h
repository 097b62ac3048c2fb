// Losses that are plain functions of scales, for tests of the search.
#ifndef BM_TESTS_QUANT_EQUALIZE_TOY_LOSS_H
#define BM_TESTS_QUANT_EQUALIZE_TOY_LOSS_H

#include "quant/equalize/close.h"
#include "quant/equalize/smooth_problem.h"

// What a test's loss sees besides scales, and what it remembers.
typedef struct toy {
    const bm_smooth_problem *problem;
    double (*loss)(const struct toy *toy, const float *scales, uint32_t i); // i: of the batch
    const double *target;
    uint32_t num_calls, num_parts; // parts: calls with a share of the tokens
    bool fails;
} toy;

static inline bm_status toy_loss(void *context, const bm_smooth_batch *batch, double *losses, bm_error *err)
{
    toy *t = context;
    const bm_smooth_problem *p = t->problem;
    t->num_calls++;
    t->num_parts += batch->token_share > 1;
    if (t->fails)
        return bm_fail(err, BM_E_DEVICE, "the device is gone");
    for (uint32_t i = 0; i < batch->count; i++) {
        const float *scales = batch->scales + (size_t)i * p->channels;
        // What is told with the scales is what the observer would say of them.
        assert_true(batch->act_amax[i] ==
                    bm_activation_amax(p->observer, p->magnitudes, p->num_sequences, p->channels, scales));
        losses[i] = t->loss(t, scales, i) + (batch->token_share > 1 ? 1e-3 : 0);
    }
    return BM_OK;
}

// Squared distance to a target.
static inline double toy_distance(const toy *t, const float *scales, uint32_t i)
{
    double sum = 0;
    (void)i;
    for (uint32_t c = 0; c < t->problem->channels; c++)
        sum += pow((double)scales[c] - t->target[c], 2);
    return sum;
}

static inline double toy_constant(const toy *t, const float *scales, uint32_t i)
{
    (void)t, (void)scales, (void)i;
    return 5;
}

#endif
