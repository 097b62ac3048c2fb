// copy_column: y[r, column] = x[r, 0].
#include "device/host_kernels.h"

void host_copy_column(const host_call *call)
{
    const bm_copy_column_scalars *a = call->scalars;
    for (uint64_t r = 0; r < a->rows; r++)
        ((uint32_t *)call->buffers[1])[r * a->y_stride + a->column] =
            ((const uint32_t *)call->buffers[0])[r * a->x_stride];
}
