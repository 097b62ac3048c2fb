// Inputs of attention, whole and in parts.
#include "kernels/attention.h"

#include <math.h>

void attention_make(kernel_run *run, uint32_t window)
{
    const uint32_t *shape = run->shape;
    const uint64_t q_cols = (uint64_t)shape[HEADS] * shape[HEAD_DIM],
                   kv_cols = (uint64_t)shape[KV_HEADS] * shape[HEAD_DIM];
    kernel_shape(run, Q, shape[TOKENS], q_cols);
    kernel_shape(run, K, shape[KEYS], kv_cols);
    kernel_shape(run, V, shape[KEYS], kv_cols);
    kernel_shape(run, FIRST_KEY, 1, shape[TOKENS]);
    kernel_shape(run, LAST_KEY, 1, shape[TOKENS]);
    kernel_shape(run, SLOPES, 1, shape[HEADS]);
    run->buffers[SLOPES].absent = !shape[HAS_SLOPES];
    kernel_fill(run, Q, run->kind == KERNEL_ONE_HUGE ? 0.1 : 1.5);
    kernel_fill(run, K, run->kind == KERNEL_ONE_HUGE ? 0.1 : 1.5);
    kernel_fill(run, V, 1);
    for (uint32_t h = 0; h < shape[HEADS]; h++) // of ALiBi's kind: of one head steep, of others flat
        run->buffers[SLOPES].values[h] = ldexp(1 + 0.25 * (h % 3), -1 - (int)(3 * h));
    for (uint32_t t = 0; t < shape[TOKENS]; t++) {
        const uint32_t last = t + (shape[KEYS] - shape[TOKENS]);
        double first = 0, end = last;
        if (shape[MASK] == WINDOW)
            first = last >= window ? last - window + 1 : 0;
        else if (shape[MASK] == PACKED)
            first = last - last % 11;
        else if (shape[MASK] == HOLES && t % 3 == 1)
            first = 1, end = 0;
        run->buffers[FIRST_KEY].values[t] = first;
        run->buffers[LAST_KEY].values[t] = end;
    }
    run->tunables[1] = shape[HEAD_DIM];
}

double attention_score(const kernel_run *run, uint32_t t, uint32_t h, uint32_t key, double *size)
{
    const uint32_t *shape = run->shape, dim = shape[HEAD_DIM], group = h / (shape[HEADS] / shape[KV_HEADS]);
    const double scale = (float)(1 / sqrt(dim));
    const double bias =
        shape[HAS_SLOPES] ? run->buffers[SLOPES].values[h] * (key - run->buffers[LAST_KEY].values[t]) : 0;
    double score = bias;
    *size = fabs(bias);
    for (uint32_t d = dim; d-- > 0;) {
        const double product = run->buffers[Q].values[((uint64_t)t * shape[HEADS] + h) * dim + d] *
                               run->buffers[K].values[((uint64_t)key * shape[KV_HEADS] + group) * dim + d];
        score += scale * product;
        *size += scale * fabs(product);
    }
    return score;
}

double attention_value(const kernel_run *run, uint32_t h, uint32_t key, uint32_t d)
{
    const uint32_t *shape = run->shape, group = h / (shape[HEADS] / shape[KV_HEADS]);
    return run->buffers[V].values[((uint64_t)key * shape[KV_HEADS] + group) * shape[HEAD_DIM] + d];
}

double attention_operations(const kernel_run *run)
{
    double keys = 0;
    for (uint32_t t = 0; t < run->shape[TOKENS]; t++)
        keys += fmax(0, run->buffers[LAST_KEY].values[t] - run->buffers[FIRST_KEY].values[t] + 1);
    return 4 * keys * run->shape[HEADS] * run->shape[HEAD_DIM];
}
