// copy_column: words are moved as they are.
#include "kernels/table.h"

enum { ROWS, COLS, COLUMN };
enum { X, Y };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    kernel_shape(run, X, rows, 1);
    kernel_shape(run, Y, rows, cols);
    kernel_fill_integers(run, X, 0, 0xffffffff);
    kernel_fill_integers(run, Y, 0, 0xffffffff); // other columns keep this
    const bm_copy_column_scalars scalars = {rows, (uint32_t)run->buffers[X].stride, (uint32_t)run->buffers[Y].stride,
                                            run->shape[COLUMN]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(rows, 64);
}

static void reference(const kernel_run *run, double *const *out)
{
    for (uint64_t r = 0; r < run->shape[ROWS]; r++)
        out[Y][r * run->shape[COLS] + run->shape[COLUMN]] = run->buffers[X].values[r];
}

static double operations(const kernel_run *run)
{
    (void)run;
    return 0;
}

const kernel_operation kernel_copy_column = {
    .kernel = BM_KERNEL_COPY_COLUMN,
    .cases = {{"1", {1, 1, 0}, false},
              {"prime", {13, 7, 6}, false},
              {"tile + 1", {65, 5, 2}, false},
              {"layer", {2048, 32, 31}, true}},
    .make = make,
    .exact = true,
    .reference = reference,
    .operations = operations,
};
