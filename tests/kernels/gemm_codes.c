// gemm_codes: dot products of rows with packed codes. Shapes around 16 columns and 16 words, groups that are and are not as long, one
// step a row.
#include "kernels/table.h"

#include <math.h>

enum { M, N, K, GROUP_SIZE, BITS, HAS_ZERO_POINT, HAS_BIAS, ADDS };
enum { X, WORDS, STEP, ZERO_POINT, BIAS, Y };

static uint32_t group_size(const kernel_run *run)
{
    return run->shape[GROUP_SIZE] > 0 ? run->shape[GROUP_SIZE] : run->shape[K];
}

static void make(kernel_run *run)
{
    const uint32_t *shape = run->shape, m = shape[M], n = shape[N], k = shape[K], bits = shape[BITS];
    const uint64_t groups = bm_divide_up(k, group_size(run)), half = UINT64_C(1) << (bits - 1);
    kernel_shape(run, X, m, k);
    kernel_shape(run, WORDS, n, bm_divide_up((uint64_t)k * bits, 32));
    kernel_shape(run, STEP, n, groups);
    kernel_shape(run, ZERO_POINT, n, groups);
    run->buffers[ZERO_POINT].stride = run->buffers[STEP].stride; // the kernels take one stride for both
    run->buffers[ZERO_POINT].absent = !shape[HAS_ZERO_POINT];
    kernel_shape(run, BIAS, 1, n);
    run->buffers[BIAS].absent = !shape[HAS_BIAS];
    kernel_shape(run, Y, m, n);
    kernel_fill(run, X, 1);
    kernel_fill_integers(run, WORDS, 0, UINT32_MAX); // codes behind the last column, too: x has none there
    kernel_fill_integers(run, ZERO_POINT, -(int64_t)half, (int64_t)half - 1);
    for (uint64_t i = 0; i < n * groups; i++) // some negative
        kernel_set(run, STEP, i, (i % 5 == 2 ? -1 : 1) * (0.5 + bm_random_double(&run->random)) / (double)half);
    kernel_fill(run, BIAS, 1);
    kernel_fill(run, Y, 1); // read where products are added
    const bm_gemm_codes_scalars scalars = {m,
                                           n,
                                           k,
                                           (uint32_t)run->buffers[X].stride,
                                           (uint32_t)run->buffers[WORDS].stride,
                                           (uint32_t)run->buffers[STEP].stride,
                                           (uint32_t)run->buffers[Y].stride,
                                           group_size(run),
                                           shape[HAS_ZERO_POINT],
                                           shape[HAS_BIAS],
                                           shape[ADDS]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->tunables[2] = bits;
    run->groups[0] = kernel_groups((uint64_t)m * n, 16);
}

// One row of x by itself, and up to eight together; few pipelines, which take long to compile.
static void tune(kernel_run *run)
{
    run->tunables[0] = run->variant == BM_VARIANT_GEMM_CODES_WIDE ? 1 : run->shape[BITS] == 4 ? 64 : 32;
    run->tunables[1] = run->shape[M] == 1 ? 1 : run->shape[BITS] == 4 && run->shape[M] > 4 ? 8 : 4;
}

static double weight(const kernel_run *run, uint64_t j, uint32_t l)
{
    const uint32_t bits = run->shape[BITS], fields = 32 / bits;
    const uint64_t group = j * run->buffers[STEP].cols + l / group_size(run);
    const uint32_t word = (uint32_t)run->buffers[WORDS].values[j * run->buffers[WORDS].cols + l / fields];
    const double code = (double)(word >> l % fields * bits & ((1u << bits) - 1)) - (double)(1u << (bits - 1));
    return (code - (run->shape[HAS_ZERO_POINT] ? run->buffers[ZERO_POINT].values[group] : 0)) *
           run->buffers[STEP].values[group];
}

static double rest(const kernel_run *run, uint64_t i, bool absolute)
{
    const double bias = run->shape[HAS_BIAS] ? run->buffers[BIAS].values[i % run->shape[N]] : 0;
    const double old = run->shape[ADDS] ? run->buffers[Y].values[i] : 0;
    return absolute ? fabs(bias) + fabs(old) : bias + old;
}

// Of each term one rounding in a sum of products, one with the step, one in each further sum; as for kernel gemm. Where denormal
// inputs count as 0, each loses FLUSH times its partner; partial sums of codes are not small where sums are, but for that.
static void bound(kernel_run *run)
{
    const uint32_t n = run->shape[N], k = run->shape[K];
    for (uint64_t i = 0; i < run->buffers[Y].rows * n; i++) {
        double sum = rest(run, i, true), lost = k + 1;
        for (uint32_t l = 0; l < k; l++) {
            const double u = fabs(run->buffers[X].values[i / n * k + l]), v = fabs(weight(run, i % n, l));
            sum += u * v;
            lost += u + v;
        }
        run->buffers[Y].bounds[i] = (k + 4) * KERNEL_EPSILON * sum + KERNEL_FLUSH * lost;
    }
}

// The same sum from the back.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t n = run->shape[N], k = run->shape[K];
    for (uint64_t i = 0; i < run->buffers[Y].rows * n; i++) {
        double sum = 0;
        for (uint32_t l = k; l-- > 0;)
            sum = fma(run->buffers[X].values[i / n * k + l], weight(run, i % n, l), sum);
        out[Y][i] = rest(run, i, false) + sum;
    }
}

static double operations(const kernel_run *run)
{
    return 2.0 * run->shape[M] * run->shape[N] * run->shape[K];
}

const kernel_operation kernel_gemm_codes = {
    .kernel = BM_KERNEL_GEMM_CODES,
    .cases = {{"1", {1, 1, 1, 0, 4, 0, 0, 0}, false},
              {"one row", {1, 131, 272, 16, 4, 1, 1, 0}, false},
              {"prime", {7, 13, 67, 0, 4, 1, 0, 1}, false},
              {"tile - 1", {1, 31, 127, 32, 4, 0, 0, 0}, false},
              {"tile", {1, 32, 128, 128, 4, 1, 0, 0}, false},
              {"tile + 1", {9, 33, 129, 48, 4, 1, 1, 1}, false},
              {"long groups", {1, 35, 640, 256, 4, 1, 0, 1}, false},
              {"many outputs", {5, 300, 48, 16, 4, 0, 1, 0}, true},
              {"layer", {1, 192, 1024, 128, 4, 0, 0, 0}, true},
              {"8 bits", {3, 37, 200, 64, 8, 1, 0, 1}, false},
              {"8 bits, a step a row", {1, 40, 131, 0, 8, 0, 1, 0}, false},
              {"2 bits", {3, 37, 330, 32, 2, 1, 0, 0}, false},
              {"2 bits, long groups", {1, 20, 768, 256, 2, 0, 0, 1}, false}},
    .type_sets = {{BM_DTYPE_F32, BM_DTYPE_F32, BM_DTYPE_F32},
                  {BM_DTYPE_F16, BM_DTYPE_F16, BM_DTYPE_F16},
                  {BM_DTYPE_BF16, BM_DTYPE_BF16, BM_DTYPE_BF16},
                  {BM_DTYPE_F16, BM_DTYPE_F16, BM_DTYPE_F32}},
    .make = make,
    .tune = tune,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
