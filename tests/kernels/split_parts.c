// split_parts: two roundings to float16, each exact in what is known of it; the same words on every device.
#include "base/half.h"
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, IS_RIGHT };
enum { X, PARTS, SCALE };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    kernel_shape(run, X, rows, cols);
    kernel_shape(run, PARTS, rows, 3 * bm_round_up(cols, 4) / 2);
    kernel_shape(run, SCALE, 1, rows);
    kernel_fill(run, X, 1);
    for (uint64_t r = 1; r < rows && run->kind == KERNEL_NORMAL;
         r++) // rows of other magnitudes, and small numbers in them
        for (uint64_t c = 0; c < cols; c++)
            kernel_set(
                run, X, r * cols + c,
                ldexp(run->buffers[X].values[r * cols + c], (int)(r % 4) * 40 - 60 - (c % 5 == 3 ? (int)(c % 41) : 0)));
    const bm_split_parts_scalars scalars = {rows, cols, (uint32_t)run->buffers[X].stride,
                                            (uint32_t)run->buffers[PARTS].stride, run->shape[IS_RIGHT]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(rows, 1);
}

static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    const uint64_t padded = bm_round_up(cols, 4), words = run->buffers[PARTS].cols;
    for (uint64_t r = 0; r < rows; r++) {
        const double *x = run->buffers[X].values + r * cols;
        double largest = 0, factor = 1;
        for (uint32_t c = 0; c < cols; c++)
            largest = fmax(largest, fabs(x[c]));
        while (largest > 0 && largest * factor < 8192)
            factor *= 2;
        while (largest * factor >= 16384)
            factor /= 2;
        out[SCALE][r] = 1 / factor;
        for (uint64_t c = 0; c < padded; c += 2) {
            uint32_t hi = 0, lo = 0, other = 0;
            for (uint64_t i = 0; i < 2; i++) {
                const double value = c + i < cols ? x[c + i] * factor : 0;
                const uint16_t upper = fabs(value) < 0x1p-14 ? 0 : bm_f32_to_f16((float)value);
                const double rest = value - (double)bm_f16_to_f32(upper);
                hi |= (uint32_t)upper << 16 * i;
                lo |= (uint32_t)bm_f32_to_f16((float)(64 * rest)) << 16 * i;
                other |= (uint32_t)bm_f32_to_f16(bm_f16_to_f32(upper) / 64) << 16 * i;
            }
            const uint64_t at = r * words + c / 2;
            out[PARTS][at] = run->shape[IS_RIGHT] ? lo : other;
            out[PARTS][at + padded / 2] = run->shape[IS_RIGHT] ? other : lo;
            out[PARTS][at + padded] = hi;
        }
    }
}

static double operations(const kernel_run *run)
{
    return 4.0 * run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_split_parts = {
    .kernel = BM_KERNEL_SPLIT_PARTS,
    .cases = {{"1", {1, 1}, false},
              {"prime", {7, 13, 1}, false},
              {"tile - 1", {3, 255}, false},
              {"tile", {3, 256, 1}, false},
              {"tile + 1", {3, 257}, false},
              {"long thin", {1031, 3, 1}, false},
              {"layer", {64, 2048}, true}},
    .skips_values = {[KERNEL_DENORMALS] = true},
    .make = make,
    .exact = true,
    .reference = reference,
    .operations = operations,
};
