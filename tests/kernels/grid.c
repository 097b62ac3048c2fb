// Grids for the descriptions of the kernels of rounding.
#include "kernels/grid.h"

#include <math.h>

uint32_t grid_group_size(const kernel_run *run)
{
    const uint32_t cols = run->shape[GRID_COLS], wanted = run->shape[GRID_GROUP_SIZE];
    return wanted % 4 == 0 && wanted <= cols ? wanted : cols;
}

uint32_t grid_groups(const kernel_run *run)
{
    return (uint32_t)bm_divide_up(run->shape[GRID_COLS], grid_group_size(run));
}

void grid_fill(kernel_run *run, uint32_t step, uint32_t zero_point)
{
    const uint32_t bits = run->shape[GRID_BITS];
    const double range = ldexp(1, (int)bits - 1);
    kernel_shape(run, step, run->shape[GRID_ROWS], grid_groups(run));
    kernel_shape(run, zero_point, run->shape[GRID_ROWS], grid_groups(run));
    run->buffers[zero_point].stride = run->buffers[step].stride; // the kernels take one stride for both
    for (uint64_t k = 0; k < run->buffers[step].rows * run->buffers[step].cols; k++) {
        const double about = 3.0 / range;
        const double value = k % 3 == 0 ? exp2(floor(log2(about))) : about * (0.5 + bm_random_double(&run->random));
        kernel_set(run, step, k, value);
        run->buffers[zero_point].values[k] =
            run->shape[GRID_SYMMETRIC] ? 0 : floor((bm_random_double(&run->random) - 0.5) * range);
    }
}
