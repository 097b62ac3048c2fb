// grid_candidates: difference[f rows + r, c] = w - value of the grid that factor first_factor + f gives the group, for the
// columns of one group; with relative that factor is added to the row's best so far. Grids are those of scale_search.
#include "device/host/quantization.h"
#include "device/host_kernels.h"

#include <math.h>

// The power of two that brings the larger end of a range to 2^10 .. 2^11.
static float host_half_unit(float minimum, float maximum)
{
    const float peak = fmaxf(fabsf(minimum), fabsf(maximum));
    int exponent = -126; // of zeros and what is smaller than normal numbers
    if (peak >= 0x1p-126f)
        (void)frexpf(peak, &exponent); // peak in 2^(exponent - 1) .. 2^exponent
    return ldexpf(1, 11 - exponent > 127 ? 127 : 11 - exponent);
}

void host_grid_candidates(const host_call *call)
{
    const bm_grid_candidates_scalars *a = call->scalars;
    const float *w = call->buffers[0], *minimum = call->buffers[1], *maximum = call->buffers[2];
    const float *factors = call->buffers[3];
    const float *best = call->buffers[4];
    for (uint32_t f = 0; f < a->num_factors; f++)
        for (uint64_t r = 0; r < a->rows; r++) {
            const uint64_t at = r * a->range_stride + a->group;
            const float factor = factors[a->first_factor + f] + (a->relative ? best[4 * r + 1] : 0);
            const host_grid grid =
                host_group_grid(minimum[at], maximum[at], factor, a->bits, a->symmetric != 0, (bm_dtype)a->scale_type);
            const float unit = a->scales ? host_half_unit(minimum[at], maximum[at]) : 1;
            for (uint32_t c = 0; c < a->cols; c++) {
                const float v = w[r * a->w_stride + c];
                const float code = host_code(v, 1.0f / grid.step, grid.zero_point, a->bits);
                host_store(call->buffers[5], call->types[5], ((uint64_t)f * a->rows + r) * a->difference_stride + c,
                           (double)((v - (code - grid.zero_point) * grid.step) * unit));
            }
        }
}
