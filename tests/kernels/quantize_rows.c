// quantize_rows: codes and steps are equal on every device: bounds are 0.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, PER_ROW, HAS_SHIFT, HAS_FACTOR, PEAK }; // PEAK: that of all rows, in eighths
enum { X, SHIFT, FACTOR, CODES, X_ROWS };

static float peak_of(const kernel_run *run)
{
    return (float)run->shape[PEAK] / 8;
}

static void make(kernel_run *run)
{
    const uint32_t *s = run->shape;
    const float peak = peak_of(run);
    kernel_shape(run, X, s[ROWS], s[COLS]);
    kernel_shape(run, SHIFT, 1, s[COLS]);
    kernel_shape(run, FACTOR, 1, s[COLS]);
    kernel_shape(run, CODES, s[ROWS], s[COLS]);
    kernel_shape(run, X_ROWS, s[ROWS], 4);
    run->buffers[X_ROWS].stride = 4;
    kernel_fill(run, X, 1);
    for (uint32_t c = 0; c < s[COLS]; c++) {
        kernel_set(run, SHIFT, c, s[HAS_SHIFT] ? bm_random_normal(&run->random) : 0);
        kernel_set(run, FACTOR, c, s[HAS_FACTOR] ? 0.2 + 3 * bm_random_double(&run->random) : 1);
    }
    run->buffers[SHIFT].absent = !s[HAS_SHIFT];
    run->buffers[FACTOR].absent = !s[HAS_FACTOR];
    const bm_quantize_rows_scalars scalars = {s[ROWS],
                                              s[COLS],
                                              (uint32_t)run->buffers[X].stride,
                                              (uint32_t)run->buffers[CODES].stride,
                                              s[HAS_SHIFT],
                                              s[HAS_FACTOR],
                                              s[PER_ROW],
                                              peak,
                                              peak > 0 ? 127 / peak : 0,
                                              peak > 0 ? peak / 127 : 1};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(s[ROWS], 1);
}

// With roundings to float32 written out.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t *s = run->shape;
    for (uint64_t r = 0; r < s[ROWS]; r++) {
        double peak = (double)peak_of(run), count = 0;
        for (uint32_t pass = 0; pass < 2; pass++) {
            const double inverse = peak < 1e-30 ? 0 : (double)(float)(127 / peak);
            double largest = 0;
            for (uint32_t c = 0; c < s[COLS]; c++) {
                const double shifted =
                    (double)(float)(run->buffers[X].values[r * s[COLS] + c] - run->buffers[SHIFT].values[c]);
                const double v = (double)(float)(shifted * run->buffers[FACTOR].values[c]);
                largest = fmax(largest, fabs(v));
                count += pass == 1 && !s[PER_ROW] && fabs(v) > peak;
                out[CODES][r * s[COLS] + c] = fmin(fmax(rint((double)(float)(v * inverse)), -128), 127);
            }
            if (pass == 0 && s[PER_ROW])
                peak = largest < 1e-30 ? 0 : largest;
        }
        out[X_ROWS][4 * r] = peak < 1e-30 ? 1 : (double)(float)(peak / 127);
        out[X_ROWS][4 * r + 1] = peak;
        out[X_ROWS][4 * r + 2] = count;
        out[X_ROWS][4 * r + 3] = 0;
    }
}

static double operations(const kernel_run *run)
{
    return 6.0 * run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_quantize_rows = {
    .kernel = BM_KERNEL_QUANTIZE_ROWS,
    .long_loops = {[7] = true, [9] = true, [10] = true}, // long thin, layers
    .cases = {{"1", {1, 1, 1}, false},
              {"prime", {7, 13, 1, 1, 1}, false},
              {"prime, one step", {7, 13, 0, 0, 1, 9}, false},
              {"nothing is zero", {3, 21, 0, 1, 0, 0}, false},
              {"tile - 1", {3, 255, 1, 0, 0}, false},
              {"tile", {3, 256, 0, 1, 1, 31}, false},
              {"tile + 1", {3, 257, 1, 1, 0}, false},
              {"long thin", {1031, 3, 1, 0, 1}, false},
              {"saturating", {64, 130, 0, 0, 0, 8}, false},
              {"layer", {48, 4099, 1, 1, 1}, true},
              {"layer, one step", {48, 4099, 0, 0, 0, 24}, true}},
    .make = make,
    .tune = kernel_tune_wide,
    .exact = true,
    .reference = reference,
    .operations = operations,
};
