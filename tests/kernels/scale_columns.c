// scale_columns: one product.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS };
enum { X, FACTORS };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    kernel_shape(run, X, rows, cols);
    kernel_shape(run, FACTORS, 1, cols);
    kernel_fill(run, X, 1);
    kernel_fill(run, FACTORS, 1);
    const bm_scale_columns_scalars scalars = {rows, cols, (uint32_t)run->buffers[X].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * cols / 4, 64);
}

// One rounding; a flushed factor takes its share of the other with it.
static void bound(kernel_run *run)
{
    kernel_matrix *x = &run->buffers[X];
    for (uint64_t k = 0; k < x->rows * x->cols; k++)
        x->bounds[k] = KERNEL_EPSILON * fabs(x->exact[k]) +
                       (2 + fabs(x->values[k]) + fabs(run->buffers[FACTORS].values[k % x->cols])) * KERNEL_FLUSH;
}

static void reference(const kernel_run *run, double *const *out)
{
    for (uint64_t k = 0; k < (uint64_t)run->shape[ROWS] * run->shape[COLS]; k++)
        out[X][k] = run->buffers[X].values[k] * run->buffers[FACTORS].values[k % run->shape[COLS]];
}

static double operations(const kernel_run *run)
{
    return (double)run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_scale_columns = {
    .kernel = BM_KERNEL_SCALE_COLUMNS,
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
