// gemm_pack_inputs: lays the rows of x out in panels: element (i, l) goes to (i / ROWS * k + l) * ROWS + i % ROWS.
#include "device/host_kernels.h"

void host_gemm_pack_inputs(const host_call *call)
{
    const bm_gemm_pack_inputs_scalars *a = call->scalars;
    const uint32_t ROWS = call->tunables[1];
    float *packed = call->buffers[1];
    for (uint32_t i = 0; i < bm_round_up(a->m, ROWS); i++)
        for (uint32_t l = 0; l < a->k; l++)
            packed[((uint64_t)(i / ROWS) * a->k + l) * ROWS + i % ROWS] =
                i < a->m ? (float)host_load(call->buffers[0], call->types[0], (uint64_t)i * a->x_stride + l) : 0.0f;
}
