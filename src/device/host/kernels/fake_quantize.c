// fake_quantize: y[r, c] = what w[r, c] becomes when it is quantized and dequantized.
#include "device/host/quantization.h"
#include "device/host_kernels.h"

void host_fake_quantize(const host_call *call)
{
    const bm_fake_quantize_scalars *a = call->scalars;
    const float *step = call->buffers[1];
    const int32_t *zero_point = call->buffers[2];
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->cols; c++) {
            const uint64_t at = (uint64_t)r * a->step_stride + c / a->group_size;
            const float zero = (float)zero_point[at];
            const float v = (float)host_load(call->buffers[0], call->types[0], (uint64_t)r * a->w_stride + c);
            const float code = host_code(v, 1.0f / step[at], zero, a->bits);
            host_store(call->buffers[3], call->types[3], (uint64_t)r * a->y_stride + c,
                       (double)((code - zero) * step[at]));
        }
}
