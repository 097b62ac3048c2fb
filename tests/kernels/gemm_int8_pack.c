// gemm_int8_pack: every code at its place in its panel, zeros behind the last row, the neighbours as they were.
#include "kernels/table.h"

enum { ROWS, K, COLS, FIRST, PADDED }; // PADDED 0: as many as ROWS
enum { CODES, PACKED };

static void make(kernel_run *run)
{
    const uint32_t *s = run->shape, padded = s[PADDED] ? s[PADDED] : s[ROWS];
    kernel_shape(run, CODES, s[ROWS], s[K]);
    kernel_shape(run, PACKED, 1, bm_round_up(s[FIRST] + padded, s[COLS]) * s[K]);
    kernel_fill_integers(run, CODES, -128, 127);
    kernel_fill(run, PACKED, 1); // what other calls have written
    const bm_gemm_int8_pack_scalars scalars = {s[ROWS], padded, s[FIRST], s[K], (uint32_t)run->buffers[CODES].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->tunables[1] = s[COLS];
    run->groups[0] = kernel_groups((uint64_t)bm_divide_up(padded, s[COLS]) * bm_divide_up(s[K], 4), 64);
}

// By the element of a panel: which row it belongs to.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t *s = run->shape, padded = s[PADDED] ? s[PADDED] : s[ROWS];
    for (uint64_t e = 0; e < run->buffers[PACKED].cols; e++) {
        const uint64_t row = e / s[COLS] / s[K] * s[COLS] + e % s[COLS], l = e / s[COLS] % s[K];
        if (row >= s[FIRST] && row < s[FIRST] + padded)
            out[PACKED][e] = row < s[FIRST] + s[ROWS] ? run->buffers[CODES].values[(row - s[FIRST]) * s[K] + l] : 0;
    }
}

static double operations(const kernel_run *run)
{
    return (double)run->shape[ROWS] * run->shape[K];
}

const kernel_operation kernel_gemm_int8_pack = {
    .kernel = BM_KERNEL_GEMM_INT8_PACK,
    .cases = {{"1", {1, 1, 16, 0}, false},
              {"prime", {7, 13, 4, 0}, false},
              {"one panel of one row", {1, 67, 1, 0}, false},
              {"behind others", {5, 19, 16, 13}, false},
              {"padded", {17, 30, 14, 0, 28}, false},
              {"tile + 1", {65, 33, 32, 31}, false},
              {"layer", {96, 577, 14, 0, 98}, true}},
    .skips_values = {[KERNEL_ZEROS] = true, [KERNEL_ONE_HUGE] = true, [KERNEL_DENORMALS] = true, [KERNEL_TIES] = true},
    .make = make,
    .exact = true,
    .reference = reference,
    .operations = operations,
};
