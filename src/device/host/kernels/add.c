// add: z[r, c] = x[r, c] + factor y[r, c], with halves half of that.
#include "device/host_kernels.h"

void host_add(const host_call *call)
{
    const bm_add_scalars *a = call->scalars;
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->cols; c++) {
            const double x = host_load(call->buffers[0], call->types[0], (uint64_t)r * a->x_stride + c);
            const double y = host_load(call->buffers[1], call->types[1], (uint64_t)r * a->y_stride + c);
            host_store(call->buffers[2], call->types[2], (uint64_t)r * a->z_stride + c,
                       (a->halves ? 0.5 : 1.0) * (x + (double)a->factor * y));
        }
}
