// layernorm: a mean, a sum of squares of the differences from it, one square root, two products, a sum.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, MEAN };
enum { X, WEIGHT, BIAS, Y };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    kernel_shape(run, X, rows, cols);
    kernel_shape(run, WEIGHT, 1, cols);
    kernel_shape(run, BIAS, 1, cols);
    kernel_shape(run, Y, rows, cols);
    kernel_fill(run, X, 1);
    kernel_fill(run, WEIGHT, 1);
    kernel_fill(run, BIAS, 1);
    for (uint64_t k = 0; k < (uint64_t)rows * cols && run->shape[MEAN]; k++) // small numbers: all types hold the sums
        run->buffers[X].values[k] = run->shape[MEAN] + (double)(k * 7 % 5);
    const bm_layernorm_scalars scalars = {rows, cols, (uint32_t)run->buffers[X].stride,
                                          (uint32_t)run->buffers[Y].stride, 1e-5f};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(rows, 1);
}

// Mean and 1 / sqrt(variance + epsilon) of a row, from its end; *size is the mean of |x|.
static double statistics(const kernel_matrix *x, uint64_t row, double *mean, double *size)
{
    const double *values = x->values + row * x->cols;
    double sum = 0, squares = 0;
    *size = 0;
    for (uint64_t c = x->cols; c-- > 0;) {
        sum += values[c] / (double)x->cols;
        *size += fabs(values[c]) / (double)x->cols;
    }
    for (uint64_t c = x->cols; c-- > 0;)
        squares = fma(values[c] - sum, values[c] - sum, squares);
    *mean = sum;
    return 1 / sqrt(squares / (double)x->cols + (double)1e-5f);
}

// The mean is off by m = (cols + 2) roundings of the mean of |x|; a difference from it by that, a rounding of its own and
// one of the mean's size. Such an error e of every difference d changes their mean square by 2 e mean |d| + e^2 at most, so
// 1 / sqrt by half of that over variance + epsilon (mean |d| is at most its root, s): e s + e^2 s^2 / 2, with s = 1 / root;
// beside it (cols + 1) / 2 roundings as of rmsnorm, and 12 more. Last come a product and a sum.
static void bound(kernel_run *run)
{
    const kernel_matrix *x = &run->buffers[X], *weight = &run->buffers[WEIGHT], *bias = &run->buffers[BIAS];
    kernel_matrix *y = &run->buffers[Y];
    const double roundings = (double)run->shape[COLS] + 2;
    for (uint64_t r = 0; r < y->rows; r++) {
        double mean, size;
        const double scale = statistics(x, r, &mean, &size);
        const double e = KERNEL_EPSILON * (roundings * size + fabs(mean)) + KERNEL_FLUSH * y->cols;
        const double relative = e * scale + e * e * scale * scale / 2 + KERNEL_EPSILON * (roundings / 2 + 16);
        for (uint64_t c = 0; c < y->cols; c++) {
            const double difference = fabs(x->values[r * y->cols + c] - mean), w = fabs(weight->values[c]);
            y->bounds[r * y->cols + c] =
                w * scale * (e + 2 * KERNEL_EPSILON * difference + relative * (difference + e)) +
                2 * KERNEL_EPSILON * (fabs(bias->values[c]) + w * scale * difference) +
                KERNEL_FLUSH * (4 + 400 * (1 + w)); // 1/sqrt(1e-5) is 316
        }
    }
}

static void reference(const kernel_run *run, double *const *out)
{
    const kernel_matrix *x = &run->buffers[X];
    for (uint64_t r = 0; r < x->rows; r++) {
        double mean, size;
        const double scale = statistics(x, r, &mean, &size);
        for (uint64_t c = 0; c < x->cols; c++)
            out[Y][r * x->cols + c] = run->buffers[BIAS].values[c] +
                                      run->buffers[WEIGHT].values[c] * scale * (x->values[r * x->cols + c] - mean);
    }
}

static double operations(const kernel_run *run)
{
    return 8.0 * run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_layernorm = {
    .kernel = BM_KERNEL_LAYERNORM,
    .long_loops = {[5] = true, [7] = true}, // long thin, layer
    .cases = {{"1", {1, 1}, false},
              {"prime", {7, 13}, false},
              {"tile - 1", {3, 255}, false},
              {"tile", {3, 256}, false},
              {"tile + 1", {3, 257}, false},
              {"long thin", {1031, 3}, false},
              {"far from 0", {5, 67, 200}, false}, // where a mean of squares minus the square of the mean cancels
              {"layer", {64, 2048}, true}},
    .make = make,
    .tune = kernel_tune_wide,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
