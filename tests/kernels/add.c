// add: one product and one addition of float32 values. The factor is 1 in half of the cases.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS };

static float factor_of(const kernel_run *run)
{
    return run->shape[COLS] % 2 == 0 ? 1.0f : -0.375f;
}

// In a third of them.
static bool halves(const kernel_run *run)
{
    return run->shape[COLS] % 3 == 0;
}

static double half_of(const kernel_run *run)
{
    return halves(run) ? 0.5 : 1;
}

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    for (uint32_t i = 0; i < 3; i++)
        kernel_shape(run, i, rows, cols);
    kernel_fill(run, 0, 1);
    kernel_fill(run, 1, 1);
    const bm_add_scalars scalars = {rows,
                                    cols,
                                    (uint32_t)run->buffers[0].stride,
                                    (uint32_t)run->buffers[1].stride,
                                    (uint32_t)run->buffers[2].stride,
                                    factor_of(run),
                                    halves(run)};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * cols / 4, 64);
}

// One rounding of the product, one of the sum, none of its half; each denormal operand may be flushed.
static void bound(kernel_run *run)
{
    kernel_matrix *z = &run->buffers[2];
    for (uint64_t k = 0; k < z->rows * z->cols; k++)
        z->bounds[k] =
            KERNEL_EPSILON * (fabs(z->exact[k]) + fabs(factor_of(run) * run->buffers[1].values[k])) + 3 * KERNEL_FLUSH;
}

static void reference(const kernel_run *run, double *const *out)
{
    for (uint64_t k = 0; k < run->buffers[2].rows * run->buffers[2].cols; k++)
        out[2][k] = half_of(run) * (run->buffers[0].values[k] + factor_of(run) * run->buffers[1].values[k]);
}

static double operations(const kernel_run *run)
{
    return (double)run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_add = {
    .kernel = BM_KERNEL_ADD,
    .cases = {{"1", {1, 1}, false},
              {"prime", {7, 13}, false},
              {"tile - 1", {3, 255}, false},
              {"tile", {3, 256}, false},
              {"tile + 1", {3, 257}, false},
              {"long thin", {1031, 3}, false},
              {"layer", {64, 2048}, true}},
    .make = make,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
