// gemm_packed: dot products on panels; shapes around panels of several sizes.
#include "kernels/table.h"

#include <math.h>

enum { M, N, K, HAS_BIAS, ROWS, COLS, WALK, ADDS, LOWER, DIAGONAL };

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
    const uint32_t *s = run->shape;
    const uint64_t x_rows = bm_round_up(s[M], s[ROWS]), w_rows = bm_round_up(s[N], s[COLS]);
    kernel_shape(run, 0, 1, x_rows * s[K]); // panels are dense
    kernel_shape(run, 1, 1, w_rows * s[K]);
    kernel_shape(run, 2, 1, s[N]);
    kernel_shape(run, 3, s[M], s[N]);
    kernel_fill(run, 0, 1);
    kernel_fill(run, 1, 0.25);
    kernel_fill(run, 2, 1);
    kernel_fill(run, 3, 1); // read where products are added
    run->buffers[2].absent = !s[HAS_BIAS];
    const bm_gemm_packed_scalars scalars = {s[M],    s[N],    s[K],     (uint32_t)run->buffers[3].stride, s[HAS_BIAS],
                                            s[WALK], s[ADDS], s[LOWER], (int32_t)s[DIAGONAL] - 20,        factor(run)};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->tunables[1] = s[ROWS];
    run->tunables[2] = s[COLS];
    run->groups[0] = kernel_groups(x_rows / s[ROWS] * (w_rows / s[COLS]), 8);
}

static double x_at(const kernel_run *run, uint64_t i, uint64_t l)
{
    const uint32_t *s = run->shape;
    return run->buffers[0].values[(i / s[ROWS] * s[K] + l) * s[ROWS] + i % s[ROWS]];
}

static double w_at(const kernel_run *run, uint64_t j, uint64_t l)
{
    const uint32_t *s = run->shape;
    return run->buffers[1].values[(j / s[COLS] * s[K] + l) * s[COLS] + j % s[COLS]];
}

// As for gemm: k + 1 roundings of sums that stay below sum |x||w| + |bias|, and one where both bias and y are added.
static void bound(kernel_run *run)
{
    const uint32_t n = run->shape[N], k = run->shape[K], also = run->shape[HAS_BIAS] && run->shape[ADDS];
    kernel_matrix *y = &run->buffers[3];
    for (uint64_t i = 0; i < y->rows * n; i++) {
        double sum = fabs(old(run, i)) + fabs(bias(run, i, n)), lost = k + 1;
        for (uint32_t l = 0; l < k; l++) {
            const double u = fabs(x_at(run, i / n, l)), v = fabs(w_at(run, i % n, l));
            sum += u * v;
            lost += u + v;
        }
        y->bounds[i] = (k + 2 + also) * KERNEL_EPSILON * sum + KERNEL_FLUSH * lost;
        if (run->shape[LOWER] && (int64_t)(i % n) > (int64_t)(i / n) + (int32_t)run->shape[DIAGONAL] - 20)
            y->bounds[i] = INFINITY; // not wanted
    }
}

// The same sum from the back.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t n = run->shape[N];
    for (uint64_t i = 0; i < run->buffers[3].rows * n; i++) {
        double sum = 0;
        for (uint32_t l = run->shape[K]; l-- > 0;)
            sum = fma(x_at(run, i / n, l), w_at(run, i % n, l), sum);
        out[3][i] = old(run, i) + bias(run, i, n) + sum * (double)factor(run);
    }
}

static double operations(const kernel_run *run)
{
    return 2.0 * run->shape[M] * run->shape[N] * run->shape[K];
}

const kernel_operation kernel_gemm_packed = {
    .kernel = BM_KERNEL_GEMM_PACKED,
    .long_loops = {[10] = true}, // layer, when one work-group walks it
    .cases = {{"1", {1, 1, 1, 0, 1, 16, 1}, false},
              {"prime", {7, 13, 5, 1, 4, 16, 3}, false},
              {"one row", {1, 67, 131, 1, 1, 32, 2}, false},
              {"tile - 1", {13, 31, 19, 0, 14, 32, 8}, false},
              {"tile", {28, 64, 16, 1, 14, 32, 1}, false},
              {"tile + 1", {29, 65, 17, 1, 14, 32, 2}, false},
              {"whole quads in part of a panel", {15, 36, 7, 1, 14, 32, 2}, false},
              {"16 x 16", {33, 47, 23, 1, 16, 16, 2}, false},
              {"6 x 16", {13, 33, 9, 0, 6, 16, 64}, false},
              {"long thin", {513, 3, 9, 0, 16, 16, 5}, false},
              {"layer", {72, 192, 576, 0, 14, 32, 4}, true},
              {"added", {29, 67, 19, 0, 14, 32, 2, 1}, false},
              {"added with bias", {30, 66, 18, 1, 14, 32, 2, 1}, false},
              {"added, lower", {70, 131, 21, 0, 14, 32, 2, 1, 1, 20}, false},
              {"lower, moved left", {70, 69, 6, 1, 16, 16, 3, 0, 1, 9}, false},
              {"lower, moved right", {43, 129, 6, 0, 6, 16, 8, 1, 1, 60}, false}},
    .make = make,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
