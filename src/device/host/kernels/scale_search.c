// scale_search: the step of each group whose grid fits its weights best, in the type in which it will be stored.
//
// All arithmetic is float32, in the order of the kernels (element c to lane c mod 4, blocks of 256 elements, then the
// blocks, then the lanes): the choice must be the same on every device.
#include "device/host/quantization.h"
#include "device/host_kernels.h"

#include <math.h>

typedef struct group_grid {
    float step, zero_point;
} group_grid;

static group_grid make_grid(const bm_scale_search_scalars *a, float low, float high, float factor)
{
    const bool symmetric = a->symmetric != 0;
    const float step = host_group_step(low, high, factor, a->bits, symmetric, (bm_dtype)a->scale_type);
    return (group_grid){step, host_group_zero_point(low, factor, 1.0f / step, a->bits, symmetric)};
}

// Squared error of columns first .. end - 1 of row r on a grid; w, step and the result in units of 1 / unit.
static float grid_error(const host_call *call, uint32_t r, uint32_t first, uint32_t end, group_grid grid, float unit)
{
    const bm_scale_search_scalars *a = call->scalars;
    const float scaled_step = grid.step * unit, inverse = 1.0f / grid.step;
    float sums[4] = {0};
    for (uint32_t block = first; block < end; block += 256) {
        float part[4] = {0};
        for (uint32_t c = block; c < end && c < block + 256; c++) {
            const float v = (float)host_load(call->buffers[0], call->types[0], (uint64_t)r * a->w_stride + c);
            const float d =
                v * unit - (host_code(v, inverse, grid.zero_point, a->bits) - grid.zero_point) * scaled_step;
            part[c % 4] += d * d;
        }
        for (int k = 0; k < 4; k++)
            sums[k] += part[k];
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

static group_grid search_group(const host_call *call, uint32_t r, uint32_t g, float low, float high)
{
    const bm_scale_search_scalars *a = call->scalars;
    const uint32_t first = g * a->group_size, end = first + a->group_size < a->cols ? first + a->group_size : a->cols;
    const float *factors = call->buffers[3], peak = fmaxf(-low, high);
    if (peak < HOST_ZERO_PEAK)
        return (group_grid){host_zero_step((bm_dtype)a->scale_type), 0.0f};
    group_grid best = make_grid(a, low, high, factors[0]);
    if (a->num_factors == 1)
        return best;
    const float unit = host_range_unit(peak);
    float least = grid_error(call, r, first, end, best, unit);
    for (uint32_t f = 1; f < a->num_factors; f++) {
        const group_grid candidate = make_grid(a, low, high, factors[f]);
        const float error = grid_error(call, r, first, end, candidate, unit);
        if (error < least) {
            least = error;
            best = candidate;
        }
    }
    return best;
}

void host_scale_search(const host_call *call)
{
    const bm_scale_search_scalars *a = call->scalars;
    const float *minimum = call->buffers[1], *maximum = call->buffers[2];
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t g = 0; g < a->groups; g++) {
            const uint64_t at = (uint64_t)r * a->out_stride + g;
            const group_grid found =
                search_group(call, r, g, host_range_low(minimum[at]), host_range_high(maximum[at]));
            ((float *)call->buffers[4])[at] = found.step;
            ((int32_t *)call->buffers[5])[at] = (int32_t)found.zero_point;
        }
}
