// gemm_unpack_weights: rows of w out of panels, where element (j, l) lies at (j / COLS * k + l) * COLS + j % COLS.
#include "device/host_kernels.h"

void host_gemm_unpack_weights(const host_call *call)
{
    const bm_gemm_unpack_weights_scalars *a = call->scalars;
    const uint32_t COLS = call->tunables[1];
    for (uint32_t r = 0; r < a->rows; r++) {
        const uint32_t j = a->first_row + r;
        for (uint32_t l = 0; l < a->k; l++)
            host_store(
                call->buffers[1], call->types[1], (uint64_t)r * a->y_stride + l,
                host_load(call->buffers[0], call->types[0], ((uint64_t)(j / COLS) * a->k + l) * COLS + j % COLS));
    }
}
