// cholesky_block: the inverse of a factor. The reference multiplies the matrix's own factor by what the kernel gives.
#include "kernels/table.h"

#include <math.h>
#include <string.h>

enum { SIZE, CONDITION }; // CONDITION: the diagonal of the factor falls by a factor of 10 to this
enum { X, INVERSE, PIVOTS };
enum { MAX = 128 };

// A lower factor with ones near its diagonal's falling magnitude: x = l l^T is formed in double and rounded to float32.
static void make_factor(kernel_run *run, double l[MAX][MAX])
{
    const uint32_t n = run->shape[SIZE];
    bm_random random = {0};
    bm_random_init(&random, run->seed, 1);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            const double scale = pow(10, -(double)run->shape[CONDITION] * j / n);
            const double value = i == j ? 1 + bm_random_double(&random) : 0.5 * bm_random_normal(&random) / sqrt(n);
            l[i][j] = j <= i ? value * scale : 0;
        }
}

static void make(kernel_run *run)
{
    const uint32_t n = run->shape[SIZE];
    static double l[MAX][MAX];
    kernel_shape(run, X, n, n);
    kernel_shape(run, INVERSE, n, n);
    kernel_shape(run, PIVOTS, 1, n);
    make_factor(run, l);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            double sum = 0;
            for (uint32_t k = 0; k < n; k++)
                sum += l[i][k] * l[j][k];
            kernel_set(run, X, (uint64_t)i * n + j, sum);
        }
    const bm_cholesky_block_scalars scalars = {n, (uint32_t)run->buffers[X].stride,
                                               (uint32_t)run->buffers[INVERSE].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = 1;
    if (n > 64)
        run->tunables[0] = 256; // a square of 16 x 16 work-items
    else if (n <= 32 && n % 2 == 0)
        run->tunables[0] = 16;
}

// The factor is that of a matrix off by at most (n + 1) eps |L| |L^T|, and the inverse of a factor is off by n eps |L^-1| |L| |L^-1|.
// With P = |L^-1| |L| both together are (n + 2) eps (lower(P P^T) + P) |L^-1| to first order; pivots move by L[i, i]^2 (P P^T)[i, i]
// of that. Twice as much is allowed, for terms of second order.
// Source: Higham, Accuracy and Stability of Numerical Algorithms, 2002, theorems 10.3 and 14.1, section 10.2.
static void bound(kernel_run *run)
{
    const uint32_t n = run->shape[SIZE];
    const double *inverse = run->buffers[INVERSE].exact, unit = 2 * (n + 2.0) * KERNEL_EPSILON;
    static double l[MAX][MAX], p[MAX][MAX], inner[MAX][MAX];
    memset(p, 0, sizeof p);
    memset(inner, 0, sizeof inner);
    make_factor(run, l);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++)
            for (uint32_t k = 0; k < n; k++)
                p[i][j] += fabs(inverse[i * n + k]) * fabs(l[k][j]);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j <= i; j++) {
            inner[i][j] = p[i][j];
            for (uint32_t k = 0; k < n; k++)
                inner[i][j] += p[i][k] * p[j][k];
        }
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j <= i; j++) {
            double sum = 0;
            for (uint32_t k = 0; k < n; k++)
                sum += inner[i][k] * fabs(inverse[k * n + j]);
            run->buffers[INVERSE].bounds[i * n + j] = unit * sum;
        }
        run->buffers[PIVOTS].bounds[i] = unit * l[i][i] * l[i][i] * inner[i][i];
    }
}

// Forward substitution on the rounded matrix's factor, computed row by row (the kernel goes column by column).
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t n = run->shape[SIZE];
    static double l[MAX][MAX];
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j <= i; j++) {
            double sum = run->buffers[X].values[(uint64_t)i * n + j];
            for (uint32_t k = j; k-- > 0;)
                sum -= l[i][k] * l[j][k];
            l[i][j] = i == j ? sqrt(sum) : sum / l[j][j];
            if (i == j)
                out[PIVOTS][i] = sum;
        }
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            double sum = i == j ? 1 : 0;
            for (uint32_t k = j; k < i; k++)
                sum -= l[i][k] * out[INVERSE][k * n + j];
            out[INVERSE][i * n + j] = j <= i ? sum / l[i][i] : 0;
        }
}

static double operations(const kernel_run *run)
{
    return 2.0 / 3.0 * pow(run->shape[SIZE], 3);
}

const kernel_operation kernel_cholesky_block = {
    .kernel = BM_KERNEL_CHOLESKY_BLOCK,
    .cases = {{"1", {1, 0}, true},
              {"prime", {13, 0}, true},
              {"tile - 1", {63, 0}, true},
              {"tile", {64, 0}, true},
              {"falling", {64, 1}, true},
              {"falling fast", {37, 2}, true},
              {"small groups", {32, 1}, true},
              {"wide", {128, 1}, true},
              {"wide, cut", {101, 0}, true}},
    .make = make,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
