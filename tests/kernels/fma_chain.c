// fma_chain: the benchmark's arithmetic limit computes something that can be checked.
#include "kernels/table.h"

#include <math.h>

enum { ITEMS, ROUNDS, QUADS };

static void make(kernel_run *run)
{
    const uint32_t *s = run->shape;
    kernel_shape(run, 0, 1, 4 * (uint64_t)s[ITEMS]);
    const bm_fma_chain_scalars scalars = {s[ITEMS], s[ROUNDS], 0.9999f, 0.001f};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->tunables[1] = s[QUADS];
    run->groups[0] = kernel_groups(s[ITEMS], 64);
}

// A round adds one rounding of a value below largest and multiplies what was there by less than 1; then QUADS sums.
static void bound(kernel_run *run)
{
    const double largest = 4.0 * run->shape[QUADS] + 0.001 * run->shape[ROUNDS];
    for (uint64_t i = 0; i < run->buffers[0].cols; i++)
        run->buffers[0].bounds[i] =
            (run->shape[ROUNDS] + run->shape[QUADS]) * KERNEL_EPSILON * run->shape[QUADS] * largest;
}

// The closed form: v = (v0 - d) f^rounds + d with the fixed point d = summand / (1 - factor).
static void reference(const kernel_run *run, double *const *out)
{
    const double factor = (double)0.9999f, fixed = (double)0.001f / (1 - factor);
    for (uint64_t i = 0; i < run->buffers[0].cols; i++) {
        double sum = 0;
        for (uint32_t q = 0; q < run->shape[QUADS]; q++)
            sum += (4.0 * q + (double)(i % 4) - fixed) * pow(factor, run->shape[ROUNDS]) + fixed;
        out[0][i] = sum;
    }
}

static double operations(const kernel_run *run)
{
    return 8.0 * run->shape[QUADS] * run->shape[ROUNDS] * run->shape[ITEMS];
}

const kernel_operation kernel_fma_chain = {
    .kernel = BM_KERNEL_FMA_CHAIN,
    .cases = {{"1", {1, 1, 4}, true}, {"prime", {67, 101, 8}, true}, {"wide", {64, 1000, 48}, true}},
    .fixed_groups = true,
    .make = make,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
