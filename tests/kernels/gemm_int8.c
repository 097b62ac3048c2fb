// gemm_int8: sums are exact and the order of what follows is fixed, so outputs and errors are equal on every device and of every
// variant. Shapes around the squares of 32 (generic) and 128 (_dot, _cm), slices of 32 and 128 columns, more tile rows than a
// band has, and the largest sums.
#include "kernels/int8.h"
#include "kernels/table.h"

static void make(kernel_run *run)
{
    const uint32_t *s = run->shape;
    kernel_shape(run, INT8_X, s[INT8_M], s[INT8_K]);
    kernel_shape(run, INT8_W, s[INT8_N], s[INT8_K]);
    for (uint32_t i = INT8_X; i <= INT8_W; i++)
        for (uint64_t k = 0; k < run->buffers[i].rows * run->buffers[i].cols; k++)
            kernel_set(run, i, k, int8_code(run, i));
    int8_make(run);
    const bm_gemm_int8_scalars scalars = {s[INT8_M],
                                          s[INT8_N],
                                          s[INT8_K],
                                          (uint32_t)run->buffers[INT8_X].stride,
                                          (uint32_t)run->buffers[INT8_W].stride,
                                          (uint32_t)run->buffers[INT8_Y].stride,
                                          (uint32_t)run->buffers[INT8_LOSS].stride,
                                          s[INT8_HAS_BIAS],
                                          s[INT8_COMPARES]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)s[INT8_M] * s[INT8_N], 1024);
}

static void tune(kernel_run *run)
{
    const uint64_t turn = run->seed / 1000 + run->seed % 10; // of cases and kinds of values
    run->tunables[0] = run->variant == BM_VARIANT_GEMM_INT8_DOT                                ? 256
                       : run->info->variants[run->variant].matrix.m > 0                        ? 128u << turn % 2
                       : run->variant == BM_VARIANT_GEMM_INT8_THIN && run->seed / 1000 % 8 > 3 ? 16
                                                                                               : 64;
    run->tunables[1] = run->variant == BM_VARIANT_GEMM_INT8_THIN ? 1u << run->seed / 1000 % 4 : 8; // rows: 1, 2, 4, 8
}

// Matrices by hand have loops of their own, which drivers that count rounds end. The longest sums are of codes: one type of outputs.
static bool takes(const kernel_run *run)
{
    if (run->shape[INT8_K] > 4096 && run->buffers[INT8_Y].type != BM_DTYPE_F32)
        return false;
    const bool is_by_hand =
        run->info->variants[run->variant].matrix.m > 0 && run->info->variants[run->variant].subgroup_size == 0;
    return !is_by_hand || run->shape[INT8_K] <= 4096;
}

static int64_t sum(const kernel_run *run, uint64_t i, uint64_t j)
{
    const uint64_t k = run->shape[INT8_K];
    int64_t total = 0;
    for (uint64_t l = k; l-- > 0;)
        total += (int64_t)run->buffers[INT8_X].values[i * k + l] * (int64_t)run->buffers[INT8_W].values[j * k + l];
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

const kernel_operation kernel_gemm_int8 = {
    .kernel = BM_KERNEL_GEMM_INT8,
    .long_loops = {[5] = true,
                   [6] = true,
                   [7] = true,
                   [8] = true,
                   [9] = true,
                   [10] = true,
                   [11] = true,
                   [12] = true,
                   [13] = true,
                   [14] = true,
                   [15] = true,
                   [16] = true,
                   [17] = true,
                   [18] = true},
    .cases = {{"1", {1, 1, 1, 0}, false},
              {"one row", {1, 131, 67, 1}, false},
              {"prime", {7, 13, 5, 1}, false},
              {"error, prime", {7, 13, 5, 1, 1}, false},
              {"k = 1", {33, 35, 1, 0}, false},
              {"tile - 1", {31, 127, 31, 0}, false},
              {"tile", {32, 128, 32, 1}, false},
              {"tile + 1", {129, 33, 33, 1}, false},
              {"error, tile + 1", {131, 145, 65, 0, 1}, false},
              {"error, one row", {1, 70, 130, 0, 1}, false},
              {"layer", {72, 192, 576, 0}, true},
              {"all -128", {3, 17, 4096, 1, 0, 1}, true},
              {"most features", {2, 5, 131071, 0, 0, 2}, true},
              {"most features, the largest sum", {1, 2, 131071, 0, 0, 1}, true},
              {"both signs", {34, 18, 1031, 0, 0, 3}, true},
              {"long thin", {513, 3, 9, 0, 1}, false},
              {"bands", {1153, 9, 67, 1}, true},
              {"slices", {150, 135, 403, 1}, true},
              {"error, slices", {130, 133, 256, 1, 1}, true}},
    .type_sets = {{BM_DTYPE_F32, BM_DTYPE_F32},
                  {BM_DTYPE_F16, BM_DTYPE_BF16},
                  {BM_DTYPE_BF16, BM_DTYPE_F16}}, // bias, y
    .make = make,
    .tune = tune,
    .takes = takes,
    .exact = true,
    .computes = true,
    .reference = reference,
    .operations = operations,
};
