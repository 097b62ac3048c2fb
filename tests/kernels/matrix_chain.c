// matrix_chain: the benchmark's limit of matrix units multiplies, as often as it says.
#include "kernels/table.h"

enum { ITEMS, ROUNDS, CHAINS };

static void make(kernel_run *run)
{
    const uint32_t *s = run->shape;
    kernel_shape(run, 0, 1, 4 * (uint64_t)s[ITEMS]);
    const bm_matrix_chain_scalars scalars = {s[ITEMS], s[ROUNDS]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->tunables[0] = 128;
    run->tunables[1] = s[CHAINS];
    run->groups[0] = kernel_groups(s[ITEMS], 128);
}

static void reference(const kernel_run *run, double *const *out)
{
    for (uint64_t i = 0; i < run->buffers[0].cols; i++)
        out[0][i] = run->shape[ROUNDS];
}

const kernel_operation kernel_matrix_chain = {
    .kernel = BM_KERNEL_MATRIX_CHAIN,
    .cases = {{"1", {1, 1, 4}, true}, {"prime", {67, 101, 8}, true}, {"several groups", {300, 1000, 16}, true}},
    .fixed_groups = true,
    .make = make,
    .exact = true,
    .reference = reference,
};
