// dequantize: (code - zero_point) * step.
#include "kernels/grid.h"
#include "kernels/table.h"

#include <math.h>

enum { CODES, STEP, ZERO_POINT, GROUP_INDEX, W };

static bool has_index(const kernel_run *run)
{
    return run->shape[GRID_ROWS] % 2 == 1; // half of the cases
}

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[GRID_ROWS], cols = run->shape[GRID_COLS];
    const int64_t half = INT64_C(1) << (run->shape[GRID_BITS] - 1);
    kernel_shape(run, CODES, rows, cols);
    kernel_fill_integers(run, CODES, -half, half - 1);
    grid_fill(run, STEP, ZERO_POINT);
    kernel_shape(run, GROUP_INDEX, 1, cols);
    kernel_fill_integers(run, GROUP_INDEX, 0, grid_groups(run) - 1);
    run->buffers[GROUP_INDEX].absent = !has_index(run);
    kernel_shape(run, W, rows, cols);
    const bm_dequantize_scalars scalars = {rows,
                                           cols,
                                           (uint32_t)run->buffers[CODES].stride,
                                           grid_group_size(run),
                                           (uint32_t)run->buffers[STEP].stride,
                                           (uint32_t)run->buffers[W].stride,
                                           has_index(run)};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * bm_divide_up(cols, 4), 64);
}

// The difference is an exact integer; the product rounds once.
static void bound(kernel_run *run)
{
    for (uint64_t k = 0; k < run->buffers[W].rows * run->buffers[W].cols; k++)
        run->buffers[W].bounds[k] = KERNEL_EPSILON * fabs(run->buffers[W].exact[k]) + KERNEL_FLUSH;
}

static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t cols = run->shape[GRID_COLS], groups = grid_groups(run);
    for (uint64_t r = 0; r < run->shape[GRID_ROWS]; r++)
        for (uint32_t c = 0; c < cols; c++) {
            const uint32_t group =
                has_index(run) ? (uint32_t)run->buffers[GROUP_INDEX].values[c] : c / grid_group_size(run);
            const uint64_t k = r * groups + group;
            out[W][r * cols + c] =
                (double)(float)((run->buffers[CODES].values[r * cols + c] - run->buffers[ZERO_POINT].values[k]) *
                                run->buffers[STEP].values[k]);
        }
}

static double operations(const kernel_run *run)
{
    return 2.0 * run->shape[GRID_ROWS] * run->shape[GRID_COLS];
}

const kernel_operation kernel_dequantize = {
    .kernel = BM_KERNEL_DEQUANTIZE,
    .cases = GRID_CASES,
    .skips_values = {[KERNEL_ZEROS] = true, [KERNEL_ONE_HUGE] = true, [KERNEL_DENORMALS] = true, [KERNEL_TIES] = true},
    .make = make,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
