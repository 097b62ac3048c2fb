// group_shift: x[r, c] += factor offset of the column's group.
#include "device/host_kernels.h"

void host_group_shift(const host_call *call)
{
    const bm_group_shift_scalars *a = call->scalars;
    float *x = call->buffers[0];
    const float *offset = call->buffers[1];
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->cols; c++)
            x[(uint64_t)r * a->x_stride + c] +=
                a->factor * offset[(uint64_t)r * a->offset_stride + a->first_group + c / a->group_size];
}
