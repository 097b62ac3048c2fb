// gemm_packed: y[i, j] = sum over l of x[i, l] * w[j, l], times factor, plus bias[j] and the y that was there, where x
// and w lie in panels: element (i, l) of x at (i / ROWS * k + l) * ROWS + i % ROWS, of w likewise with COLS. Elements above the
// diagonal are left out, if so asked.
#include "device/host_kernels.h"

void host_gemm_packed(const host_call *call)
{
    const bm_gemm_packed_scalars *a = call->scalars;
    const uint32_t ROWS = call->tunables[1], COLS = call->tunables[2];
    const float *x = call->buffers[0];
    for (uint32_t i = 0; i < a->m; i++)
        for (uint32_t j = 0; j < a->n; j++) {
            if (a->lower && (int64_t)j > a->diagonal + (int64_t)i)
                continue;
            const uint64_t at = (uint64_t)i * a->y_stride + j;
            const double old = a->adds ? host_load(call->buffers[3], call->types[3], at) : 0.0;
            const double bias = a->has_bias ? host_load(call->buffers[2], call->types[2], j) : 0.0;
            double sum = 0;
            for (uint32_t l = 0; l < a->k; l++)
                sum += (double)x[((uint64_t)(i / ROWS) * a->k + l) * ROWS + i % ROWS] *
                       host_load(call->buffers[1], call->types[1], ((uint64_t)(j / COLS) * a->k + l) * COLS + j % COLS);
            host_store(call->buffers[3], call->types[3], at, old + bias + sum * (double)a->factor);
        }
}
