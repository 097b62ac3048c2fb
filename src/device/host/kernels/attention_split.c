// attention_split: attention of few tokens, each one's keys cut into parts: sums of every part, for attention_combine.
// The plain three passes over the keys of a part: largest score, sum of exponentials, weighted values.
#include "device/host_kernels.h"
#include <float.h>
#include <math.h>

enum { Q, K, V, FIRST, LAST, SLOPES, PARTS };

static double score(const host_call *call, uint32_t t, uint32_t h, uint32_t key)
{
    const bm_attention_split_scalars *a = call->scalars;
    const uint64_t q = (uint64_t)t * a->q_stride + (uint64_t)h * a->head_dim;
    const uint64_t k = (uint64_t)key * a->k_stride + (uint64_t)(h / (a->heads / a->kv_heads)) * a->head_dim;
    double sum = 0;
    for (uint32_t d = 0; d < a->head_dim; d++)
        sum += host_load(call->buffers[Q], call->types[Q], q + d) * host_load(call->buffers[K], call->types[K], k + d);
    const double slope = a->has_slopes ? (double)((const float *)call->buffers[SLOPES])[h] : 0;
    const double distance = (double)((const uint32_t *)call->buffers[LAST])[t] - key;
    return sum * (double)a->scale - slope * distance;
}

// Keys begin .. end - 1 of a token and head.
static void sum_part(const host_call *call, uint32_t t, uint32_t h, uint32_t begin, uint32_t end, float *part)
{
    const bm_attention_split_scalars *a = call->scalars;
    const uint64_t head = (uint64_t)(h / (a->heads / a->kv_heads)) * a->head_dim;
    double values[256] = {0}; // head_dim is at most 256
    double largest = -FLT_MAX, sum = 0;
    for (uint32_t key = begin; key < end; key++)
        largest = fmax(largest, score(call, t, h, key));
    for (uint32_t key = begin; key < end; key++) {
        const double p = exp(score(call, t, h, key) - largest);
        sum += p;
        for (uint32_t d = 0; d < a->head_dim; d++)
            values[d] += p * host_load(call->buffers[V], call->types[V], (uint64_t)key * a->v_stride + head + d);
    }
    for (uint32_t d = 0; d < a->head_dim; d++)
        part[d] = (float)values[d];
    part[a->head_dim] = (float)largest;
    part[a->head_dim + 1] = (float)sum;
}

void host_attention_split(const host_call *call)
{
    const bm_attention_split_scalars *a = call->scalars;
    const uint32_t *first_key = call->buffers[FIRST], *last_key = call->buffers[LAST];
    float *parts = call->buffers[PARTS];
    for (uint32_t t = 0; t < a->tokens; t++) {
        const uint32_t first = first_key[t];
        const uint64_t count = last_key[t] < first || last_key[t] >= 0x80000000u ? 0 : last_key[t] - first + 1;
        const uint64_t span = (count + a->splits - 1) / a->splits;
        for (uint32_t h = 0; h < a->heads; h++)
            for (uint32_t s = 0; s < a->splits; s++) {
                const uint64_t begin = s * span < count ? s * span : count;
                const uint64_t end = begin + span < count ? begin + span : count;
                sum_part(call, t, h, first + (uint32_t)begin, first + (uint32_t)end,
                         parts + (((uint64_t)t * a->heads + h) * a->splits + s) * a->parts_stride);
            }
    }
}
