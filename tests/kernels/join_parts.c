// join_parts: products with powers of two, which are exact, and one sum.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, ADDS };
enum { PRODUCT, X_SCALE, W_SCALE, Y };

static float factor_of(const kernel_run *run)
{
    return run->shape[COLS] % 2 == 0 ? 1.0f : -0.375f;
}

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    const bool far = run->kind == KERNEL_NORMAL;
    kernel_shape(run, PRODUCT, rows, cols);
    kernel_shape(run, X_SCALE, 1, rows);
    kernel_shape(run, W_SCALE, 1, cols);
    kernel_shape(run, Y, rows, cols);
    kernel_fill(run, PRODUCT, far ? 0x1p30 : 1);
    kernel_fill(run, Y, 1);
    // The largest and the smallest scale there are, and products whose product with one is none of float32's.
    for (uint32_t r = 0; r < rows; r++)
        kernel_set(run, X_SCALE, r, ldexp(1, !far ? (int)(r % 9) - 4 : r % 9 == 5 ? 113 : (int)(r % 9) + 56));
    for (uint32_t c = 0; c < cols; c++)
        kernel_set(run, W_SCALE, c, ldexp(1, !far ? (int)(c % 7) - 2 : c % 7 == 6 ? -126 : (int)(c % 7) - 62));
    const bm_join_parts_scalars scalars = {
        rows,          cols, (uint32_t)run->buffers[PRODUCT].stride, (uint32_t)run->buffers[Y].stride, run->shape[ADDS],
        factor_of(run)};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * cols / 4, 64);
}

static double scaled(const kernel_run *run, uint64_t k)
{
    const uint32_t cols = run->shape[COLS];
    return run->buffers[PRODUCT].values[k] * run->buffers[X_SCALE].values[k / cols] *
           run->buffers[W_SCALE].values[k % cols] * (double)factor_of(run);
}

// A rounding of the product by the factor, and one of the sum; denormal numbers may be flushed, also before they are scaled.
static void bound(kernel_run *run)
{
    for (uint64_t k = 0; k < (uint64_t)run->shape[ROWS] * run->shape[COLS]; k++)
        run->buffers[Y].bounds[k] =
            KERNEL_EPSILON * (fabs(run->buffers[Y].exact[k]) + fabs(scaled(run, k))) + 4096 * KERNEL_FLUSH;
}

static void reference(const kernel_run *run, double *const *out)
{
    for (uint64_t k = 0; k < (uint64_t)run->shape[ROWS] * run->shape[COLS]; k++)
        out[Y][k] = (run->shape[ADDS] ? run->buffers[Y].values[k] : 0) + scaled(run, k);
}

static double operations(const kernel_run *run)
{
    return 4.0 * run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_join_parts = {
    .kernel = BM_KERNEL_JOIN_PARTS,
    .cases = {{"1", {1, 1}, false},
              {"prime", {7, 13, 1}, false},
              {"tile - 1", {3, 255}, false},
              {"tile", {3, 256, 1}, false},
              {"tile + 1", {3, 257, 1}, false},
              {"long thin", {1031, 3}, false},
              {"layer", {64, 2048, 1}, true}},
    .make = make,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
