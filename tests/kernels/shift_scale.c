// shift_scale: one addition and one product of float32 values, either of which may be left out.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, WITHOUT_SHIFT, WITHOUT_FACTOR };
enum { X, SHIFT, FACTOR, Y };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    kernel_shape(run, X, rows, cols);
    kernel_shape(run, SHIFT, 1, cols);
    kernel_shape(run, FACTOR, 1, cols);
    kernel_shape(run, Y, rows, cols);
    for (uint32_t i = X; i <= FACTOR; i++)
        kernel_fill(run, i, 1);
    run->buffers[SHIFT].absent = run->shape[WITHOUT_SHIFT] != 0;
    run->buffers[FACTOR].absent = run->shape[WITHOUT_FACTOR] != 0;
    const bm_shift_scale_scalars scalars = {rows,
                                            cols,
                                            (uint32_t)run->buffers[X].stride,
                                            (uint32_t)run->buffers[Y].stride,
                                            !run->shape[WITHOUT_SHIFT],
                                            !run->shape[WITHOUT_FACTOR]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * cols / 4, 64);
}

static double shift_of(const kernel_run *run, uint64_t k)
{
    return run->shape[WITHOUT_SHIFT] ? 0 : run->buffers[SHIFT].values[k % run->shape[COLS]];
}
static double factor_of(const kernel_run *run, uint64_t k)
{
    return run->shape[WITHOUT_FACTOR] ? 1 : run->buffers[FACTOR].values[k % run->shape[COLS]];
}

// A rounding each; each denormal operand, sum and product may be flushed, a flushed one of a product takes its share of the
// other with it.
static void bound(kernel_run *run)
{
    kernel_matrix *y = &run->buffers[Y];
    for (uint64_t k = 0; k < y->rows * y->cols; k++) {
        const double sum = fabs(run->buffers[X].values[k]) + fabs(shift_of(run, k));
        y->bounds[k] = 2 * KERNEL_EPSILON * (1 + KERNEL_EPSILON) * fabs(y->exact[k]) +
                       (2 + sum + 3 * fabs(factor_of(run, k))) * KERNEL_FLUSH;
    }
}

static void reference(const kernel_run *run, double *const *out)
{
    for (uint64_t k = 0; k < (uint64_t)run->shape[ROWS] * run->shape[COLS]; k++)
        out[Y][k] = run->buffers[X].values[k] * factor_of(run, k) + shift_of(run, k) * factor_of(run, k);
}

static double operations(const kernel_run *run)
{
    return 2.0 * run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_shift_scale = {
    .kernel = BM_KERNEL_SHIFT_SCALE,
    .cases = {{"1", {1, 1, 0, 0}, false},
              {"prime", {7, 13, 0, 0}, false},
              {"prime, scaled", {7, 13, 1, 0}, false},
              {"prime, shifted", {7, 13, 0, 1}, false},
              {"tile - 1", {3, 255, 0, 0}, false},
              {"tile", {3, 256, 0, 0}, false},
              {"tile + 1", {3, 257, 0, 0}, false},
              {"long thin", {1031, 3, 0, 0}, false},
              {"layer", {64, 2048, 0, 0}, true},
              {"layer, scaled", {64, 2048, 1, 0}, true}},
    .make = make,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
