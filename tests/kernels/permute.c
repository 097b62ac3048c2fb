// permute: moves, and one addition on the diagonal.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, SIZE, MODE, FIRST }; // MODE: bit 0 row order, 1 column order, 2 diagonal, 3 lower
enum { X, ROW_ORDER, COL_ORDER, DIAGONAL, Y };

static bool has(const kernel_run *run, uint32_t bit)
{
    return run->shape[MODE] >> bit & 1;
}

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS], size = run->shape[SIZE];
    const uint32_t x_rows = size ? size : rows, x_cols = size ? size : cols;
    kernel_shape(run, X, x_rows, x_cols);
    kernel_shape(run, ROW_ORDER, 1, rows);
    kernel_shape(run, COL_ORDER, 1, cols);
    kernel_shape(run, DIAGONAL, 1, x_rows);
    kernel_shape(run, Y, rows, cols);
    kernel_fill(run, X, 1);
    kernel_fill(run, DIAGONAL, 1);
    kernel_fill_integers(run, ROW_ORDER, 0, x_rows - 1);
    kernel_fill_integers(run, COL_ORDER, 0, x_cols - 1);
    for (uint32_t i = ROW_ORDER; i <= DIAGONAL; i++)
        run->buffers[i].absent = !has(run, i - ROW_ORDER);
    const bm_permute_scalars scalars = {rows,
                                        run->shape[FIRST],
                                        cols,
                                        (uint32_t)run->buffers[X].stride,
                                        (uint32_t)run->buffers[Y].stride,
                                        has(run, 0),
                                        has(run, 1),
                                        has(run, 2),
                                        has(run, 3)};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * cols / 4, 64);
}

// One addition, of which both terms may be flushed.
static void bound(kernel_run *run)
{
    kernel_matrix *y = &run->buffers[Y];
    for (uint64_t k = 0; k < y->rows * y->cols; k++)
        y->bounds[k] = has(run, 2) ? KERNEL_EPSILON * fabs(y->exact[k]) + 2 * KERNEL_FLUSH : 0;
}

static void reference(const kernel_run *run, double *const *out)
{
    const kernel_matrix *x = &run->buffers[X], *y = &run->buffers[Y];
    for (uint64_t k = 0; k < y->rows * y->cols; k++) {
        uint64_t r = k / y->cols, c = k % y->cols;
        r = has(run, 0) ? (uint64_t)run->buffers[ROW_ORDER].values[r] : run->shape[FIRST] + r;
        c = has(run, 1) ? (uint64_t)run->buffers[COL_ORDER].values[c] : c;
        const double added = has(run, 2) && r == c ? run->buffers[DIAGONAL].values[r] : 0;
        out[Y][k] = x->values[has(run, 3) && c > r ? c * x->cols + r : r * x->cols + c] + added;
    }
}

static double operations(const kernel_run *run)
{
    (void)run;
    return 0;
}

const kernel_operation kernel_permute = {
    .kernel = BM_KERNEL_PERMUTE,
    .cases = {{"1", {1, 1, 1, 15}, false},
              {"prime", {7, 13, 0, 0}, false},
              {"rows", {17, 5, 0, 1}, false},
              {"columns", {5, 17, 0, 2}, false},
              {"square", {63, 65, 70, 7}, false},
              {"lower", {33, 33, 33, 8}, false},
              {"rows behind the first", {17, 33, 33, 12, 16}, false},
              {"all", {101, 99, 120, 15}, false},
              {"layer", {512, 512, 512, 15}, true}},
    .long_loops = {[8] = true}, // layer, when one work-group walks it
    .make = make,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
