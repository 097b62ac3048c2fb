// join_parts: y = factor product[i, j] x_scale[i] w_scale[j], or y += that.
#include "device/host_kernels.h"

void host_join_parts(const host_call *call)
{
    const bm_join_parts_scalars *a = call->scalars;
    const float *product = call->buffers[0], *x_scale = call->buffers[1], *w_scale = call->buffers[2];
    float *y = call->buffers[3];
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->cols; c++) {
            const double v = (double)product[(uint64_t)r * a->product_stride + c] * (double)x_scale[r] *
                             (double)w_scale[c] * (double)a->factor;
            float *to = &y[(uint64_t)r * a->y_stride + c];
            *to = (float)(a->adds ? (double)*to + v : v);
        }
}
