// scale_search: the step of each group. Every device must choose the same: bounds are 0.
#include "kernels/grid.h"
#include "kernels/table.h"

#include <math.h>

enum { W, MINIMUM, MAXIMUM, FACTORS, WEIGHTS, STEP, ZERO_POINT };
// All factors of the operation for long rows: many rounds for one work-item.
static uint32_t num_factors(const kernel_run *run)
{
    return run->shape[GRID_COLS] > 4096 ? 86 : 19;
}

static bool has_weights(const kernel_run *run)
{
    return run->shape[GRID_COLS] % 2 == 1; // half of the cases
}

// A work-item of _lanes tries 16 factors at once.
static void tune(kernel_run *run)
{
    static const uint32_t groups[][3] = {{32, 16, 8}, [BM_VARIANT_SCALE_SEARCH_LANES] = {1, 2, 4}};
    run->tunables[0] = groups[run->variant][run->seed / 1000 % 3];
}

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[GRID_ROWS], cols = run->shape[GRID_COLS], size = grid_group_size(run),
                   groups = grid_groups(run);
    kernel_shape(run, W, rows, cols);
    kernel_fill(run, W, 1);
    for (uint32_t i = MINIMUM; i <= ZERO_POINT; i++) {
        if (i == FACTORS)
            kernel_shape(run, i, 1, num_factors(run));
        else if (i == WEIGHTS)
            kernel_shape(run, i, 1, cols);
        else
            kernel_shape(run, i, rows, groups);
        if (i != FACTORS && i != WEIGHTS)
            run->buffers[i].stride = run->buffers[MINIMUM].stride;
    }
    run->buffers[WEIGHTS].absent = !has_weights(run);
    for (uint32_t c = 0; c < cols; c++) // where nothing counts, all factors are equal
        kernel_set(run, WEIGHTS, c, c < cols / 4 ? 0 : exp(bm_random_normal(&run->random)));
    for (uint64_t k = 0; k < (uint64_t)rows * groups; k++) {
        run->buffers[MINIMUM].values[k] = INFINITY;
        run->buffers[MAXIMUM].values[k] = -INFINITY;
    }
    for (uint64_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < cols; c++) {
            const double v = run->buffers[W].values[r * cols + c];
            const uint64_t k = r * groups + c / size;
            run->buffers[MINIMUM].values[k] = fmin(run->buffers[MINIMUM].values[k], v);
            run->buffers[MAXIMUM].values[k] = fmax(run->buffers[MAXIMUM].values[k], v);
        }
    for (uint32_t f = 0; f < num_factors(run); f++) { // symmetric grids: every other one negative
        const double factor = f == 0 ? 1 : 1.05 - 0.7 / num_factors(run) * f;
        kernel_set(run, FACTORS, f, run->shape[GRID_SYMMETRIC] && f % 2 == 1 ? -factor : factor);
    }
    const bm_scale_search_scalars scalars = {rows,
                                             cols,
                                             (uint32_t)run->buffers[W].stride,
                                             size,
                                             groups,
                                             (uint32_t)run->buffers[STEP].stride,
                                             num_factors(run),
                                             run->shape[GRID_BITS],
                                             run->shape[GRID_SYMMETRIC],
                                             run->shape[GRID_TYPE],
                                             has_weights(run)};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * groups, 1);
}

static double operations(const kernel_run *run)
{
    return 9.0 * num_factors(run) * run->shape[GRID_ROWS] * run->shape[GRID_COLS];
}

const kernel_operation kernel_scale_search = {
    .kernel = BM_KERNEL_SCALE_SEARCH,
    .cases = GRID_CASES,
    .long_loops = {[7] = true, [8] = true, [9] = true}, // long thin, layer, long row, when one work-group walks them
    .make = make,
    .tune = tune,
    .exact = true,
    .computes = true,
    .operations = operations,
};
