// matrix_chain: y[i, c] = rounds.
#include "device/host_kernels.h"

void host_matrix_chain(const host_call *call)
{
    const bm_matrix_chain_scalars *a = call->scalars;
    float *y = call->buffers[0];
    for (uint64_t i = 0; i < 4 * (uint64_t)a->items; i++)
        y[i] = (float)a->rounds;
}
