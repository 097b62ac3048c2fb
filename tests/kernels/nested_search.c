// nested_search: steps, scales and units of 256 columns. Every device must choose the same: bounds are 0.
#include "kernels/table.h"
#include "support/support.h"

#include <math.h>

enum { ROWS, SUPERS, FIRST, BITS, SYMMETRIC, SEARCH, FLAGS }; // FLAGS: 1 weights, 2 by magnitude
enum { W, WEIGHTS, STEP, OFFSET, SCALE, MINIMUM, UNIT, MIN_UNIT };

// Drivers end loops early: a work-item alone has 20,000 rounds for 256 columns, and more where accesses are checked.
static void tune(kernel_run *run)
{
    static const uint32_t groups[] = {32, 16, 1};
    const bool is_short = run->shape[ROWS] * run->shape[SUPERS] <= 2 && !support_is_instrumented();
    run->tunables[0] = groups[run->seed / 1000 % (is_short ? 3 : 2)];
}

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], all = run->shape[FIRST] + run->shape[SUPERS];
    const uint32_t groups = all * (run->shape[SYMMETRIC] ? 16 : 8);
    const bool has_weights = run->shape[FLAGS] & 1;
    kernel_shape(run, W, rows, 256 * (uint64_t)run->shape[SUPERS]);
    kernel_fill(run, W, 0.05);
    kernel_shape(run, WEIGHTS, 1, 256 * (uint64_t)run->shape[SUPERS]);
    for (uint32_t i = STEP; i <= MIN_UNIT; i++)
        kernel_shape(run, i, rows, i < UNIT ? groups : all);
    run->buffers[OFFSET].stride = run->buffers[STEP].stride; // one stride each
    run->buffers[MINIMUM].stride = run->buffers[SCALE].stride;
    run->buffers[MIN_UNIT].stride = run->buffers[UNIT].stride;
    run->buffers[WEIGHTS].absent = !has_weights;
    run->buffers[OFFSET].absent = run->buffers[MINIMUM].absent = run->buffers[MIN_UNIT].absent = run->shape[SYMMETRIC];
    for (uint32_t c = 0; c < run->buffers[WEIGHTS].cols; c++)
        kernel_set(run, WEIGHTS, c, c % 7 == 3 ? 0 : exp(2 * bm_random_normal(&run->random)));
    const bm_nested_search_scalars scalars = {rows,
                                              run->shape[FIRST],
                                              run->shape[SUPERS],
                                              (uint32_t)run->buffers[W].stride,
                                              (uint32_t)run->buffers[STEP].stride,
                                              (uint32_t)run->buffers[SCALE].stride,
                                              (uint32_t)run->buffers[UNIT].stride,
                                              run->shape[BITS],
                                              run->shape[SYMMETRIC],
                                              run->shape[SEARCH],
                                              run->shape[FLAGS] >> 1,
                                              has_weights};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * run->shape[SUPERS], 1);
}

static double operations(const kernel_run *run)
{
    return 1300.0 * 256 * run->shape[ROWS] * run->shape[SUPERS];
}

const kernel_operation kernel_nested_search = {
    .kernel = BM_KERNEL_NESTED_SEARCH,
    .cases = {{"Q4_K", {3, 2, 0, 4, 0, 1, 0}, false},
              {"Q4_K, weighted", {5, 1, 1, 4, 0, 1, 1}, false},
              {"Q5_K, by magnitude", {2, 2, 1, 5, 0, 1, 3}, false},
              {"Q4_K, plain", {2, 1, 0, 4, 0, 0, 0}, false},
              {"Q6_K", {3, 2, 0, 6, 1, 1, 0}, false},
              {"Q6_K, weighted", {2, 1, 2, 6, 1, 1, 3}, false},
              {"Q6_K, plain", {2, 1, 0, 6, 1, 0, 0}, false},
              {"layer", {8, 4, 0, 4, 0, 1, 2}, true}},
    .long_loops = {[7] = true}, // when one work-group walks them
    .make = make,
    .tune = tune,
    .exact = true,
    .computes = true,
    .operations = operations,
};
