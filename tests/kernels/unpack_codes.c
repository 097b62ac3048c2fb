// unpack_codes: fields of 32-bit words to signed codes; exact.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, BITS };
enum { WORDS, CODES };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS], bits = run->shape[BITS];
    kernel_shape(run, CODES, rows, cols);
    kernel_shape(run, WORDS, rows, bm_divide_up((uint64_t)cols * bits, 32));
    kernel_fill_integers(run, WORDS, 0, UINT32_MAX);
    const bm_unpack_codes_scalars scalars = {rows, cols, (uint32_t)run->buffers[WORDS].stride,
                                             (uint32_t)run->buffers[CODES].stride, bits};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * cols / 4 + 1, 64);
}

// Bit by bit.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t cols = run->shape[COLS], bits = run->shape[BITS];
    const uint64_t words = run->buffers[WORDS].cols;
    for (uint64_t r = 0; r < run->shape[ROWS]; r++)
        for (uint32_t c = 0; c < cols; c++) {
            double field = -ldexp(1, (int)bits - 1);
            for (uint32_t i = c * bits; i < (c + 1) * bits; i++)
                field += ldexp((uint32_t)run->buffers[WORDS].values[r * words + i / 32] >> (i % 32) & 1,
                               (int)(i - c * bits));
            out[CODES][r * cols + c] = field;
        }
}

static double operations(const kernel_run *run)
{
    return 4.0 * run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_unpack_codes = {
    .kernel = BM_KERNEL_UNPACK_CODES,
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
