// code_sweep: coordinate descent over the codes of one block of columns. residual = (target - w) H; a column's best value
// with all others held is w + residual / h[c, c]; its rounding replaces it, and the residuals behind it in the block
// follow: residual[j] -= change h[c, j]. Columns with h[c, c] = 0 stay. h is the block on the diagonal of H.
// Source: coordinate descent on the quadratic form of the output error, as in Nair and Suggala, CDQuant, 2024.
#include "device/host/quantization.h"
#include "device/host_kernels.h"

#define MAX_COLS 128

void host_code_sweep(const host_call *call)
{
    const bm_code_sweep_scalars *a = call->scalars;
    float *w = call->buffers[0], *change = call->buffers[5];
    const float *residual = call->buffers[1], *h = call->buffers[2], *step = call->buffers[3];
    const int32_t *zero_point = call->buffers[4];
    for (uint64_t r = 0; r < a->rows; r++) {
        double row[MAX_COLS];
        for (uint32_t c = 0; c < a->cols; c++)
            row[c] = residual[r * a->residual_stride + c];
        for (uint32_t c = 0; c < a->cols; c++) {
            const uint64_t at = r * a->step_stride + (a->first_column + c) / a->group_size;
            const double old = w[r * a->w_stride + c], weight = h[(uint64_t)c * a->h_stride + c];
            double q = old;
            if (weight > 0)
                q = host_nearest(old + row[c] / weight, step[at], zero_point[at], a->bits);
            for (uint32_t j = c + 1; j < a->cols; j++)
                row[j] -= (q - old) * (double)h[(uint64_t)c * a->h_stride + j];
            w[r * a->w_stride + c] = (float)q;
            change[r * a->change_stride + c] = (float)(q - old);
        }
    }
}
