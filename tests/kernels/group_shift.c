// group_shift: offsets of groups are added.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, SIZE, FIRST };
enum { X, OFFSET };

static uint32_t num_groups(const kernel_run *run)
{
    return run->shape[FIRST] + (run->shape[COLS] + run->shape[SIZE] - 1) / run->shape[SIZE] + 1;
}

static void make(kernel_run *run)
{
    kernel_shape(run, X, run->shape[ROWS], run->shape[COLS]);
    kernel_shape(run, OFFSET, run->shape[ROWS], num_groups(run));
    kernel_fill(run, X, 1);
    kernel_fill(run, OFFSET, 2);
    const bm_group_shift_scalars scalars = {run->shape[ROWS],
                                            run->shape[COLS],
                                            (uint32_t)run->buffers[X].stride,
                                            (uint32_t)run->buffers[OFFSET].stride,
                                            run->shape[FIRST],
                                            run->shape[SIZE],
                                            -1.0f};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)run->shape[ROWS] * ((run->shape[COLS] + 3) / 4), 64);
}

static void reference(const kernel_run *run, double *const *out)
{
    for (uint64_t r = 0; r < run->shape[ROWS]; r++)
        for (uint64_t c = 0; c < run->shape[COLS]; c++)
            out[X][r * run->shape[COLS] + c] =
                (float)(run->buffers[X].values[r * run->shape[COLS] + c] -
                        run->buffers[OFFSET].values[r * num_groups(run) + run->shape[FIRST] + c / run->shape[SIZE]]);
}

static double operations(const kernel_run *run)
{
    return (double)run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_group_shift = {
    .kernel = BM_KERNEL_GROUP_SHIFT,
    .cases = {{"1", {1, 1, 4, 0}, false},
              {"prime", {7, 13, 4, 1}, false},
              {"tile", {3, 64, 32, 0}, false},
              {"tile + 1", {5, 65, 32, 3}, false},
              {"layer", {48, 1024, 32, 8}, true}},
    .make = make,
    .exact = true,
    .computes = true,
    .reference = reference,
    .operations = operations,
};
