// transpose: y[c, r] = x[r, c].
#include "device/host_kernels.h"

void host_transpose(const host_call *call)
{
    const bm_transpose_scalars *a = call->scalars;
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->cols; c++)
            host_store(call->buffers[1], call->types[1], (uint64_t)c * a->y_stride + r,
                       host_load(call->buffers[0], call->types[0], (uint64_t)r * a->x_stride + c));
}
