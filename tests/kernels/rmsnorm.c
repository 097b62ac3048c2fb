// rmsnorm: a sum of squares, one square root, two products.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    kernel_shape(run, 0, rows, cols);
    kernel_shape(run, 1, 1, cols);
    kernel_shape(run, 2, rows, cols);
    kernel_fill(run, 0, 1);
    kernel_fill(run, 1, 1);
    const bm_rmsnorm_scalars scalars = {rows, cols, (uint32_t)run->buffers[0].stride, (uint32_t)run->buffers[2].stride,
                                        1e-5f};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(rows, 1);
}

// The sum of squares is off by (cols + 1) roundings of its size at most (one a product, cols a chain of positive sums);
// the square root halves that. Division by cols, epsilon, 2.5 ulp each for square root and division (Vulkan's precision
// of 1/sqrt, OpenCL's 3 and 2.5 ulp), and the two products make 12 more.
static void bound(kernel_run *run)
{
    const double relative = ((double)run->shape[COLS] / 2 + 12) * KERNEL_EPSILON;
    kernel_matrix *y = &run->buffers[2];
    for (uint64_t k = 0; k < y->rows * y->cols; k++) {
        const double weight = fabs(run->buffers[1].values[k % y->cols]);
        y->bounds[k] = relative * fabs(y->exact[k]) + KERNEL_FLUSH * (2 + 400 * (1 + weight)); // 1/sqrt(1e-5) is 316
    }
}

// The same with the sum by pairs from the back, and division last.
static void reference(const kernel_run *run, double *const *out)
{
    const kernel_matrix *x = &run->buffers[0];
    for (uint64_t r = 0; r < x->rows; r++) {
        double sum = 0;
        for (uint64_t c = x->cols; c-- > 0;)
            sum = fma(x->values[r * x->cols + c], x->values[r * x->cols + c], sum);
        for (uint64_t c = 0; c < x->cols; c++)
            out[2][r * x->cols + c] =
                run->buffers[1].values[c] * x->values[r * x->cols + c] / sqrt(sum / (double)x->cols + (double)1e-5f);
    }
}

static double operations(const kernel_run *run)
{
    return 4.0 * run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_rmsnorm = {
    .kernel = BM_KERNEL_RMSNORM,
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
