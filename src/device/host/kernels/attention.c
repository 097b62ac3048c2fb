// attention: y[t, h] = sum over keys of softmax(scale q[t, h] . k[key, g] + bias) v[key, g],  g = h / (heads / kv_heads),
// bias = slopes[h] (key - last_key[t]) or 0; with a cap, score = cap tanh(scale q . k / cap) + bias.
// The plain three passes over the keys: largest score, sum of exponentials, weighted values.
#include "device/host_kernels.h"
#include <math.h>

enum { Q, K, V, FIRST, LAST, SLOPES, Y };

static double score(const host_call *call, uint32_t t, uint32_t h, uint32_t key)
{
    const bm_attention_scalars *a = call->scalars;
    const uint64_t q = (uint64_t)t * a->q_stride + (uint64_t)h * a->head_dim;
    const uint64_t k = (uint64_t)key * a->k_stride + (uint64_t)(h / (a->heads / a->kv_heads)) * a->head_dim;
    double sum = 0;
    for (uint32_t d = 0; d < a->head_dim; d++)
        sum += host_load(call->buffers[Q], call->types[Q], q + d) * host_load(call->buffers[K], call->types[K], k + d);
    const double slope = a->has_slopes ? (double)((const float *)call->buffers[SLOPES])[h] : 0;
    const double distance = (double)((const uint32_t *)call->buffers[LAST])[t] - key;
    sum *= (double)a->scale;
    if (a->cap > 0)
        sum = (double)a->cap * tanh(sum / (double)a->cap);
    return sum - slope * distance;
}

void host_attention(const host_call *call)
{
    const bm_attention_scalars *a = call->scalars;
    const uint32_t *first_key = call->buffers[FIRST], *last_key = call->buffers[LAST];
    for (uint32_t t = 0; t < a->tokens; t++) {
        const uint32_t num_keys =
            last_key[t] < first_key[t] || last_key[t] >= 0x80000000u ? 0 : last_key[t] - first_key[t] + 1;
        for (uint32_t h = 0; h < a->heads; h++) {
            const uint64_t v =
                (uint64_t)first_key[t] * a->v_stride + (uint64_t)(h / (a->heads / a->kv_heads)) * a->head_dim;
            double values[256] = {0}; // head_dim is at most 256
            double largest = -INFINITY, sum = 0;
            for (uint32_t i = 0; i < num_keys; i++)
                largest = fmax(largest, score(call, t, h, first_key[t] + i));
            for (uint32_t i = 0; i < num_keys; i++) {
                const double p = exp(score(call, t, h, first_key[t] + i) - largest);
                sum += p;
                for (uint32_t d = 0; d < a->head_dim; d++)
                    values[d] += p * host_load(call->buffers[V], call->types[V], v + (uint64_t)i * a->v_stride + d);
            }
            for (uint32_t d = 0; d < a->head_dim; d++)
                host_store(call->buffers[Y], call->types[Y], (uint64_t)t * a->y_stride + (uint64_t)h * a->head_dim + d,
                           num_keys ? values[d] / sum : 0);
        }
    }
}
