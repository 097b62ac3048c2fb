// shift_scale: y[r, c] = (x[r, c] + shift[c]) factor[c].
#include "device/host_kernels.h"

void host_shift_scale(const host_call *call)
{
    enum { X, SHIFT, FACTOR, Y };
    const bm_shift_scale_scalars *a = call->scalars;
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->cols; c++) {
            const double shift = a->has_shift ? host_load(call->buffers[SHIFT], call->types[SHIFT], c) : 0;
            const double factor = a->has_factor ? host_load(call->buffers[FACTOR], call->types[FACTOR], c) : 1;
            const double x = host_load(call->buffers[X], call->types[X], (uint64_t)r * a->x_stride + c);
            host_store(call->buffers[Y], call->types[Y], (uint64_t)r * a->y_stride + c, (x + shift) * factor);
        }
}
