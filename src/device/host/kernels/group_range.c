// group_range: minimum[r, g] and maximum[r, g] of group g of row r.
#include "device/host_kernels.h"
#include <math.h>

void host_group_range(const host_call *call)
{
    const bm_group_range_scalars *a = call->scalars;
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t g = 0; g < a->groups; g++) {
            float low = INFINITY, high = -INFINITY;
            for (uint32_t c = g * a->group_size; c < a->cols && c < (g + 1) * a->group_size; c++) {
                const float v = (float)host_load(call->buffers[0], call->types[0], (uint64_t)r * a->w_stride + c);
                low = fminf(low, v);
                high = fmaxf(high, v);
            }
            ((float *)call->buffers[1])[(uint64_t)r * a->out_stride + g] = low;
            ((float *)call->buffers[2])[(uint64_t)r * a->out_stride + g] = high;
        }
}
