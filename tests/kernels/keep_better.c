// keep_better: rows are moved or not.
#include "kernels/table.h"

enum { ROWS, COLS };
enum { X, Y, X_ERROR, Y_ERROR };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    kernel_shape(run, X, rows, cols);
    kernel_shape(run, Y, rows, cols);
    kernel_shape(run, X_ERROR, rows, 4);
    kernel_shape(run, Y_ERROR, rows, 4);
    run->buffers[X_ERROR].stride = run->buffers[Y_ERROR].stride = 4;
    kernel_fill(run, X, 1);
    kernel_fill(run, Y, 1);
    for (uint64_t r = 0; r < rows; r++) // every third pair is equal
        for (uint32_t i = X_ERROR; i <= Y_ERROR; i++)
            kernel_set(run, i, 4 * r, r % 3 == 0 ? 1 : bm_random_double(&run->random));
    const bm_keep_better_scalars scalars = {rows, cols, (uint32_t)run->buffers[X].stride,
                                            (uint32_t)run->buffers[Y].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * cols / 4, 64);
}

static void reference(const kernel_run *run, double *const *out)
{
    for (uint64_t k = 0; k < (uint64_t)run->shape[ROWS] * run->shape[COLS]; k++) {
        const uint64_t r = k / run->shape[COLS];
        if (run->buffers[Y_ERROR].values[4 * r] < run->buffers[X_ERROR].values[4 * r])
            out[X][k] = run->buffers[Y].values[k];
    }
}

static double operations(const kernel_run *run)
{
    (void)run;
    return 0;
}

const kernel_operation kernel_keep_better = {
    .kernel = BM_KERNEL_KEEP_BETTER,
    .cases = {{"1", {1, 1}, false},
              {"prime", {7, 13}, false},
              {"tile - 1", {3, 255}, false},
              {"tile", {3, 256}, false},
              {"tile + 1", {3, 257}, false},
              {"long thin", {1031, 3}, false},
              {"layer", {64, 2048}, true}},
    .make = make,
    .exact = true,
    .reference = reference,
    .operations = operations,
};
