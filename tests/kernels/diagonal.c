// diagonal: moves.
#include "kernels/table.h"

enum { SIZE };
enum { X, Y };

static void make(kernel_run *run)
{
    const uint32_t n = run->shape[SIZE];
    kernel_shape(run, X, n, n);
    kernel_shape(run, Y, 1, n);
    kernel_fill(run, X, 1);
    const bm_diagonal_scalars scalars = {n, (uint32_t)run->buffers[X].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(n, 64);
}

static void reference(const kernel_run *run, double *const *out)
{
    for (uint64_t i = 0; i < run->shape[SIZE]; i++)
        out[Y][i] = run->buffers[X].values[i * run->shape[SIZE] + i];
}

static double operations(const kernel_run *run)
{
    (void)run;
    return 0;
}

const kernel_operation kernel_diagonal = {
    .kernel = BM_KERNEL_DIAGONAL,
    .cases = {{"1", {1}, false},
              {"prime", {13}, false},
              {"tile", {64}, false},
              {"tile + 1", {65}, false},
              {"layer", {500}, true}},
    .make = make,
    .exact = true,
    .reference = reference,
    .operations = operations,
};
