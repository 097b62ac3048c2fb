// diagonal: y[i] = x[i, i].
#include "device/host_kernels.h"

void host_diagonal(const host_call *call)
{
    const bm_diagonal_scalars *a = call->scalars;
    for (uint32_t i = 0; i < a->rows; i++)
        ((float *)call->buffers[1])[i] = ((const float *)call->buffers[0])[(uint64_t)i * a->x_stride + i];
}
