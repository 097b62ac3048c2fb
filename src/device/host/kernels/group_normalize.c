// group_normalize: normalized[r, c] = |w[r, c]| / peak, the largest magnitude of the group of c in row r.
#include "device/host/quantization.h"
#include "device/host_kernels.h"

#include <math.h>

void host_group_normalize(const host_call *call)
{
    const bm_group_normalize_scalars *a = call->scalars;
    const float *minimum = call->buffers[1], *maximum = call->buffers[2];
    float *normalized = call->buffers[3];
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->cols; c++) {
            const uint64_t at = (uint64_t)r * a->range_stride + c / a->group_size;
            const float peak = fmaxf(fabsf(minimum[at]), fabsf(maximum[at]));
            const float inverse = peak < HOST_ZERO_PEAK ? 0.0f : 1.0f / fminf(peak, HOST_LARGEST_PEAK);
            const float v = fabsf((float)host_load(call->buffers[0], call->types[0], (uint64_t)r * a->w_stride + c));
            const float magnitude = v > HOST_LARGEST_PEAK ? HOST_LARGEST_PEAK : v; // fminf would lose NaN
            normalized[(uint64_t)r * a->out_stride + c] = magnitude * inverse;
        }
}
