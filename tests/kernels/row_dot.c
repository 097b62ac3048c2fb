// row_dot: a sum of products.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, WITHOUT_Y };
enum { X, Y, SUMS };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    kernel_shape(run, X, rows, cols);
    kernel_shape(run, Y, rows, cols);
    kernel_shape(run, SUMS, rows, 4);
    run->buffers[SUMS].stride = 4;
    kernel_fill(run, X, 1);
    kernel_fill(run, Y, 1);
    run->buffers[Y].absent = run->shape[WITHOUT_Y];
    for (uint64_t k = 0; k < (uint64_t)rows * cols && run->shape[WITHOUT_Y]; k++)
        kernel_set(run, Y, k, 1);
    const bm_row_dot_scalars scalars = {rows, cols, (uint32_t)run->buffers[X].stride, (uint32_t)run->buffers[Y].stride,
                                        !run->shape[WITHOUT_Y]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(rows, 1);
}

// A product rounds once, and a chain of at most cols sums of the terms' magnitudes follows.
static void bound(kernel_run *run)
{
    const uint32_t cols = run->shape[COLS];
    for (uint64_t r = 0; r < run->shape[ROWS]; r++) {
        double magnitude = 0, lost = 0;
        for (uint64_t k = r * cols; k < (r + 1) * cols; k++) {
            magnitude += fabs(run->buffers[X].values[k] * run->buffers[Y].values[k]);
            lost += 2 + fabs(run->buffers[X].values[k]) + fabs(run->buffers[Y].values[k]);
        }
        run->buffers[SUMS].bounds[4 * r] = (cols + 1.0) * KERNEL_EPSILON * magnitude + lost * KERNEL_FLUSH;
    }
}

static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t cols = run->shape[COLS];
    for (uint64_t r = 0; r < run->shape[ROWS]; r++) {
        double sum = 0;
        for (uint64_t k = (r + 1) * cols; k-- > r * cols;)
            sum = fma(run->buffers[X].values[k], run->buffers[Y].values[k], sum);
        out[SUMS][4 * r] = sum;
        for (uint32_t i = 1; i < 4; i++)
            out[SUMS][4 * r + i] = 0;
    }
}

static double operations(const kernel_run *run)
{
    return 2.0 * run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_row_dot = {
    .kernel = BM_KERNEL_ROW_DOT,
    .cases = {{"1", {1, 1}, false},
              {"prime", {7, 13}, false},
              {"tile - 1", {3, 255}, false},
              {"tile", {3, 256}, false},
              {"tile + 1", {3, 257}, false},
              {"sums of x", {5, 130, 1}, false},
              {"long thin", {1031, 3}, false},
              {"layer", {64, 2048}, true}},
    .make = make,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
