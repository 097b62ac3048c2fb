// dequantize: w[r, c] = (codes[r, c] - zero_point) * step of the column's group.
#include "device/host_kernels.h"

void host_dequantize(const host_call *call)
{
    const bm_dequantize_scalars *a = call->scalars;
    const int8_t *codes = call->buffers[0];
    const float *step = call->buffers[1];
    const int32_t *zero_point = call->buffers[2];
    const uint32_t *group_index = call->buffers[3];
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->cols; c++) {
            const uint32_t group = a->has_group_index ? group_index[c] : c / a->group_size;
            const uint64_t at = (uint64_t)r * a->step_stride + group;
            const float code = (float)(codes[(uint64_t)r * a->code_stride + c] - zero_point[at]);
            host_store(call->buffers[4], call->types[4], (uint64_t)r * a->w_stride + c, (double)(code * step[at]));
        }
}
