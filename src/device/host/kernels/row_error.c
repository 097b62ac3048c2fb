// row_error: sums[r] = {sum over c of (x[r, c] - y[r, c])^2, sum over c of x[r, c]^2, 0, 0}.
#include "device/host_kernels.h"

void host_row_error(const host_call *call)
{
    const bm_row_error_scalars *a = call->scalars;
    float *sums = call->buffers[2];
    for (uint32_t r = 0; r < a->rows; r++) {
        double error = 0, norm = 0;
        for (uint32_t c = 0; c < a->cols; c++) {
            const double x = host_load(call->buffers[0], call->types[0], (uint64_t)r * a->x_stride + c);
            const double difference = x - host_load(call->buffers[1], call->types[1], (uint64_t)r * a->y_stride + c);
            error += difference * difference;
            norm += x * x;
        }
        sums[4 * (uint64_t)r] = (float)error;
        sums[4 * (uint64_t)r + 1] = (float)norm;
        sums[4 * (uint64_t)r + 2] = sums[4 * (uint64_t)r + 3] = 0;
    }
}
