// row_error: sums[r] = {sum over c of (x[r, c] - y[r, c])^2, of x[r, c]^2, of y[r, c]^2, largest |x[r, c] - y[r, c]|}.
#include "device/host_kernels.h"

#include <math.h>

void host_row_error(const host_call *call)
{
    const bm_row_error_scalars *a = call->scalars;
    float *sums = call->buffers[2];
    for (uint32_t r = 0; r < a->rows; r++) {
        double error = 0, norm = 0, other = 0, most = 0;
        for (uint32_t c = 0; c < a->cols; c++) {
            const double x = host_load(call->buffers[0], call->types[0], (uint64_t)r * a->x_stride + c);
            const double y = host_load(call->buffers[1], call->types[1], (uint64_t)r * a->y_stride + c);
            const double difference = x - y;
            error += difference * difference;
            norm += x * x;
            other += y * y;
            most = fmax(most, fabs(difference));
        }
        sums[4 * (uint64_t)r] = (float)error;
        sums[4 * (uint64_t)r + 1] = (float)norm;
        sums[4 * (uint64_t)r + 2] = (float)other;
        sums[4 * (uint64_t)r + 3] = (float)most;
    }
}
