// dequantize: w[r, c] = (codes[r, c] - zero_point) * step of the column's group.
#include "device/host_kernels.h"

void host_dequantize(const host_call *call)
{
    const bm_dequantize_scalars *a = call->scalars;
    const int8_t *codes = call->buffers[0];
    const float *step = call->buffers[1];
    const int32_t *zero_point = call->buffers[2];
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->cols; c++) {
            const uint64_t at = (uint64_t)r * a->step_stride + c / a->group_size;
            const float code = (float)(codes[(uint64_t)r * a->code_stride + c] - zero_point[at]);
            host_store(call->buffers[3], call->types[3], (uint64_t)r * a->w_stride + c, (double)(code * step[at]));
        }
}
