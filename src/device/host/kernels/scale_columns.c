// scale_columns: x[r, c] = x[r, c] factors[c].
#include "device/host_kernels.h"

void host_scale_columns(const host_call *call)
{
    const bm_scale_columns_scalars *a = call->scalars;
    float *x = call->buffers[0];
    const float *factors = call->buffers[1];
    for (uint64_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->cols; c++)
            x[r * a->x_stride + c] *= factors[c];
}
