// group_range: smallest and largest element of each group.
#include "kernels/grid.h"
#include "kernels/table.h"

#include <math.h>

enum { W, MINIMUM, MAXIMUM };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[GRID_ROWS], cols = run->shape[GRID_COLS];
    kernel_shape(run, W, rows, cols);
    kernel_shape(run, MINIMUM, rows, grid_groups(run));
    kernel_shape(run, MAXIMUM, rows, grid_groups(run));
    run->buffers[MAXIMUM].stride = run->buffers[MINIMUM].stride;
    kernel_fill(run, W, 1);
    const bm_group_range_scalars scalars = {rows,
                                            cols,
                                            (uint32_t)run->buffers[W].stride,
                                            grid_group_size(run),
                                            grid_groups(run),
                                            (uint32_t)run->buffers[MINIMUM].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * grid_groups(run), 64);
}

static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t cols = run->shape[GRID_COLS], size = grid_group_size(run), groups = grid_groups(run);
    for (uint64_t k = 0; k < run->buffers[MINIMUM].rows * groups; k++) {
        out[MINIMUM][k] = INFINITY;
        out[MAXIMUM][k] = -INFINITY;
    }
    for (uint64_t r = 0; r < run->shape[GRID_ROWS]; r++)
        for (uint32_t c = 0; c < cols; c++) {
            const uint64_t k = r * groups + c / size;
            out[MINIMUM][k] = fmin(out[MINIMUM][k], run->buffers[W].values[r * cols + c]);
            out[MAXIMUM][k] = fmax(out[MAXIMUM][k], run->buffers[W].values[r * cols + c]);
        }
}

static double operations(const kernel_run *run)
{
    return 2.0 * run->shape[GRID_ROWS] * run->shape[GRID_COLS];
}

const kernel_operation kernel_group_range = {
    .kernel = BM_KERNEL_GROUP_RANGE,
    .cases = GRID_CASES,
    .make = make,
    .exact = true,
    .computes = true,
    .reference = reference,
    .operations = operations,
};
