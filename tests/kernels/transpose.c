// transpose: a move, exact but for the rounding of the stored value.
#include "kernels/table.h"

enum { ROWS, COLS };
enum { X, Y };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    kernel_shape(run, X, rows, cols);
    kernel_shape(run, Y, cols, rows);
    kernel_fill(run, X, 1);
    const bm_transpose_scalars scalars = {rows, cols, (uint32_t)run->buffers[X].stride,
                                          (uint32_t)run->buffers[Y].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)(rows + 63) / 64 * ((cols + 63) / 64) * 256, 64);
}

static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    for (uint64_t k = 0; k < (uint64_t)rows * cols; k++)
        out[Y][k % cols * rows + k / cols] = run->buffers[X].values[k];
}

static double operations(const kernel_run *run)
{
    (void)run;
    return 0;
}

const kernel_operation kernel_transpose = {
    .kernel = BM_KERNEL_TRANSPOSE,
    .cases = {{"1", {1, 1}, false},
              {"prime", {7, 13}, false},
              {"tile - 1", {3, 255}, false},
              {"tile", {3, 256}, false},
              {"tile + 1", {3, 257}, false},
              {"long thin", {1031, 3}, false},
              {"whole tiles", {128, 64}, false},
              {"cut tiles", {131, 198}, false},
              {"layer", {64, 2048}, true}},
    .make = make,
    .exact = true,
    .reference = reference,
    .operations = operations,
};
