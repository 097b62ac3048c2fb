// grid_candidates: the grids of scale_search, so equal on every device: no bound.
#include "device/host/quantization.h"
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, GROUPS, CHOSEN, BITS, SYMMETRIC, TYPE, RELATIVE, SCALES };
enum { W, MINIMUM, MAXIMUM, FACTORS, BEST, DIFFERENCE };
enum { FIRST_FACTOR = 2, NUM_FACTORS = 67 };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS], groups = run->shape[GROUPS];
    kernel_shape(run, W, rows, cols);
    kernel_shape(run, MINIMUM, rows, groups);
    kernel_shape(run, MAXIMUM, rows, groups);
    kernel_shape(run, FACTORS, 1, FIRST_FACTOR + NUM_FACTORS);
    kernel_shape(run, BEST, rows, 4);
    run->buffers[BEST].stride = 4;
    run->buffers[BEST].absent = !run->shape[RELATIVE];
    kernel_shape(run, DIFFERENCE, (uint64_t)rows * NUM_FACTORS, cols);
    run->buffers[MAXIMUM].stride = run->buffers[MINIMUM].stride;
    kernel_fill(run, W, 1);
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t g = 0; g < groups; g++) {
            double low = 0, high = 0;
            for (uint64_t k = r * cols; k < (r + 1) * cols; k++) {
                low = fmin(low, run->buffers[W].values[k]);
                high = fmax(high, run->buffers[W].values[k]);
            }
            kernel_set(run, MINIMUM, r * groups + g, g == run->shape[CHOSEN] ? low : -1);
            kernel_set(run, MAXIMUM, r * groups + g, g == run->shape[CHOSEN] ? high : 1);
        }
    for (uint32_t f = 0; f < FIRST_FACTOR + NUM_FACTORS; f++)
        kernel_set(run, FACTORS, f, (run->shape[SYMMETRIC] && f % 2 == 1 ? -1 : 1) * (1.05 - 0.015 * f));
    for (uint64_t r = 0; r < rows; r++)
        kernel_set(run, BEST, 4 * r + 1, 1.2 + 0.01 * (double)r);
    const bm_grid_candidates_scalars scalars = {rows,
                                                cols,
                                                (uint32_t)run->buffers[W].stride,
                                                (uint32_t)run->buffers[MINIMUM].stride,
                                                (uint32_t)run->buffers[DIFFERENCE].stride,
                                                run->shape[CHOSEN],
                                                FIRST_FACTOR,
                                                NUM_FACTORS,
                                                run->shape[RELATIVE],
                                                run->shape[BITS],
                                                run->shape[SYMMETRIC],
                                                run->shape[TYPE],
                                                run->shape[SCALES]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(rows, 1);
}

// By division in double: of a symmetric float32 step the definition itself, of others what the host's grid says.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS], groups = run->shape[GROUPS];
    const double half = ldexp(1, (int)run->shape[BITS] - 1);
    for (uint64_t f = 0; f < NUM_FACTORS; f++)
        for (uint64_t r = 0; r < rows; r++) {
            const uint64_t at = r * groups + run->shape[CHOSEN];
            const float base = run->shape[RELATIVE] ? (float)run->buffers[BEST].values[4 * r + 1] : 0;
            const host_grid grid =
                host_group_grid((float)run->buffers[MINIMUM].values[at], (float)run->buffers[MAXIMUM].values[at],
                                (float)run->buffers[FACTORS].values[FIRST_FACTOR + f] + base, run->shape[BITS],
                                run->shape[SYMMETRIC] != 0, (bm_dtype)run->shape[TYPE]);
            double peak = fmax(-run->buffers[MINIMUM].values[at], run->buffers[MAXIMUM].values[at]), unit = 1;
            while (run->shape[SCALES] && peak * unit >= 2048)
                unit /= 2;
            while (run->shape[SCALES] && peak * unit < 1024 && unit < 0x1p127)
                unit *= 2;
            for (uint64_t c = 0; c < cols; c++) {
                const float w = (float)run->buffers[W].values[r * cols + c];
                const double zero = (double)grid.zero_point;
                const double code = fmin(fmax(rint((double)w / (double)grid.step) + zero, -half), half - 1);
                out[DIFFERENCE][(f * rows + r) * cols + c] =
                    (double)((w - (float)(code - zero) * grid.step) * (float)unit);
            }
        }
}

static double operations(const kernel_run *run)
{
    return 12.0 * NUM_FACTORS * run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_grid_candidates = {
    .kernel = BM_KERNEL_GRID_CANDIDATES,
    .cases = {{"1", {1, 1, 1, 0, 4, 1, 1}, false},
              {"prime", {7, 13, 3, 1, 4, 0, 2}, false},
              {"tile", {3, 64, 2, 1, 8, 1, 3}, false},
              {"tile + 1", {5, 65, 1, 0, 3, 1, 2}, false},
              {"relative", {9, 70, 2, 1, 4, 1, 3, 1}, true},
              {"scaled", {9, 70, 2, 1, 4, 0, 3, 0, 1}, false},
              {"layer", {48, 128, 4, 3, 4, 1, 2}, true}},
    .make = make,
    .exact = true,
    .computes = true,
    .reference = reference,
    .operations = operations,
};
