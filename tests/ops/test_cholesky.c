// The inverse of a Cholesky factor against float64: one block, several, the recursion's odd halves; nearly singular matrices, and such
// as have no factor.
#include "ops/cholesky.h"
#include "ops/fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// x = A A^T + diagonal I with A [n, rank]; float32 values.
static void fill_definite(uint32_t n, uint32_t rank, double diagonal, float *x)
{
    bm_random random;
    float *a = malloc(sizeof(float) * n * rank);
    assert_non_null(a);
    bm_random_init(&random, n, rank);
    fill_normal(&random, (uint64_t)n * rank, 1, a);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j <= i; j++) {
            double sum = i == j ? diagonal : 0;
            for (uint32_t k = 0; k < rank; k++)
                sum += (double)a[i * rank + k] * (double)a[j * rank + k];
            x[(size_t)i * n + j] = (float)sum;
            x[(size_t)j * n + i] = j < i ? NAN : (float)sum; // not read
        }
    free(a);
}

// Row by row (Golub and Van Loan, 4.2.5).
static void factor(const float *x, uint32_t n, double *l)
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j <= i; j++) {
            double sum = (double)x[(size_t)i * n + j];
            for (uint32_t k = 0; k < j; k++)
                sum -= l[(size_t)i * n + k] * l[(size_t)j * n + k];
            l[(size_t)i * n + j] = i == j ? sqrt(sum) : sum / l[(size_t)j * n + j];
        }
}

static void run(uint32_t n, bool is_split, const float *x, float *inverse, float *pivots)
{
    static const bm_gemm_choice generic = {.group = 64, .slice = 8, .gflops = 1, .reason = "test"};
    bm_multiplier m;
    bm_multiplier_init(&m, test_device);
    if (is_split) { // every product in 16-bit parts
        m.split.min_rows = m.split.min_columns = m.split.min_multiplications = 0;
        if (m.split.choice.gflops == 0)
            m.split.choice = m.split.few = generic;
    }
    const bm_tensor matrix = make_tensor(n, n, x), result = make_tensor(n, n, NULL), squares = make_tensor(1, n, NULL);
    MUST(bm_fill(test_device, result.view, 0x7fc00000, &failure)); // NaN: all of it is written
    MUST(bm_cholesky_inverse(&m, &matrix, &result, &squares, &failure));
    read_tensor(&result, inverse);
    read_tensor(&squares, pivots);
    bm_multiplier_free(&m);
    destroy_tensors();
}

// inverse L = I.
static void inverse_is_that_of_float64(void **state)
{
    (void)state;
    static const struct {
        uint32_t n, rank;
        double diagonal;
        bool is_split;
    } cases[] = {{1, 1, 1, false},     {5, 5, 1, false},     {63, 63, 1, false},    {64, 64, 1, false},
                 {65, 65, 1, false},   {128, 128, 1, false}, {129, 20, 0.1, false}, {200, 3, 0.05, false},
                 {333, 400, 1, false}, {129, 20, 0.1, true}, {200, 3, 0.05, true},  {333, 400, 1, true},
                 {515, 600, 1, false}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const uint32_t n = cases[i].n;
        if (n > 200 && support_is_instrumented())
            skip(); // long products
        float *x = malloc(sizeof(float) * n * n), *inverse = malloc(sizeof(float) * n * n),
              *pivots = malloc(sizeof(float) * n);
        double *l = calloc((size_t)n * n, sizeof *l), off = 0, largest = 0;
        assert_true(x && inverse && pivots && l);
        fill_definite(n, cases[i].rank, cases[i].diagonal, x);
        factor(x, n, l);
        run(n, cases[i].is_split, x, inverse, pivots);
        for (uint32_t r = 0; r < n; r++) {
            const double square = l[(size_t)r * (n + 1)] * l[(size_t)r * (n + 1)];
            largest = fmax(largest, (double)x[(size_t)r * (n + 1)]);
            off = fmax(off, fabs((double)pivots[r] - square) / square);
            for (uint32_t c = 0; c < n; c++) {
                double sum = 0;
                for (uint32_t k = c; k <= r; k++)
                    sum += (double)inverse[(size_t)r * n + k] * l[(size_t)k * n + c];
                off = fmax(off, fabs(sum - (r == c)));
                assert_true(c <= r || inverse[(size_t)r * n + c] == 0);
            }
        }
        // Roundings of n sums, times the condition: no eigenvalue is above n times the largest element, none below diagonal.
        const double bound = 8 * 0x1p-24 * (n * largest / cases[i].diagonal);
        printf("    %u, rank %u: off by %.2g of at most %.2g\n", n, cases[i].rank, off, bound);
        assert_true(off <= bound);
        free(x);
        free(inverse);
        free(pivots);
        free(l);
    }
}

// The pivots say so, whichever block the bad one lies in.
static void matrices_without_a_factor_have_a_bad_pivot(void **state)
{
    (void)state;
    enum { N = 150 };
    static const uint32_t bad[] = {0, 40, 64, 149};
    static float x[N * N], pivots[N];
    for (size_t i = 0; i < BM_COUNT(bad); i++) {
        fill_definite(N, N, 1, x);
        x[bad[i] * (N + 1)] = -1;
        bm_multiplier m;
        bm_error err = {0};
        bm_multiplier_init(&m, test_device);
        const bm_tensor matrix = make_tensor(N, N, x), result = make_tensor(N, N, NULL),
                        squares = make_tensor(1, N, NULL);
        MUST(bm_cholesky_inverse(&m, &matrix, &result, &squares, &failure));
        MUST(bm_tensor_download(test_device, &squares, pivots, &failure));
        const bm_status status = bm_device_wait(test_device, &err); // products with what follows may report NaN
        assert_true(status == BM_OK || status == BM_E_NUMERIC);
        bool found = status == BM_E_NUMERIC;
        for (uint32_t c = 0; c < N; c++)
            found = found || !(pivots[c] > 0) || !isfinite(pivots[c]);
        assert_true(found);
        bm_multiplier_free(&m);
        destroy_tensors();
    }
}

static void shapes_that_disagree_are_refused(void **state)
{
    (void)state;
    const bm_tensor x = make_tensor(6, 8, NULL), square = make_tensor(8, 8, NULL), row = make_tensor(1, 8, NULL);
    bm_multiplier m;
    bm_error err = {0};
    bm_multiplier_init(&m, test_device);
    assert_int_equal(bm_cholesky_inverse(&m, &x, &square, &row, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_cholesky_inverse(&m, &square, &x, &row, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_cholesky_inverse(&m, &square, &square, &x, &err), BM_E_ARGUMENT);
    bm_multiplier_free(&m);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inverse_is_that_of_float64),
        cmocka_unit_test(matrices_without_a_factor_have_a_bad_pivot),
        cmocka_unit_test(shapes_that_disagree_are_refused),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
