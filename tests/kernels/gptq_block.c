// gptq_block: a row's columns depend on all before them. Bounds follow the error of each value through the row; where it
// reaches a rounding boundary another code is right too, and nothing is asked of the rest of that row.
#include "kernels/table.h"

#include <math.h>
#include <stdio.h>

enum { ROWS, COLS, GROUP_SIZE, BITS, SYMMETRIC, FIRST, INDEXED };
enum { W, U, STEP, ZERO_POINT, GROUP_INDEX, ERRORS };

static uint32_t num_groups(const kernel_run *run)
{
    return (run->shape[FIRST] + run->shape[COLS] - 1) / run->shape[GROUP_SIZE] + 1;
}

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS], groups = num_groups(run);
    const double range = ldexp(1, (int)run->shape[BITS] - 1);
    kernel_shape(run, W, rows, cols);
    kernel_shape(run, U, cols, cols);
    kernel_shape(run, STEP, rows, groups);
    kernel_shape(run, ZERO_POINT, rows, groups);
    kernel_shape(run, GROUP_INDEX, 1, cols);
    kernel_shape(run, ERRORS, rows, cols);
    run->buffers[ZERO_POINT].stride = run->buffers[STEP].stride;
    run->buffers[GROUP_INDEX].absent = !run->shape[INDEXED];
    kernel_fill(run, W, 1);
    kernel_fill_integers(run, GROUP_INDEX, 0, groups - 1);
    for (uint64_t i = 0; i < cols; i++)
        for (uint64_t j = 0; j < cols; j++)
            kernel_set(run, U, i * cols + j,
                       i == j  ? 0.5 + bm_random_double(&run->random)
                       : j > i ? 0.3 * bm_random_normal(&run->random) / sqrt(cols)
                               : 0);
    for (uint64_t k = 0; k < (uint64_t)rows * groups; k++) {
        const double step = 3.0 / range * (0.5 + bm_random_double(&run->random));
        kernel_set(run, STEP, k, run->shape[SYMMETRIC] && k % 2 == 1 ? -step : step);
        run->buffers[ZERO_POINT].values[k] =
            run->shape[SYMMETRIC] ? 0 : floor((bm_random_double(&run->random) - 0.5) * range);
    }
    const bm_gptq_block_scalars scalars = {rows,
                                           cols,
                                           (uint32_t)run->buffers[W].stride,
                                           (uint32_t)run->buffers[U].stride,
                                           (uint32_t)run->buffers[STEP].stride,
                                           (uint32_t)run->buffers[ERRORS].stride,
                                           run->shape[FIRST],
                                           run->shape[GROUP_SIZE],
                                           run->shape[BITS],
                                           run->shape[INDEXED]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(rows, 32);
}

// The generic kernel keeps a row of each work-item in local memory; work-items of _lanes keep 16 rows by themselves.
static void tune(kernel_run *run)
{
    static const uint32_t groups[][3] = {{32, 16, 8}, [BM_VARIANT_GPTQ_BLOCK_LANES] = {1, 2, 4}};
    run->tunables[0] = groups[run->variant][run->seed / 1000 % 3];
}

static uint64_t grid_of(const kernel_run *run, uint64_t r, uint32_t c)
{
    const uint32_t group = run->shape[INDEXED] ? (uint32_t)run->buffers[GROUP_INDEX].values[c]
                                               : (run->shape[FIRST] + c) / run->shape[GROUP_SIZE];
    return r * num_groups(run) + group;
}

static void bound(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    const double *u = run->buffers[U].values, *errors = run->buffers[ERRORS].exact;
    for (uint64_t r = 0; r < rows; r++) {
        bool open = false;
        for (uint32_t c = 0; c < cols; c++) {
            const uint64_t at = r * cols + c;
            double value = run->buffers[W].values[at], magnitude = fabs(value), from_errors = 0;
            for (uint32_t j = 0; j < c; j++) {
                value -= errors[r * cols + j] * u[(uint64_t)j * cols + c];
                magnitude += fabs(errors[r * cols + j] * u[(uint64_t)j * cols + c]);
                from_errors += run->buffers[ERRORS].bounds[r * cols + j] * fabs(u[(uint64_t)j * cols + c]);
            }
            const double step = fabs(run->buffers[STEP].values[grid_of(run, r, c)]);
            const double moved = (c + 3.0) * KERNEL_EPSILON * magnitude + from_errors + (c + 1) * 4 * KERNEL_FLUSH;
            const double scaled = value / step, to_boundary = fabs(scaled - floor(scaled) - 0.5);
            open = open || to_boundary * step <= moved + 4 * KERNEL_EPSILON * fabs(value);
            run->buffers[W].bounds[at] = open ? INFINITY : 2 * KERNEL_EPSILON * fabs(run->buffers[W].exact[at]);
            run->buffers[ERRORS].bounds[at] =
                open ? INFINITY
                     : (moved + KERNEL_EPSILON * (fabs(value) + 3 * fabs(run->buffers[W].exact[at]))) /
                               u[(uint64_t)c * cols + c] +
                           3 * KERNEL_EPSILON * fabs(errors[at]);
        }
    }
}

// Each column gathers what all before it left, instead of being told.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t cols = run->shape[COLS];
    const double half = ldexp(1, (int)run->shape[BITS] - 1), *u = run->buffers[U].values;
    for (uint64_t r = 0; r < run->shape[ROWS]; r++)
        for (uint32_t c = 0; c < cols; c++) {
            const uint64_t at = r * cols + c, k = grid_of(run, r, c);
            const double step = run->buffers[STEP].values[k], zero = run->buffers[ZERO_POINT].values[k];
            double value = run->buffers[W].values[at];
            for (uint32_t j = 0; j < c; j++)
                value -= out[ERRORS][r * cols + j] * u[(uint64_t)j * cols + c];
            out[W][at] = (fmin(fmax(rint(value / step) + zero, -half), half - 1) - zero) * step;
            out[ERRORS][at] = (value - out[W][at]) / u[(uint64_t)c * cols + c];
        }
}

static double operations(const kernel_run *run)
{
    return (double)run->shape[ROWS] * run->shape[COLS] * (run->shape[COLS] + 16.0);
}

const kernel_operation kernel_gptq_block = {
    .kernel = BM_KERNEL_GPTQ_BLOCK,
    .cases = {{"1", {1, 1, 4, 4, 1, 0, 0}, true},
              {"prime", {7, 13, 4, 4, 1, 0, 0}, true},
              {"asymmetric", {33, 64, 32, 4, 0, 128, 0}, true},
              {"tile - 1", {31, 127, 64, 8, 1, 64, 0}, true},
              {"tile", {65, 128, 128, 3, 1, 0, 0}, true},
              {"indexed", {40, 96, 32, 2, 1, 32, 1}, true},
              {"long thin", {1031, 4, 32, 4, 1, 8, 0}, true}},
    .long_loops = {[4] = true}, // tile, when one work-group walks it
    .skips_values = {[KERNEL_ZEROS] = true, [KERNEL_ONE_HUGE] = true, [KERNEL_DENORMALS] = true, [KERNEL_TIES] = true},
    .make = make,
    .tune = tune,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
