// scale_search: the step of each group whose grid fits its weights best, in the type in which it will be stored.
//
// All arithmetic is float32, in the order of the kernels (element c to lane c mod 4, blocks of 256 elements, then the
// blocks, then the lanes): the choice must be the same on every device.
#include "device/host/quantization.h"
#include "device/host_kernels.h"

#include <math.h>

// Squared error of columns first .. end - 1 of row r on a grid, each times its column's weight if there are weights; w, step
// and the result in units of 1 / unit.
static float grid_error(const host_call *call, uint32_t r, uint32_t first, uint32_t end, host_grid grid, float unit)
{
    const bm_scale_search_scalars *a = call->scalars;
    const float *weights = call->buffers[4];
    const float scaled_step = grid.step * unit, inverse = 1.0f / grid.step;
    float sums[4] = {0};
    for (uint32_t block = first; block < end; block += 256) {
        float part[4] = {0};
        for (uint32_t c = block; c < end && c < block + 256; c++) {
            const float v = (float)host_load(call->buffers[0], call->types[0], (uint64_t)r * a->w_stride + c);
            const float d =
                v * unit - (host_code(v, inverse, grid.zero_point, a->bits) - grid.zero_point) * scaled_step;
            part[c % 4] += a->has_weights ? d * d * weights[c] : d * d;
        }
        for (int k = 0; k < 4; k++)
            sums[k] += part[k];
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

static host_grid search_group(const host_call *call, uint32_t r, uint32_t g, float minimum, float maximum)
{
    const bm_scale_search_scalars *a = call->scalars;
    const uint32_t first = g * a->group_size, end = first + a->group_size < a->cols ? first + a->group_size : a->cols;
    const bool symmetric = a->symmetric != 0;
    const bm_dtype type = (bm_dtype)a->scale_type;
    const float *factors = call->buffers[3];
    const float peak = fmaxf(-host_range_low(minimum), host_range_high(maximum));
    host_grid best = host_group_grid(minimum, maximum, factors[0], a->bits, symmetric, type);
    if (peak < HOST_ZERO_PEAK || a->num_factors == 1)
        return best;
    const float unit = host_range_unit(peak);
    float least = grid_error(call, r, first, end, best, unit);
    for (uint32_t f = 1; f < a->num_factors; f++) {
        const host_grid candidate = host_group_grid(minimum, maximum, factors[f], a->bits, symmetric, type);
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
            const host_grid found = search_group(call, r, g, minimum[at], maximum[at]);
            ((float *)call->buffers[5])[at] = found.step;
            ((int32_t *)call->buffers[6])[at] = (int32_t)found.zero_point;
        }
}
