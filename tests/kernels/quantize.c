// quantize: codes are equal on every device: bounds are 0.
#include "kernels/grid.h"
#include "kernels/table.h"

#include <math.h>

enum { W, STEP, ZERO_POINT, CODES };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[GRID_ROWS], cols = run->shape[GRID_COLS];
    kernel_shape(run, W, rows, cols);
    kernel_fill(run, W, 1);
    grid_fill(run, STEP, ZERO_POINT);
    kernel_shape(run, CODES, rows, cols);
    const bm_quantize_scalars scalars = {rows,
                                         cols,
                                         (uint32_t)run->buffers[W].stride,
                                         grid_group_size(run),
                                         (uint32_t)run->buffers[STEP].stride,
                                         (uint32_t)run->buffers[CODES].stride,
                                         run->shape[GRID_BITS]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * bm_divide_up(cols, 4), 64);
}

// By division in double: the reciprocal in float32 must not change a code.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t cols = run->shape[GRID_COLS], groups = grid_groups(run);
    const double half = ldexp(1, (int)run->shape[GRID_BITS] - 1);
    for (uint64_t r = 0; r < run->shape[GRID_ROWS]; r++)
        for (uint32_t c = 0; c < cols; c++) {
            const uint64_t k = r * groups + c / grid_group_size(run);
            const double code = rint(run->buffers[W].values[r * cols + c] / run->buffers[STEP].values[k]) +
                                run->buffers[ZERO_POINT].values[k];
            out[CODES][r * cols + c] = fmin(fmax(code, -half), half - 1);
        }
}

static double operations(const kernel_run *run)
{
    return 5.0 * run->shape[GRID_ROWS] * run->shape[GRID_COLS];
}

const kernel_operation kernel_quantize = {
    .kernel = BM_KERNEL_QUANTIZE,
    .cases = GRID_CASES,
    .make = make,
    .exact = true,
    .reference = reference,
    .operations = operations,
};
