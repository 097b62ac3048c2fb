// gemm_codes: y[i, j] = sum over l of x[i, l] * (code[j, l] - zero point) * step, plus bias[j], or y += that.
#include "device/host_kernels.h"

enum { X, WORDS, STEP, ZERO_POINT, BIAS, Y };

void host_gemm_codes(const host_call *call)
{
    const bm_gemm_codes_scalars *a = call->scalars;
    const uint32_t *words = call->buffers[WORDS], bits = call->tunables[2];
    const float *step = call->buffers[STEP];
    const int32_t *zero_point = call->buffers[ZERO_POINT];
    for (uint32_t i = 0; i < a->m; i++)
        for (uint32_t j = 0; j < a->n; j++) {
            const uint64_t at = (uint64_t)i * a->y_stride + j;
            double sum = 0;
            for (uint32_t l = 0; l < a->k; l++) {
                const uint64_t group = (uint64_t)j * a->step_stride + l / a->group_size;
                const uint32_t word = words[(uint64_t)j * a->word_stride + l / (32 / bits)];
                const uint32_t field = word >> l % (32 / bits) * bits & ((1u << bits) - 1);
                const int32_t code = (int32_t)field - (1 << (bits - 1)) - (a->has_zero_point ? zero_point[group] : 0);
                sum += host_load(call->buffers[X], call->types[X], (uint64_t)i * a->x_stride + l) * code *
                       (double)step[group];
            }
            if (a->has_bias)
                sum += host_load(call->buffers[BIAS], call->types[BIAS], j);
            if (a->adds)
                sum += host_load(call->buffers[Y], call->types[Y], at);
            host_store(call->buffers[Y], call->types[Y], at, sum);
        }
}
