// soft_cap: a quotient, an exponential and what makes a tanh of it.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, CAP };
enum { X, Y };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    kernel_shape(run, X, rows, cols);
    kernel_shape(run, Y, rows, cols);
    kernel_fill(run, X, 2);
    const bm_soft_cap_scalars scalars = {rows, cols, (uint32_t)run->buffers[X].stride, (uint32_t)run->buffers[Y].stride,
                                         (float)run->shape[CAP]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * cols / 4, 64);
}

// With z = 2 |x| / cap, e = exp(-z) is off by z's two roundings and (3 + 2 z) ulp, an ulp being two roundings; (1 - e) / (1 + e)
// moves by at most twice that of e, whose product with z is below 1. Sums, division (2.5 ulp) and product: 10 roundings of at
// most 1.
static void bound(kernel_run *run)
{
    kernel_matrix *y = &run->buffers[Y];
    for (uint64_t k = 0; k < y->rows * y->cols; k++)
        y->bounds[k] = 32 * KERNEL_EPSILON * run->shape[CAP] + 4 * (1 + run->shape[CAP]) * KERNEL_FLUSH;
}

static void reference(const kernel_run *run, double *const *out)
{
    const double cap = run->shape[CAP];
    for (uint64_t k = 0; k < run->buffers[Y].rows * run->buffers[Y].cols; k++)
        out[Y][k] = cap * (1 - 2 / (1 + exp(2 * run->buffers[X].values[k] / cap)));
}

static double operations(const kernel_run *run)
{
    return 8.0 * run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_soft_cap = {
    .kernel = BM_KERNEL_SOFT_CAP,
    .cases = {{"1", {1, 1, 30}, false},
              {"prime", {7, 13, 1}, false},
              {"tile + 1", {3, 257, 2}, false},
              {"long thin", {1031, 3, 30}, false},
              {"layer", {16, 2048, 30}, true}},
    .make = make,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
