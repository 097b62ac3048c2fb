// group_normalize: magnitudes by the reciprocal of the largest of their group. The reciprocal is correctly rounded everywhere and
// the product rounds once, so results are equal on every device.
#include "kernels/grid.h"
#include "kernels/table.h"

#include <math.h>

enum { W, MINIMUM, MAXIMUM, NORMALIZED };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[GRID_ROWS], cols = run->shape[GRID_COLS], groups = grid_groups(run);
    kernel_shape(run, W, rows, cols);
    kernel_shape(run, MINIMUM, rows, groups);
    kernel_shape(run, MAXIMUM, rows, groups);
    kernel_shape(run, NORMALIZED, rows, cols);
    run->buffers[MAXIMUM].stride = run->buffers[MINIMUM].stride;
    kernel_fill(run, W, 1);
    for (uint64_t k = 0; k < (uint64_t)rows * groups; k++) {
        run->buffers[MINIMUM].values[k] = INFINITY;
        run->buffers[MAXIMUM].values[k] = -INFINITY;
    }
    for (uint64_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < cols; c++) {
            const double value = run->buffers[W].values[r * cols + c];
            double *low = &run->buffers[MINIMUM].values[r * groups + c / grid_group_size(run)];
            double *high = &run->buffers[MAXIMUM].values[r * groups + c / grid_group_size(run)];
            *low = fmin(*low, value);
            *high = fmax(*high, value);
        }
    const bm_group_normalize_scalars scalars = {rows,
                                                cols,
                                                (uint32_t)run->buffers[W].stride,
                                                grid_group_size(run),
                                                (uint32_t)run->buffers[MINIMUM].stride,
                                                (uint32_t)run->buffers[NORMALIZED].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * bm_divide_up(cols, 4), 64);
}

// A quotient of doubles, rounded to float32, is the correctly rounded quotient of the floats; so is their product.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t cols = run->shape[GRID_COLS], size = grid_group_size(run);
    const double *values = run->buffers[W].values;
    for (uint64_t r = 0; r < run->shape[GRID_ROWS]; r++)
        for (uint32_t first = 0; first < cols; first += size) {
            const uint32_t end = (uint32_t)bm_min_u64(cols, (uint64_t)first + size);
            double peak = 0;
            for (uint32_t c = first; c < end; c++)
                peak = fmax(peak, fabs(values[r * cols + c]));
            for (uint32_t c = first; c < end; c++)
                out[NORMALIZED][r * cols + c] =
                    peak < 1e-30 ? 0 : (double)(float)(fabs(values[r * cols + c]) * (double)(float)(1 / peak));
        }
}

static double operations(const kernel_run *run)
{
    return 2.0 * run->shape[GRID_ROWS] * run->shape[GRID_COLS];
}

const kernel_operation kernel_group_normalize = {
    .kernel = BM_KERNEL_GROUP_NORMALIZE,
    .cases = GRID_CASES,
    .make = make,
    .exact = true,
    .computes = true,
    .reference = reference,
    .operations = operations,
};
