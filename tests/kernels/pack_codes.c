// pack_codes: signed codes to fields of 32-bit words; exact.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, BITS };
enum { CODES, WORDS };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS], bits = run->shape[BITS];
    kernel_shape(run, CODES, rows, cols);
    kernel_shape(run, WORDS, rows, bm_divide_up((uint64_t)cols * bits, 32));
    const int64_t half = INT64_C(1) << (bits - 1);
    kernel_fill_integers(run, CODES, -half, half - 1);
    const bm_pack_codes_scalars scalars = {rows, cols, (uint32_t)run->buffers[CODES].stride,
                                           (uint32_t)run->buffers[WORDS].stride, bits};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * cols / 4 + 1, 64);
}

// Bit by bit.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t cols = run->shape[COLS], bits = run->shape[BITS];
    const uint64_t words = run->buffers[WORDS].cols;
    for (uint64_t k = 0; k < run->buffers[WORDS].rows * words; k++)
        out[WORDS][k] = 0;
    for (uint64_t r = 0; r < run->shape[ROWS]; r++)
        for (uint32_t i = 0; i < cols * bits; i++) {
            const int field = (int)run->buffers[CODES].values[r * cols + i / bits] + (1 << (bits - 1));
            out[WORDS][r * words + i / 32] += ldexp(field >> (i % bits) & 1, (int)(i % 32));
        }
}

static double operations(const kernel_run *run)
{
    return 4.0 * run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_pack_codes = {
    .kernel = BM_KERNEL_PACK_CODES,
    .cases = {{"1", {1, 1, 4}, false},
              {"prime", {7, 13, 4}, false},
              {"tile - 1", {3, 31, 8}, false},
              {"tile", {3, 32, 2}, false},
              {"tile + 1", {3, 33, 4}, false},
              {"long thin", {1031, 3, 2}, false},
              {"eight", {5, 29, 8}, false},
              {"three", {5, 32, 3}, false},
              {"three, tail", {7, 77, 3}, false},
              {"layer", {64, 1024, 4}, true}},
    .skips_values = {[KERNEL_ZEROS] = true, [KERNEL_ONE_HUGE] = true, [KERNEL_DENORMALS] = true, [KERNEL_TIES] = true},
    .make = make,
    .exact = true,
    .reference = reference,
    .operations = operations,
};
