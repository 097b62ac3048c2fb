// gemm_int8_packed: gemm_int8 where x and w lie in panels of floats: element (i, l) of x at (i / ROWS * k + l) * ROWS + i % ROWS,
// of w likewise with COLS.
#include "device/host/quantization.h"
#include "device/host_kernels.h"

void host_gemm_int8_packed(const host_call *call)
{
    const bm_gemm_int8_packed_scalars *a = call->scalars;
    const uint32_t ROWS = call->tunables[1], COLS = call->tunables[2];
    const float *x = call->buffers[0], *w = call->buffers[1];
    for (uint64_t i = 0; i < a->m; i++)
        for (uint32_t first = 0; first < a->n; first += HOST_LOSS_COLS) {
            host_int8_block block = {0};
            for (uint32_t j = first; j < bm_min_u64(first + HOST_LOSS_COLS, a->n); j++)
                for (uint32_t l = 0; l < a->k; l++)
                    block.sums[j - first] += (int32_t)x[(i / ROWS * a->k + l) * ROWS + i % ROWS] *
                                             (int32_t)w[((uint64_t)(j / COLS) * a->k + l) * COLS + j % COLS];
            host_int8_outputs(call, a->n, a->y_stride, a->loss_stride, a->has_bias, a->compares, i, first, &block);
        }
}
