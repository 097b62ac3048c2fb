// soft_cap: y[r, c] = cap tanh(x[r, c] / cap).
#include "device/host_kernels.h"
#include <math.h>

void host_soft_cap(const host_call *call)
{
    const bm_soft_cap_scalars *a = call->scalars;
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->cols; c++) {
            const double x = host_load(call->buffers[0], call->types[0], (uint64_t)r * a->x_stride + c);
            host_store(call->buffers[1], call->types[1], (uint64_t)r * a->y_stride + c,
                       (double)a->cap * tanh(x / (double)a->cap));
        }
}
