// quantize: codes[r, c] = clamp(rint(w[r, c] / step) + zero_point) of the column's group.
#include "device/host/quantization.h"
#include "device/host_kernels.h"

void host_quantize(const host_call *call)
{
    const bm_quantize_scalars *a = call->scalars;
    const float *step = call->buffers[1];
    const int32_t *zero_point = call->buffers[2];
    int8_t *codes = call->buffers[3];
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < (a->cols + 3) / 4 * 4; c++) {
            const uint64_t at = (uint64_t)r * a->step_stride + c / 4 * 4 / a->group_size;
            const float v =
                c < a->cols ? (float)host_load(call->buffers[0], call->types[0], (uint64_t)r * a->w_stride + c) : 0;
            const float code = host_code(v, 1.0f / step[at], (float)zero_point[at], a->bits);
            codes[(uint64_t)r * a->code_stride + c] = (int8_t)(c < a->cols ? code : 0);
        }
}
