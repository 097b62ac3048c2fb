// layernorm: y[r, c] = weight[c] * (x[r, c] - mean) / sqrt(variance + epsilon) + bias[c], mean and variance of row r.
// Source: Ba, Kiros and Hinton, Layer Normalization, 2016, equation 4.
#include "device/host_kernels.h"
#include <math.h>

enum { X, WEIGHT, BIAS, Y };

void host_layernorm(const host_call *call)
{
    const bm_layernorm_scalars *a = call->scalars;
    for (uint32_t r = 0; r < a->rows; r++) {
        const uint64_t x_row = (uint64_t)r * a->x_stride, y_row = (uint64_t)r * a->y_stride;
        double sum = 0, squares = 0;
        for (uint32_t c = 0; c < a->cols; c++)
            sum += host_load(call->buffers[X], call->types[X], x_row + c);
        const double mean = sum / a->cols;
        for (uint32_t c = 0; c < a->cols; c++) {
            const double v = host_load(call->buffers[X], call->types[X], x_row + c) - mean;
            squares += v * v;
        }
        const double scale = 1.0 / sqrt(squares / a->cols + (double)a->epsilon);
        for (uint32_t c = 0; c < a->cols; c++)
            host_store(call->buffers[Y], call->types[Y], y_row + c,
                       host_load(call->buffers[WEIGHT], call->types[WEIGHT], c) *
                               ((host_load(call->buffers[X], call->types[X], x_row + c) - mean) * scale) +
                           host_load(call->buffers[BIAS], call->types[BIAS], c));
    }
}
