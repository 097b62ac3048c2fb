// gemm: dot products of rows, all variants. Shapes around the squares of 32 (generic) and 128 (_tile, _cm, _cm_bf16, _wgmma, _mma), one row (_thin), more
// tile rows than a band has.
#include "kernels/table.h"

#include <math.h>

enum { M, N, K, HAS_BIAS, ADDS, LOWER, DIAGONAL };

// Products that are added come with factors of both signs.
static float factor(const kernel_run *run)
{
    return run->shape[ADDS] ? -0.75f : 1.0f;
}

// What the sum is added to.
static double old(const kernel_run *run, uint64_t k)
{
    return run->shape[ADDS] ? run->buffers[3].values[k] : 0;
}
static double bias(const kernel_run *run, uint64_t k, uint32_t n)
{
    return run->shape[HAS_BIAS] ? run->buffers[2].values[k % n] : 0;
}

static void make(kernel_run *run)
{
    const uint32_t m = run->shape[M], n = run->shape[N], k = run->shape[K], has_bias = run->shape[HAS_BIAS];
    kernel_shape(run, 0, m, k);
    kernel_shape(run, 1, n, k);
    kernel_shape(run, 2, 1, n);
    kernel_shape(run, 3, m, n);
    kernel_fill(run, 0, 1);
    kernel_fill(run, 1, 0.25);
    kernel_fill(run, 2, 1);
    kernel_fill(run, 3, 1); // read where products are added
    run->buffers[2].absent = !has_bias;
    const bm_gemm_scalars scalars = {m,
                                     n,
                                     k,
                                     (uint32_t)run->buffers[0].stride,
                                     (uint32_t)run->buffers[1].stride,
                                     (uint32_t)run->buffers[3].stride,
                                     has_bias,
                                     run->shape[ADDS],
                                     run->shape[LOWER],
                                     (int32_t)run->shape[DIAGONAL] - 20,
                                     factor(run)};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)m * n, 1024);
}

static void tune(kernel_run *run)
{
    run->tunables[0] = run->variant == BM_VARIANT_GEMM_TILE ? 256 : 64;
    run->tunables[1] = run->seed / 10 % 2 ? 8 : run->variant == BM_VARIANT_GEMM_TILE ? 16 : 4;
    run->tunables[2] = 1u << run->seed / 10 % 4; // rows of _thin: 1, 2, 4, 8
    if (run->variant == BM_VARIANT_GEMM_TILE)
        run->tunables[2] = run->tunables[1] == 16 && run->seed / 20 % 2 ? 4 : 8;
    const bm_kernel_variant *needs = &run->info->variants[run->variant];
    if (needs->matrix.m > 0) { // all eight by turns of cases and kinds of values
        const uint64_t turn = run->seed / 1000 + run->seed % 10;
        run->tunables[0] = turn % 2 ? 8 * needs->lanes : needs->lanes < 16 ? 64 : 4 * needs->lanes;
        run->tunables[1] = turn / 2 % 2 ? 32 : 64;
        run->tunables[2] = turn / 4 % 2 ? 4 : 8;
        if (run->tunables[0] > 2 * run->tunables[2] * run->tunables[1])
            run->tunables[2] = 8;
        if ((16 * run->tunables[2] + 128) * (2 * run->tunables[1] + 16) > run->shared_memory_bytes)
            run->tunables[2] = 4;
    }
    if (run->variant == BM_VARIANT_GEMM_MMA) { // tiles of 64, 128 and 256 rows by turns
        run->tunables[2] = 4u << (run->seed / 1000 + run->seed % 10) % 3;
        run->tunables[1] = 32;
        run->tunables[0] = 16 * run->tunables[2];
    }
}

// k fused steps and the bias round once each, as does a y that was there, and no partial sum exceeds sum |x||w| + |bias|
// + |y| by more than that. Where denormal inputs count as 0, each loses FLUSH times its partner.
static void bound(kernel_run *run)
{
    const uint32_t n = run->shape[N], k = run->shape[K], also = run->shape[HAS_BIAS] && run->shape[ADDS];
    const double *x = run->buffers[0].values, *w = run->buffers[1].values;
    kernel_matrix *y = &run->buffers[3];
    for (uint64_t i = 0; i < y->rows * n; i++) {
        double sum = 0, lost = k + 1;
        for (uint32_t l = 0; l < k; l++) {
            const double u = fabs(x[i / n * k + l]), v = fabs(w[i % n * k + l]);
            sum += u * v;
            lost += u + v;
        }
        sum += fabs(old(run, i)) + fabs(bias(run, i, n));
        y->bounds[i] = (k + 2 + also) * KERNEL_EPSILON * sum + KERNEL_FLUSH * lost;
        if (run->shape[LOWER] && (int64_t)(i % n) > (int64_t)(i / n) + (int32_t)run->shape[DIAGONAL] - 20)
            y->bounds[i] = INFINITY; // not wanted
    }
}

// The same sum from the back.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t n = run->shape[N], k = run->shape[K];
    for (uint64_t i = 0; i < run->buffers[3].rows * n; i++) {
        double sum = 0;
        for (uint32_t l = k; l-- > 0;)
            sum = fma(run->buffers[0].values[i / n * k + l], run->buffers[1].values[i % n * k + l], sum);
        out[3][i] = old(run, i) + bias(run, i, n) + sum * (double)factor(run);
    }
}

static double operations(const kernel_run *run)
{
    return 2.0 * run->shape[M] * run->shape[N] * run->shape[K];
}

const kernel_operation kernel_gemm = {
    .kernel = BM_KERNEL_GEMM,
    // tile to large tile and layer, when few work-groups walk them
    .long_loops = {[5] = true,
                   [6] = true,
                   [7] = true,
                   [10] = true,
                   [12] = true,
                   [13] = true,
                   [14] = true,
                   [15] = true,
                   [16] = true,
                   [17] = true},
    .cases = {{"1", {1, 1, 1, 0}, false},
              {"one row", {1, 131, 67, 1}, false},
              {"prime", {7, 13, 5, 1}, false},
              {"k = 1", {33, 35, 1, 0}, false},
              {"tile - 1", {31, 127, 15, 0}, false},
              {"tile", {32, 128, 16, 1}, false},
              {"tile + 1", {129, 33, 17, 1}, false},
              {"large tile", {128, 128, 64, 0}, true},
              {"long thin", {513, 3, 9, 0}, false},
              {"thin long", {2, 5, 1031, 1}, false},
              {"layer", {72, 192, 576, 0}, true},
              {"added", {35, 67, 19, 0, 1}, false},
              {"added with bias", {37, 130, 18, 1, 1}, false},
              {"added, lower", {70, 140, 21, 0, 1, 1, 20}, false},
              {"lower, moved left", {70, 139, 6, 1, 0, 1, 9}, false},
              {"lower, moved right", {40, 257, 6, 0, 1, 1, 120}, false},
              {"bands", {1153, 9, 67, 1}, true},
              {"slices", {150, 135, 203, 1, 1}, true}},
    .type_sets = {{BM_DTYPE_F32, BM_DTYPE_F32, BM_DTYPE_F32, BM_DTYPE_F32},
                  {BM_DTYPE_F16, BM_DTYPE_F16, BM_DTYPE_F16, BM_DTYPE_F16},
                  {BM_DTYPE_BF16, BM_DTYPE_BF16, BM_DTYPE_BF16, BM_DTYPE_BF16},
                  {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16, BM_DTYPE_F32},
                  {BM_DTYPE_BF16, BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16},
                  {BM_DTYPE_F16, BM_DTYPE_F16, BM_DTYPE_BF16, BM_DTYPE_F32}}, // inputs of one type, others apart
    .make = make,
    .tune = tune,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
