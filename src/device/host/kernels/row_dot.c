// row_dot: sums[r] = {sum over c of x[r, c] y[r, c], 0, 0, 0}; without y, of x[r, c].
#include "device/host_kernels.h"

void host_row_dot(const host_call *call)
{
    const bm_row_dot_scalars *a = call->scalars;
    const float *y = call->buffers[1];
    float *sums = call->buffers[2];
    for (uint32_t r = 0; r < a->rows; r++) {
        double sum = 0;
        for (uint32_t c = 0; c < a->cols; c++)
            sum += host_load(call->buffers[0], call->types[0], (uint64_t)r * a->x_stride + c) *
                   (a->has_y ? (double)y[(uint64_t)r * a->y_stride + c] : 1.0);
        sums[4 * (uint64_t)r] = (float)sum;
        sums[4 * (uint64_t)r + 1] = sums[4 * (uint64_t)r + 2] = sums[4 * (uint64_t)r + 3] = 0;
    }
}
