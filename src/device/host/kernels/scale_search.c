// scale_search: the step of each group whose grid fits its weights best, in the type in which it will be stored.
//
// All arithmetic is float32, four running sums a group, as in the kernels: the choice must be the same on every device.
#include "device/host/quantization.h"
#include "device/host_kernels.h"

#include <math.h>

// Squared error of a group on a grid.
static float grid_error(const host_call *call, uint32_t r, uint32_t first, uint32_t end, float step, float zero)
{
    const bm_scale_search_scalars *a = call->scalars;
    const float reciprocal = host_reciprocal(step);
    float sums[4] = {0};
    for (uint32_t c = first; c < end; c++) {
        const float v = (float)host_load(call->buffers[0], call->types[0], (uint64_t)r * a->w_stride + c);
        const float d = v - (host_code(v, reciprocal, zero, a->bits) - zero) * step;
        sums[c % 4] += d * d;
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

static void search_group(const host_call *call, uint32_t r, uint32_t g)
{
    const bm_scale_search_scalars *a = call->scalars;
    const uint64_t at = (uint64_t)r * a->out_stride + g;
    const uint32_t first = g * a->group_size, end = first + a->group_size < a->cols ? first + a->group_size : a->cols;
    const float half_range = (float)(1u << (a->bits - 1u));
    const float per_code = host_reciprocal(a->symmetric ? half_range - 1.0f : 2.0f * half_range - 1.0f);
    const float low = fminf(((const float *)call->buffers[1])[at], 0.0f), high = fmaxf(((const float *)call->buffers[2])[at], 0.0f);
    const float range = a->symmetric ? fmaxf(-low, high) : high - low;
    const float *factors = call->buffers[3];
    float best_error = INFINITY, best_step = 1.0f, best_zero = a->symmetric ? 0.0f : -half_range;
    for (uint32_t f = 0; range >= 1.0e-30f && f < a->num_factors; f++) {
        const float step = host_stored_step(range * factors[f] * per_code, (bm_dtype)a->scale_type);
        const float offset = rintf(-(low * factors[f]) * host_reciprocal(step));
        const float zero = a->symmetric ? 0.0f : fminf(offset, 2.0f * half_range - 1.0f) - half_range;
        const float error = grid_error(call, r, first, end, step, zero);
        if (error < best_error) {
            best_error = error;
            best_step = step;
            best_zero = zero;
        }
    }
    ((float *)call->buffers[4])[at] = best_step;
    ((int32_t *)call->buffers[5])[at] = (int32_t)best_zero;
}

void host_scale_search(const host_call *call)
{
    const bm_scale_search_scalars *a = call->scalars;
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t g = 0; g < a->groups; g++)
            search_group(call, r, g);
}
