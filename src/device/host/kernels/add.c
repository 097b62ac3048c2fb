// add: z[r, c] = x[r, c] + factor y[r, c].
#include "device/host_kernels.h"

void host_add(const host_call *call)
{
    const bm_add_scalars *a = call->scalars;
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->cols; c++)
            host_store(call->buffers[2], call->types[2], (uint64_t)r * a->z_stride + c,
                       host_load(call->buffers[0], call->types[0], (uint64_t)r * a->x_stride + c) +
                           (double)a->factor *
                               host_load(call->buffers[1], call->types[1], (uint64_t)r * a->y_stride + c));
}
