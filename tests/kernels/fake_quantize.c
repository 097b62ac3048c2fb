// fake_quantize: a code and back; the code is equal on every device, so the result is, up to one product's rounding.
#include "kernels/grid.h"
#include "kernels/table.h"

#include <math.h>

enum { W, STEP, ZERO_POINT, Y };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[GRID_ROWS], cols = run->shape[GRID_COLS];
    kernel_shape(run, W, rows, cols);
    kernel_fill(run, W, 1);
    grid_fill(run, STEP, ZERO_POINT);
    kernel_shape(run, Y, rows, cols);
    const bm_fake_quantize_scalars scalars = {rows,
                                              cols,
                                              (uint32_t)run->buffers[W].stride,
                                              grid_group_size(run),
                                              (uint32_t)run->buffers[STEP].stride,
                                              (uint32_t)run->buffers[Y].stride,
                                              run->shape[GRID_BITS]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * bm_divide_up(cols, 4), 64);
}

static void bound(kernel_run *run)
{
    for (uint64_t k = 0; k < run->buffers[Y].rows * run->buffers[Y].cols; k++)
        run->buffers[Y].bounds[k] = KERNEL_EPSILON * fabs(run->buffers[Y].exact[k]) + KERNEL_FLUSH;
}

static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t cols = run->shape[GRID_COLS], groups = grid_groups(run);
    const double half = ldexp(1, (int)run->shape[GRID_BITS] - 1);
    for (uint64_t r = 0; r < run->shape[GRID_ROWS]; r++)
        for (uint32_t c = 0; c < cols; c++) {
            const uint64_t k = r * groups + c / grid_group_size(run);
            const double step = run->buffers[STEP].values[k], zero = run->buffers[ZERO_POINT].values[k];
            const double code = fmin(fmax(rint(run->buffers[W].values[r * cols + c] / step) + zero, -half), half - 1);
            out[Y][r * cols + c] = (double)(float)((code - zero) * step);
        }
}

static double operations(const kernel_run *run)
{
    return 7.0 * run->shape[GRID_ROWS] * run->shape[GRID_COLS];
}

const kernel_operation kernel_fake_quantize = {
    .kernel = BM_KERNEL_FAKE_QUANTIZE,
    .cases = GRID_CASES,
    .make = make,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
