// grid_candidates: difference[f rows + r, c] = w - value of the grid that factor first_factor + f gives the group, for the
// columns of one group; with relative that factor is added to the row's best so far. Grids are those of scale_search.
#include "device/host/quantization.h"
#include "device/host_kernels.h"

void host_grid_candidates(const host_call *call)
{
    const bm_grid_candidates_scalars *a = call->scalars;
    const float *w = call->buffers[0], *minimum = call->buffers[1], *maximum = call->buffers[2];
    const float *factors = call->buffers[3];
    const float *best = call->buffers[4];
    float *difference = call->buffers[5];
    for (uint32_t f = 0; f < a->num_factors; f++)
        for (uint64_t r = 0; r < a->rows; r++) {
            const uint64_t at = r * a->range_stride + a->group;
            const float factor = factors[a->first_factor + f] + (a->relative ? best[4 * r + 1] : 0);
            const host_grid grid =
                host_group_grid(minimum[at], maximum[at], factor, a->bits, a->symmetric != 0, (bm_dtype)a->scale_type);
            for (uint32_t c = 0; c < a->cols; c++) {
                const float v = w[r * a->w_stride + c];
                const float code = host_code(v, 1.0f / grid.step, grid.zero_point, a->bits);
                difference[((uint64_t)f * a->rows + r) * a->difference_stride + c] =
                    v - (code - grid.zero_point) * grid.step;
            }
        }
}
