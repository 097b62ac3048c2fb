// attention_combine: y[t, h] = sum over splits of exp(largest - the largest of all) values / the same of sums.
#include "device/host_kernels.h"
#include <float.h>
#include <math.h>

void host_attention_combine(const host_call *call)
{
    const bm_attention_combine_scalars *a = call->scalars;
    for (uint64_t row = 0; row < (uint64_t)a->tokens * a->heads; row++) {
        const float *parts = (const float *)call->buffers[0] + row * a->splits * a->parts_stride;
        double largest = -FLT_MAX, sum = 0;
        for (uint32_t s = 0; s < a->splits; s++)
            largest = fmax(largest, (double)parts[(uint64_t)s * a->parts_stride + a->head_dim]);
        for (uint32_t s = 0; s < a->splits; s++) {
            const float *part = parts + (uint64_t)s * a->parts_stride;
            sum += exp(part[a->head_dim] - largest) * (double)part[a->head_dim + 1];
        }
        for (uint32_t d = 0; d < a->head_dim; d++) {
            double value = 0;
            for (uint32_t s = 0; s < a->splits; s++) {
                const float *part = parts + (uint64_t)s * a->parts_stride;
                value += exp(part[a->head_dim] - largest) * (double)part[d];
            }
            host_store(call->buffers[1], call->types[1],
                       row / a->heads * a->y_stride + row % a->heads * a->head_dim + d, sum > 0 ? value / sum : 0);
        }
    }
}
