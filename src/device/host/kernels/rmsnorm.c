// rmsnorm: y[r, c] = weight[c] * x[r, c] / sqrt(mean over c of x[r, c]^2 + epsilon).
// Source: Zhang and Sennrich, Root Mean Square Layer Normalization, 2019, equation 4.
#include "device/host_kernels.h"
#include <math.h>

void host_rmsnorm(const host_call *call)
{
    const bm_rmsnorm_scalars *a = call->scalars;
    for (uint32_t r = 0; r < a->rows; r++) {
        const uint64_t x_row = (uint64_t)r * a->x_stride, y_row = (uint64_t)r * a->y_stride;
        double sum = 0;
        for (uint32_t c = 0; c < a->cols; c++) {
            const double v = host_load(call->buffers[0], call->types[0], x_row + c);
            sum += v * v;
        }
        const double scale = 1.0 / sqrt(sum / a->cols + (double)a->epsilon);
        for (uint32_t c = 0; c < a->cols; c++)
            host_store(call->buffers[2], call->types[2], y_row + c,
                       host_load(call->buffers[1], call->types[1], c) *
                           (host_load(call->buffers[0], call->types[0], x_row + c) * scale));
    }
}
