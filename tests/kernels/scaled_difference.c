// scaled_difference: the grids of scale_search and a rounding to float16: the same words on every device.
#include "base/half.h"
#include "device/host/quantization.h"
#include "kernels/grid.h"
#include "kernels/table.h"

#include <math.h>

enum { W, SCALE, INVERSE, FACTOR, PARTS, UNIT };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[GRID_ROWS], cols = run->shape[GRID_COLS];
    kernel_shape(run, W, rows, cols);
    kernel_shape(run, SCALE, 1, cols);
    kernel_shape(run, INVERSE, 1, cols);
    kernel_shape(run, FACTOR, 1, cols);
    kernel_shape(run, PARTS, rows, bm_round_up(cols, 4) / 2);
    kernel_shape(run, UNIT, 1, rows);
    kernel_fill(run, W, 1);
    for (uint64_t r = 1; r < rows && run->kind == KERNEL_NORMAL; r++) // rows of other magnitudes
        for (uint64_t c = 0; c < cols; c++)
            kernel_set(run, W, r * cols + c, ldexp(run->buffers[W].values[r * cols + c], (int)(r % 4) * 20 - 30));
    for (uint32_t c = 0; c < cols; c++) {
        kernel_set(run, SCALE, c, exp(bm_random_normal(&run->random)));
        kernel_set(run, INVERSE, c, (double)(1.0f / (float)run->buffers[SCALE].values[c]));
        kernel_set(run, FACTOR, c, c % 9 == 4 ? 0 : exp(2 * bm_random_normal(&run->random)));
    }
    const bm_scaled_difference_scalars scalars = {rows,
                                                  cols,
                                                  (uint32_t)run->buffers[W].stride,
                                                  (uint32_t)run->buffers[PARTS].stride,
                                                  grid_group_size(run),
                                                  run->shape[GRID_BITS],
                                                  run->shape[GRID_SYMMETRIC],
                                                  run->shape[GRID_TYPE]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(rows, 1);
}

// By division in double, as in grid_candidates; differences in float32, whose roundings are part of the result.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t rows = run->shape[GRID_ROWS], cols = run->shape[GRID_COLS], size = grid_group_size(run);
    const double half = ldexp(1, (int)run->shape[GRID_BITS] - 1);
    const double *scale = run->buffers[SCALE].values, *inverse = run->buffers[INVERSE].values,
                 *factor = run->buffers[FACTOR].values;
    for (uint64_t r = 0; r < rows; r++) {
        const double *w = run->buffers[W].values + r * cols;
        float off[4100] = {0};
        double largest = 0, power = 1;
        for (uint32_t first = 0; first < cols; first += size) {
            const uint32_t end = first + size < cols ? first + size : cols;
            float low = 0, high = 0;
            for (uint32_t c = first; c < end; c++) {
                low = fminf(low, (float)w[c] * (float)scale[c]);
                high = fmaxf(high, (float)w[c] * (float)scale[c]);
            }
            const host_grid grid = host_group_grid(low, high, 1, run->shape[GRID_BITS], run->shape[GRID_SYMMETRIC] != 0,
                                                   (bm_dtype)run->shape[GRID_TYPE]);
            for (uint32_t c = first; c < end; c++) {
                const double zero = (double)grid.zero_point, scaled = (double)((float)w[c] * (float)scale[c]);
                const double code =
                    fmin(fmax(rint((double)((float)scaled * (1.0f / grid.step))) + zero, -half), half - 1);
                const float value = (float)(code - zero) * grid.step * (float)inverse[c];
                off[c] = ((float)w[c] - value) * (float)factor[c];
                largest = fmax(largest, (double)fabsf(off[c]));
            }
        }
        while (largest > 0 && largest * power < 8192)
            power *= 2;
        while (largest * power >= 16384)
            power /= 2;
        out[UNIT][r] = 1 / power;
        for (uint64_t c = 0; c < bm_round_up(cols, 4); c += 2)
            out[PARTS][r * run->buffers[PARTS].cols + c / 2] =
                bm_f32_to_f16((float)((double)off[c] * power)) +
                65536.0 * bm_f32_to_f16((float)((double)off[c + 1] * power));
    }
}

static double operations(const kernel_run *run)
{
    return 24.0 * run->shape[GRID_ROWS] * run->shape[GRID_COLS];
}

const kernel_operation kernel_scaled_difference = {
    .kernel = BM_KERNEL_SCALED_DIFFERENCE,
    .cases = GRID_CASES,
    .long_loops = {[7] = true, [8] = true, [9] = true}, // long thin, layer, long row, when one work-group walks them
    .skips_values = {[KERNEL_DENORMALS] = true},
    .make = make,
    .exact = true,
    .reference = reference,
    .operations = operations,
};
