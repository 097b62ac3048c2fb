// row_error: three sums of squares and a largest magnitude.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS };
enum { X, Y, SUMS };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    kernel_shape(run, X, rows, cols);
    kernel_shape(run, Y, rows, cols);
    kernel_shape(run, SUMS, rows, 4);
    run->buffers[SUMS].stride = 4;
    kernel_fill(run, X, 1);
    for (uint64_t k = 0; k < (uint64_t)rows * cols; k++) // y is near x, as a quantized x is
        kernel_set(run, Y, k, run->buffers[X].values[k] * (1 + 0.1 * bm_random_normal(&run->random)));
    const bm_row_error_scalars scalars = {rows, cols, (uint32_t)run->buffers[X].stride,
                                          (uint32_t)run->buffers[Y].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(rows, 1);
}

// The difference rounds once, its square doubles that and rounds again, a chain of at most cols sums of positive terms.
static void bound(kernel_run *run)
{
    for (uint64_t k = 0; k < run->buffers[SUMS].rows * 4; k++)
        run->buffers[SUMS].bounds[k] = (run->shape[COLS] + 3.0) * KERNEL_EPSILON * run->buffers[SUMS].exact[k] +
                                       run->shape[COLS] * 4 * KERNEL_FLUSH;
}

static void reference(const kernel_run *run, double *const *out)
{
    const kernel_matrix *x = &run->buffers[X], *y = &run->buffers[Y];
    for (uint64_t r = 0; r < x->rows; r++) {
        double error = 0, norm = 0, other = 0, most = 0;
        for (uint64_t c = x->cols; c-- > 0;) {
            error = fma(x->values[r * x->cols + c] - y->values[r * x->cols + c],
                        x->values[r * x->cols + c] - y->values[r * x->cols + c], error);
            norm = fma(x->values[r * x->cols + c], x->values[r * x->cols + c], norm);
            other = fma(y->values[r * x->cols + c], y->values[r * x->cols + c], other);
            most = fmax(most, fabs(x->values[r * x->cols + c] - y->values[r * x->cols + c]));
        }
        const double sums[4] = {error, norm, other, most};
        for (uint32_t i = 0; i < 4; i++)
            out[SUMS][4 * r + i] = sums[i];
    }
}

static double operations(const kernel_run *run)
{
    return 8.0 * run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_row_error = {
    .kernel = BM_KERNEL_ROW_ERROR,
    .cases = {{"1", {1, 1}, false},
              {"prime", {7, 13}, false},
              {"tile - 1", {3, 255}, false},
              {"tile", {3, 256}, false},
              {"tile + 1", {3, 257}, false},
              {"long thin", {1031, 3}, false},
              {"three quads behind 16", {5, 27}, false},
              {"two quads behind 16", {9, 38}, false},
              {"layer", {64, 2048}, true}},
    .make = make,
    .tune = kernel_tune_wide,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
