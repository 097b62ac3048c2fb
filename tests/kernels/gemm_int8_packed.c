// gemm_int8_packed: as gemm_int8, on panels of several sizes; sums beyond 2^24, which float32 alone would round.
#include "kernels/int8.h"
#include "kernels/table.h"

// Codes lie in panels of so many rows; those behind the last row must not count.
static void make_panels(kernel_run *run, uint32_t i, uint64_t rows, uint32_t panel)
{
    const uint64_t k = run->shape[INT8_K], padded = bm_round_up(rows, panel);
    kernel_shape(run, i, 1, padded * k);
    for (uint64_t r = 0; r < padded; r++)
        for (uint64_t l = 0; l < k; l++)
            kernel_set(run, i, (r / panel * k + l) * panel + r % panel, int8_code(run, i));
}

static void make(kernel_run *run)
{
    const uint32_t *s = run->shape;
    make_panels(run, INT8_X, s[INT8_M], s[INT8_ROWS]);
    make_panels(run, INT8_W, s[INT8_N], s[INT8_COLS]);
    int8_make(run);
    const bm_gemm_int8_packed_scalars scalars = {s[INT8_M],
                                                 s[INT8_N],
                                                 s[INT8_K],
                                                 (uint32_t)run->buffers[INT8_Y].stride,
                                                 (uint32_t)run->buffers[INT8_LOSS].stride,
                                                 s[INT8_HAS_BIAS],
                                                 s[INT8_COMPARES],
                                                 s[INT8_WALK]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->tunables[1] = s[INT8_ROWS];
    run->tunables[2] = s[INT8_COLS];
    run->groups[0] = kernel_groups(bm_divide_up(s[INT8_M], s[INT8_ROWS]) * bm_divide_up(s[INT8_N], s[INT8_COLS]), 8);
}

static int64_t sum(const kernel_run *run, uint64_t i, uint64_t j)
{
    const uint64_t k = run->shape[INT8_K], rows = run->shape[INT8_ROWS], cols = run->shape[INT8_COLS];
    int64_t total = 0;
    for (uint64_t l = k; l-- > 0;)
        total += (int64_t)run->buffers[INT8_X].values[(i / rows * k + l) * rows + i % rows] *
                 (int64_t)run->buffers[INT8_W].values[(j / cols * k + l) * cols + j % cols];
    return total;
}

static void reference(const kernel_run *run, double *const *out)
{
    int8_reference(run, out, sum);
}

static double operations(const kernel_run *run)
{
    return 2.0 * run->shape[INT8_M] * run->shape[INT8_N] * run->shape[INT8_K];
}

const kernel_operation kernel_gemm_int8_packed = {
    .kernel = BM_KERNEL_GEMM_INT8_PACKED,
    // Under instruments the wide panels take minutes to compile as well.
    .long_loops = {[3] = true,
                   [4] = true,
                   [5] = true,
                   [6] = true,
                   [7] = true,
                   [8] = true,
                   [9] = true,
                   [10] = true,
                   [11] = true,
                   [12] = true},
    .cases = {{"1", {1, 1, 1, 0, 0, 0, 1, 16, 1}, false},
              {"prime", {7, 13, 5, 1, 0, 0, 4, 16, 3}, false},
              {"error, prime", {7, 13, 5, 1, 1, 0, 4, 16, 3}, false},
              {"one row", {1, 67, 131, 1, 0, 0, 1, 32, 2}, false},
              {"tile - 1", {13, 31, 19, 0, 0, 0, 14, 32, 8}, false},
              {"tile", {28, 64, 16, 1, 0, 0, 14, 32, 1}, false},
              {"error, tile + 1", {29, 65, 17, 1, 1, 0, 14, 32, 2}, false},
              {"error, 16 x 16", {33, 47, 23, 0, 1, 0, 16, 16, 2}, false},
              {"layer", {72, 192, 576, 0, 0, 0, 14, 32, 4}, true},
              {"a slice of -128", {2, 3, 1024, 0, 0, 1, 6, 16, 1}, true},
              {"all -128", {3, 17, 4096, 1, 0, 1, 14, 32, 2}, true},
              {"two slices + 1 of 127", {17, 20, 2049, 0, 0, 2, 16, 16, 2}, true},
              {"slices, both signs", {15, 33, 5003, 0, 1, 0, 14, 32, 2}, true},
              {"long thin", {513, 3, 9, 0, 0, 0, 6, 16, 5}, false}},
    .type_sets = {{BM_DTYPE_F32, BM_DTYPE_F32},
                  {BM_DTYPE_F16, BM_DTYPE_BF16},
                  {BM_DTYPE_BF16, BM_DTYPE_F16}}, // bias, y
    .make = make,
    .exact = true,
    .computes = true,
    .reference = reference,
    .operations = operations,
};
