// grid_choose: the least of a few sums. Values are multiples of 1/8, small enough that every sum is exact: no bound.
#include "device/host/quantization.h"
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, GROUPS, CHOSEN, BITS, SYMMETRIC, TYPE, FIRST, RELATIVE, FACTOR_COUNT };
enum { DIFFERENCE, PRODUCT, MINIMUM, MAXIMUM, FACTORS, BEST, STEP, ZERO_POINT };

static uint32_t num_factors(const kernel_run *run)
{
    return run->shape[FACTOR_COUNT];
}

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS], groups = run->shape[GROUPS];
    kernel_shape(run, DIFFERENCE, (uint64_t)rows * num_factors(run), cols);
    kernel_shape(run, PRODUCT, (uint64_t)rows * num_factors(run), cols);
    kernel_shape(run, MINIMUM, rows, groups);
    kernel_shape(run, MAXIMUM, rows, groups);
    kernel_shape(run, FACTORS, 1, run->shape[FIRST] + num_factors(run));
    kernel_shape(run, BEST, rows, 4);
    kernel_shape(run, STEP, rows, groups);
    kernel_shape(run, ZERO_POINT, rows, groups);
    run->buffers[BEST].stride = 4;
    for (uint32_t i = MAXIMUM; i <= ZERO_POINT; i++)
        if (i != FACTORS && i != BEST)
            run->buffers[i].stride = run->buffers[MINIMUM].stride;
    for (uint64_t k = 0; k < (uint64_t)rows * num_factors(run) * cols; k++) {
        kernel_set(run, DIFFERENCE, k, ((double)bm_random_below(&run->random, 9) - 4) / 8);
        kernel_set(run, PRODUCT, k, ((double)bm_random_below(&run->random, 9) - 4) / 8);
    }
    for (uint64_t k = 0; k < (uint64_t)rows * groups; k++) {
        kernel_set(run, MINIMUM, k, k % 7 == 3 ? 0 : -bm_random_double(&run->random));
        kernel_set(run, MAXIMUM, k, k % 7 == 3 ? 0 : bm_random_double(&run->random));
    }
    for (uint32_t f = 0; f < run->shape[FIRST] + num_factors(run); f++)
        kernel_set(run, FACTORS, f, (run->shape[SYMMETRIC] && f % 2 == 1 ? -1 : 1) * (1.05 - 0.02 * f));
    for (uint64_t r = 0; r < rows; r++) { // what came before: sometimes better than all here
        kernel_set(run, BEST, 4 * r, r % 3 == 0 ? -1e6 : 1e6);
        kernel_set(run, BEST, 4 * r + 1, 2.1 + 0.01 * (double)r);
    }
    const bm_grid_choose_scalars scalars = {rows,
                                            cols,
                                            (uint32_t)run->buffers[DIFFERENCE].stride,
                                            (uint32_t)run->buffers[PRODUCT].stride,
                                            (uint32_t)run->buffers[MINIMUM].stride,
                                            run->shape[CHOSEN],
                                            run->shape[FIRST],
                                            num_factors(run),
                                            run->shape[RELATIVE],
                                            run->shape[BITS],
                                            run->shape[SYMMETRIC],
                                            run->shape[TYPE]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(rows, 1);
}

// From the last candidate to the first, so that an equal one that comes earlier replaces a later one.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS], groups = run->shape[GROUPS];
    for (uint64_t r = 0; r < rows; r++) {
        const float base = run->shape[RELATIVE] ? (float)run->buffers[BEST].values[4 * r + 1] : 0;
        double least = INFINITY, choice = 0;
        for (uint32_t f = num_factors(run); f-- > 0;) {
            double loss = 0;
            for (uint64_t c = 0; c < cols; c++) {
                const uint64_t k = ((uint64_t)f * rows + r) * cols + c;
                loss += run->buffers[DIFFERENCE].values[k] * run->buffers[PRODUCT].values[k];
            }
            if (loss <= least) {
                least = loss;
                choice = (double)((float)run->buffers[FACTORS].values[run->shape[FIRST] + f] + base);
            }
        }
        if (run->shape[FIRST] > 0 && run->buffers[BEST].values[4 * r] <= least) {
            least = run->buffers[BEST].values[4 * r];
            choice = run->buffers[BEST].values[4 * r + 1];
        }
        const uint64_t at = r * groups + run->shape[CHOSEN];
        const host_grid grid =
            host_group_grid((float)run->buffers[MINIMUM].values[at], (float)run->buffers[MAXIMUM].values[at],
                            (float)choice, run->shape[BITS], run->shape[SYMMETRIC] != 0, (bm_dtype)run->shape[TYPE]);
        out[BEST][4 * r] = least;
        out[BEST][4 * r + 1] = choice;
        out[BEST][4 * r + 2] = out[BEST][4 * r + 3] = 0;
        out[STEP][at] = (double)grid.step;
        out[ZERO_POINT][at] = (double)grid.zero_point;
    }
}

static double operations(const kernel_run *run)
{
    return 2.0 * num_factors(run) * run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_grid_choose = {
    .kernel = BM_KERNEL_GRID_CHOOSE,
    .cases = {{"1", {1, 1, 1, 0, 4, 1, 1, 0, 0, 1}, true},
              {"prime", {7, 13, 3, 1, 4, 0, 2, 0, 0, 5}, true},
              {"later", {30, 64, 2, 1, 8, 1, 3, 5, 0, 8}, true},
              {"tile + 1", {11, 257, 1, 0, 3, 1, 2, 2, 0, 9}, true},
              {"relative", {12, 40, 2, 1, 4, 1, 3, 3, 1, 6}, true},
              {"ties", {60, 2, 1, 0, 4, 1, 1, 0, 0, 40}, true},
              {"layer", {48, 128, 4, 3, 4, 1, 2, 0, 0, 43}, true}},
    .skips_values = {[KERNEL_ZEROS] = true, [KERNEL_ONE_HUGE] = true, [KERNEL_DENORMALS] = true, [KERNEL_TIES] = true},
    .make = make,
    .exact = true,
    .computes = true,
    .reference = reference,
    .operations = operations,
};
