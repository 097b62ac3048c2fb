// code_sweep: as gptq_block, a row's columns depend on all before them; where a value reaches a rounding boundary within its
// bound, nothing is asked of the rest of that row.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, GROUP_SIZE, BITS, SYMMETRIC, FIRST, DEAD };
enum { W, RESIDUAL, H, STEP, ZERO_POINT, CHANGE };

static uint32_t num_groups(const kernel_run *run)
{
    return (run->shape[FIRST] + run->shape[COLS] - 1) / run->shape[GROUP_SIZE] + 1;
}

// The generic kernel keeps a row of each work-item in local memory; work-items of _lanes keep 16 rows by themselves.
static void tune(kernel_run *run)
{
    static const uint32_t groups[][3] = {{32, 16, 8}, [BM_VARIANT_CODE_SWEEP_LANES] = {1, 2, 4}};
    run->tunables[0] = groups[run->variant][run->seed / 1000 % 3];
}

static uint64_t grid_of(const kernel_run *run, uint64_t r, uint32_t c)
{
    return r * num_groups(run) + (run->shape[FIRST] + c) / run->shape[GROUP_SIZE];
}

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS], groups = num_groups(run);
    const double range = ldexp(1, (int)run->shape[BITS] - 1);
    kernel_shape(run, W, rows, cols);
    kernel_shape(run, RESIDUAL, rows, cols);
    kernel_shape(run, H, cols, cols);
    kernel_shape(run, STEP, rows, groups);
    kernel_shape(run, ZERO_POINT, rows, groups);
    kernel_shape(run, CHANGE, rows, cols);
    run->buffers[ZERO_POINT].stride = run->buffers[STEP].stride;
    kernel_fill(run, RESIDUAL, 1);
    for (uint64_t i = 0; i < cols; i++)
        for (uint64_t j = 0; j <= i; j++) {
            const bool dead = run->shape[DEAD] && (i % 5 == 2 || j % 5 == 2);
            const double value = dead     ? 0
                                 : i == j ? 1 + bm_random_double(&run->random)
                                          : 0.5 * bm_random_normal(&run->random) / sqrt(cols);
            kernel_set(run, H, i * cols + j, value);
            kernel_set(run, H, j * cols + i, value);
        }
    for (uint64_t k = 0; k < (uint64_t)rows * groups; k++) {
        const double step = 3.0 / range * (0.5 + bm_random_double(&run->random));
        kernel_set(run, STEP, k, run->shape[SYMMETRIC] && k % 2 == 1 ? -step : step);
        run->buffers[ZERO_POINT].values[k] =
            run->shape[SYMMETRIC] ? 0 : floor((bm_random_double(&run->random) - 0.5) * range);
    }
    for (uint64_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < cols; c++) {
            const uint64_t k = grid_of(run, r, c);
            const double code = (double)bm_random_below(&run->random, (uint32_t)(2 * range)) - range;
            kernel_set(run, W, r * cols + c,
                       (code - run->buffers[ZERO_POINT].values[k]) * run->buffers[STEP].values[k]);
        }
    const bm_code_sweep_scalars scalars = {rows,
                                           cols,
                                           (uint32_t)run->buffers[W].stride,
                                           (uint32_t)run->buffers[RESIDUAL].stride,
                                           (uint32_t)run->buffers[H].stride,
                                           (uint32_t)run->buffers[STEP].stride,
                                           (uint32_t)run->buffers[CHANGE].stride,
                                           run->shape[FIRST],
                                           run->shape[GROUP_SIZE],
                                           run->shape[BITS]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(rows, 32);
}

static void bound(kernel_run *run)
{
    const uint32_t cols = run->shape[COLS];
    const double *h = run->buffers[H].values, *changes = run->buffers[CHANGE].exact;
    for (uint64_t r = 0; r < run->shape[ROWS]; r++) {
        bool open = false;
        for (uint32_t c = 0; c < cols; c++) {
            const uint64_t at = r * cols + c;
            const double weight = h[(uint64_t)c * cols + c], old = run->buffers[W].values[at];
            double rest = run->buffers[RESIDUAL].values[at], magnitude = fabs(rest), from_changes = 0;
            for (uint32_t j = 0; j < c; j++) {
                rest -= changes[r * cols + j] * h[(uint64_t)j * cols + c];
                magnitude += fabs(changes[r * cols + j] * h[(uint64_t)j * cols + c]);
                from_changes += run->buffers[CHANGE].bounds[r * cols + j] * fabs(h[(uint64_t)j * cols + c]);
            }
            const double step = fabs(run->buffers[STEP].values[grid_of(run, r, c)]);
            if (weight > 0) {
                const double value = old + rest / weight, scaled = value / step;
                const double moved = ((c + 4.0) * KERNEL_EPSILON * magnitude + from_changes) / weight +
                                     6 * KERNEL_EPSILON * (fabs(value) + fabs(old));
                open = open || fabs(scaled - floor(scaled) - 0.5) * step <= moved;
            }
            const double size = fabs(run->buffers[W].exact[at]) + fabs(old);
            run->buffers[W].bounds[at] = open ? INFINITY : 3 * KERNEL_EPSILON * size;
            run->buffers[CHANGE].bounds[at] = open ? INFINITY : 4 * KERNEL_EPSILON * size;
        }
    }
}

// Each column gathers what all before it changed, instead of being told.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t cols = run->shape[COLS];
    const double half = ldexp(1, (int)run->shape[BITS] - 1), *h = run->buffers[H].values;
    for (uint64_t r = 0; r < run->shape[ROWS]; r++)
        for (uint32_t c = 0; c < cols; c++) {
            const uint64_t at = r * cols + c, k = grid_of(run, r, c);
            const double step = run->buffers[STEP].values[k], zero = run->buffers[ZERO_POINT].values[k];
            const double old = run->buffers[W].values[at], weight = h[(uint64_t)c * cols + c];
            double rest = run->buffers[RESIDUAL].values[at];
            for (uint32_t j = 0; j < c; j++)
                rest -= out[CHANGE][r * cols + j] * h[(uint64_t)j * cols + c];
            const double code = fmin(fmax(rint((old + rest / weight) / step) + zero, -half), half - 1);
            out[W][at] = weight > 0 ? (code - zero) * step : old;
            out[CHANGE][at] = out[W][at] - old;
        }
}

static double operations(const kernel_run *run)
{
    return (double)run->shape[ROWS] * run->shape[COLS] * (run->shape[COLS] + 16.0);
}

const kernel_operation kernel_code_sweep = {
    .kernel = BM_KERNEL_CODE_SWEEP,
    .cases = {{"1", {1, 1, 4, 4, 1, 0, 0}, true},
              {"prime", {7, 13, 4, 4, 1, 0, 1}, true},
              {"asymmetric", {33, 64, 32, 4, 0, 128, 0}, true},
              {"tile - 1", {31, 127, 64, 8, 1, 64, 1}, true},
              {"tile", {65, 128, 128, 3, 1, 0, 0}, true},
              {"long thin", {1031, 4, 32, 4, 1, 8, 0}, true}},
    .long_loops = {[4] = true}, // tile, when one work-group walks it
    .skips_values = {[KERNEL_ZEROS] = true, [KERNEL_ONE_HUGE] = true, [KERNEL_DENORMALS] = true, [KERNEL_TIES] = true},
    .make = make,
    .tune = tune,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
