// Sampling.
#include "infer/token_choice.h"

#include <math.h>
#include <stdlib.h>

bm_status bm_sampler_create(bm_sampler_state *out, const bm_sample_params *params, uint32_t vocabulary, bm_error *err)
{
    bm_sampler_state s = {.params = *params, .vocabulary = vocabulary};
    if (!(params->temperature >= 0) || !(params->top_p > 0) || params->top_p > 1)
        return bm_fail(err, BM_E_ARGUMENT, "temperature %g and top_p %g, expected at least 0 and within (0, 1]",
                       params->temperature, params->top_p);
    s.order = bm_alloc(vocabulary, sizeof *s.order);
    s.probabilities = bm_alloc(vocabulary, sizeof *s.probabilities);
    if (!s.order || !s.probabilities) {
        bm_sampler_destroy(&s);
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    }
    bm_random_init(&s.random, params->seed, 0);
    *out = s;
    return BM_OK;
}

void bm_sampler_destroy(bm_sampler_state *sampler)
{
    bm_free(sampler->order);
    bm_free(sampler->probabilities);
    *sampler = (bm_sampler_state){0};
}

static uint32_t greedy(const float *logits, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

// A heap of token indices, the most likely on top; the smaller id wins ties.
static bool before(const double *p, uint32_t a, uint32_t b)
{
    return p[a] > p[b] || (p[a] == p[b] && a < b);
}

static void sift_down(const double *p, uint32_t *heap, uint32_t count, uint32_t i)
{
    for (;;) {
        uint32_t top = i;
        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2 && child < count; child++)
            if (before(p, heap[child], heap[top]))
                top = child;
        if (top == i)
            return;
        const uint32_t swap = heap[i];
        heap[i] = heap[top];
        heap[top] = swap;
        i = top;
    }
}

uint32_t bm_sampler_choose(bm_sampler_state *s, const float *logits)
{
    const uint32_t best = greedy(logits, s->vocabulary);
    double sum = 0, reached = 0;
    if (s->params.temperature == 0)
        return best;
    for (uint32_t i = 0; i < s->vocabulary; i++) {
        s->order[i] = i;
        s->probabilities[i] = exp(((double)logits[i] - (double)logits[best]) / s->params.temperature);
        sum += s->probabilities[i];
    }
    for (uint32_t i = s->vocabulary / 2; i > 0; i--)
        sift_down(s->probabilities, s->order, s->vocabulary, i - 1);
    // The nucleus is popped off the heap to the end of the array; its members are few when top_p is below 1.
    uint32_t left = s->vocabulary;
    while (left > 0 && (reached < s->params.top_p * sum || left == s->vocabulary)) {
        const uint32_t top = s->order[0];
        s->order[0] = s->order[--left];
        s->order[left] = top;
        reached += s->probabilities[top];
        sift_down(s->probabilities, s->order, left, 0);
    }
    double draw = bm_random_double(&s->random) * reached;
    for (uint32_t i = s->vocabulary; i > left; i--) {
        draw -= s->probabilities[s->order[i - 1]];
        if (draw < 0)
            return s->order[i - 1];
    }
    return s->order[left];
}
