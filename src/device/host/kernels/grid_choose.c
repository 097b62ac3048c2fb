// grid_choose: of the candidates of kernel grid_candidates each row keeps the one with the least sum over c of
// difference product; the first wins ties. best[r] = {least loss, its factor, 0, 0}: written where first_factor is 0, else
// it holds what came before; with relative all factors here are added to the one that came before. step and zero_point of
// the group are those of the best so far.
#include "device/host/quantization.h"
#include "device/host_kernels.h"

#include <float.h>

void host_grid_choose(const host_call *call)
{
    const bm_grid_choose_scalars *a = call->scalars;
    const float *product = call->buffers[1];
    const float *minimum = call->buffers[2], *maximum = call->buffers[3], *factors = call->buffers[4];
    float *best = call->buffers[5], *step = call->buffers[6];
    int32_t *zero_point = call->buffers[7];
    for (uint64_t r = 0; r < a->rows; r++) {
        const float base = a->relative ? best[4 * r + 1] : 0;
        if (a->first_factor == 0) {
            best[4 * r] = FLT_MAX;
            best[4 * r + 1] = factors[0] + base;
        }
        best[4 * r + 2] = best[4 * r + 3] = 0;
        for (uint32_t f = 0; f < a->num_factors; f++) {
            const uint64_t row = (uint64_t)f * a->rows + r;
            double loss = 0;
            for (uint32_t c = 0; c < a->cols; c++)
                loss += host_load(call->buffers[0], call->types[0], row * a->difference_stride + c) *
                        (double)product[row * a->product_stride + c];
            if ((float)loss < best[4 * r]) {
                best[4 * r] = (float)loss;
                best[4 * r + 1] = factors[a->first_factor + f] + base;
            }
        }
        const uint64_t at = r * a->range_stride + a->group;
        const host_grid grid = host_group_grid(minimum[at], maximum[at], best[4 * r + 1], a->bits, a->symmetric != 0,
                                               (bm_dtype)a->scale_type);
        step[at] = grid.step;
        zero_point[at] = (int32_t)grid.zero_point;
    }
}
