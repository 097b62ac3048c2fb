// rope: rotates the first rotary_dim elements of every head by the angles of its token's position, in place.
// Source: Su et al., RoFormer, 2021, equation 34.
#include "device/host_kernels.h"

void host_rope(const host_call *call)
{
    const bm_rope_scalars *a = call->scalars;
    const float *cosines = call->buffers[1], *sines = call->buffers[2];
    const uint32_t *positions = call->buffers[3];
    const uint32_t half = a->rotary_dim / 2;
    for (uint32_t t = 0; t < a->tokens; t++)
        for (uint32_t h = 0; h < a->heads; h++)
            for (uint32_t i = 0; i < half; i++) {
                const uint64_t head = (uint64_t)t * a->x_stride + (uint64_t)h * a->head_dim;
                const uint64_t first = head + (a->interleaved ? 2 * i : i),
                               second = a->interleaved ? first + 1 : first + half;
                const uint64_t angle = (uint64_t)positions[t] * a->table_stride + i;
                const double x = host_load(call->buffers[0], call->types[0], first);
                const double other = host_load(call->buffers[0], call->types[0], second);
                const double cosine = cosines[angle], sine = sines[angle];
                host_store(call->buffers[0], call->types[0], first, x * cosine - other * sine);
                host_store(call->buffers[0], call->types[0], second, other * cosine + x * sine);
            }
}
