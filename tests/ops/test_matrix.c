// Products of matrices that are used once, and what else is done to matrices as such, against float64.
#include "device/backend.h"
#include "ops/fixture.h"
#include "ops/matrix.h"
#include "support/listener.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *normal(uint64_t seed, uint64_t count)
{
    bm_random random;
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    bm_random_init(&random, seed, 0);
    fill_normal(&random, count, 1, values);
    return values;
}

// Element (i, j) of before + factor a b^T, k wide; it may be off by the roundings of a float32 sum.
static void check_element(float got, const float *a, const float *b, uint64_t k, double before, double factor)
{
    double sum = before, magnitude = fabs(before);
    for (uint64_t l = 0; l < k; l++) {
        sum += factor * (double)a[l] * (double)b[l];
        magnitude += fabs(factor * (double)a[l] * (double)b[l]);
    }
    if (!(fabs((double)got - sum) <= ((double)k + 3) * 0x1p-24 * magnitude))
        fail_msg("got %.9g, want %.9g", (double)got, sum);
}

// One right side after the other in the same memory, smaller and larger ones, whole and by rows of b, added or not.
static void product_is_that_of_float64(void **state)
{
    (void)state;
    static const struct {
        uint64_t m, n, k, first, count;
    } cases[] = {{1, 1, 1, 0, 1},      {5, 70, 33, 0, 70},   {17, 200, 130, 64, 100}, {3, 130, 7, 128, 2},
                 {64, 64, 256, 0, 64}, {2, 33, 1000, 0, 33}, {33, 129, 64, 64, 65}};
    bm_multiplier m;
    bm_multiplier_init(&m, test_device);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const uint64_t rows = cases[i].m, n = cases[i].n, k = cases[i].k, count = cases[i].count;
        if (k > 200 && support_is_instrumented())
            continue; // long loops
        float *a = normal(2 * i + 1, rows * k), *b = normal(2 * i + 2, n * k), *y = normal(99, rows * count);
        float *got = malloc(rows * count * sizeof *got), *added = malloc(rows * count * sizeof *added);
        assert_true(got && added);
        const bm_tensor left = make_tensor(rows, k, a), right = make_tensor(n, k, b);
        const bm_tensor product = make_tensor(rows, count, NULL), sum = make_tensor(rows, count, y);
        MUST(bm_multiplier_set(&m, &right, &failure));
        MUST(bm_multiplier_run(&m, &left, cases[i].first, count, &product, &failure));
        MUST(bm_multiplier_run_add(&m, &left, cases[i].first, count, -0.5f, &sum, &failure));
        read_tensor(&product, got);
        read_tensor(&sum, added);
        for (uint64_t r = 0; r < rows; r++)
            for (uint64_t c = 0; c < count; c++) {
                const float *row = b + (cases[i].first + c) * k;
                check_element(got[r * count + c], a + r * k, row, k, 0, 1);
                check_element(added[r * count + c], a + r * k, row, k, (double)y[r * count + c], -0.5);
            }
        free(a);
        free(b);
        free(y);
        free(got);
        free(added);
        destroy_tensors();
    }
    bm_multiplier_free(&m);
}

// All three are parts of wider matrices, as the blocks of a factorization are; what lies around y, whose columns end
// with a quad, stays.
static void parts_of_matrices_are_multiplied_in_place(void **state)
{
    (void)state;
    enum { ALL = 90, M = 20, N = 36, K = 45 };
    float *values = normal(5, ALL * ALL), *others = normal(6, ALL * ALL), *after = malloc(sizeof(float) * ALL * ALL);
    assert_non_null(after);
    bm_multiplier m;
    bm_multiplier_init(&m, test_device);
    const bm_tensor x = make_tensor(ALL, ALL, values), y = make_tensor(ALL, ALL, others);
    const bm_tensor a = bm_tensor_part(&x, 3, M, 8, K), b = bm_tensor_part(&x, 50, N, 44, K);
    const bm_tensor some = bm_tensor_part(&y, 7, M, 12, N);
    MUST(bm_multiply_add(&m, &a, &b, 2, &some, &failure));
    read_tensor(&y, after);
    for (int i = 0; i < ALL; i++)
        for (int j = 0; j < ALL; j++)
            if (i >= 7 && i < 7 + M && j >= 12 && j < 12 + N)
                check_element(after[i * ALL + j], values + (i - 4) * ALL + 8, values + (j + 38) * ALL + 44, K,
                              (double)others[i * ALL + j], 2);
            else
                assert_true(after[i * ALL + j] == others[i * ALL + j]);
    MUST(bm_multiply(&m, &a, &b, &some, &failure));
    read_tensor(&y, after);
    for (int i = 7; i < 7 + M; i++)
        for (int j = 12; j < 12 + N; j++)
            check_element(after[i * ALL + j], values + (i - 4) * ALL + 8, values + (j + 38) * ALL + 44, K, 0, 1);
    bm_multiplier_free(&m);
    free(values);
    free(others);
    free(after);
}

// A symmetric matrix of which only the lower triangle is there, in another order, with something on its diagonal; some rows of it.
static void symmetric_matrix_is_completed_and_reordered(void **state)
{
    (void)state;
    enum { N = 21, ROWS = 4 };
    static const uint32_t rows[ROWS] = {20, 0, 7, 13};
    float *values = normal(7, N * N), *diagonal = normal(8, N), got[ROWS * N];
    uint32_t order[N], added[N];
    for (uint32_t i = 0; i < N; i++)
        order[i] = i * 8 % N;
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = i + 1; j < N; j++)
            values[i * N + j] = NAN;
    memcpy(added, diagonal, sizeof added);
    const bm_tensor x = make_tensor(N, N, values), y = make_tensor(ROWS, N, NULL);
    const bm_permutation permutation = {.row_order = make_integers(ROWS, rows),
                                        .col_order = make_integers(N, order),
                                        .diagonal = make_integers(N, added),
                                        .lower = true};
    MUST(bm_permute(test_device, &x, &permutation, &y, &failure));
    read_tensor(&y, got);
    for (uint32_t i = 0; i < ROWS; i++)
        for (uint32_t j = 0; j < N; j++) {
            const uint32_t r = rows[i], c = order[j];
            const float want = values[r > c ? r * N + c : c * N + r] + (r == c ? diagonal[r] : 0);
            assert_true(got[i * N + j] == want);
        }
    free(values);
    free(diagonal);
}

// Products that take longer than a device may go on unasked: the same numbers in parts, and heard between them.
static void long_products_are_cut_and_can_be_stopped(void **state)
{
    (void)state;
    enum { N = 600, K = 12 };
    const uint32_t parts = bm_device_kind_is_gpu(test_device->info.kind) ? 1 : 5; // those of GPUs are longer
    float *x = normal(11, N * K), *y = normal(12, N * N), *got = malloc(sizeof(float) * N * N);
    assert_non_null(got);
    for (uint32_t lower = 0; lower < 2; lower++)
        for (uint32_t stop = 0; stop <= parts; stop++) {
            listener l = {0, stop};
            const bm_progress progress = {hear, &l};
            bm_phase phase = {.progress = &progress};
            bm_error err = {0};
            bm_multiplier m;
            bm_multiplier_init(&m, test_device);
            m.phase = &phase;
            m.max_ahead_seconds = 1e-12;
            const bm_tensor a = make_tensor(N, K, x), out = make_tensor(N, N, y);
            const uint64_t waits = test_device->num_waits;
            const bm_status status = lower ? bm_multiply_add_lower(&m, &a, &a, -0.5f, &out, &err)
                                           : bm_multiply_add(&m, &a, &a, -0.5f, &out, &err);
            assert_int_equal(status, stop > 0 ? BM_E_CANCELLED : BM_OK);
            assert_int_equal(l.reports, stop > 0 ? stop : parts);
            assert_true(test_device->num_waits >= waits + l.reports);
            read_tensor(&out, got);
            for (uint32_t i = 0; i < N && stop == 0; i++)
                for (uint32_t j = 0; j <= (lower ? i : N - 1); j++)
                    check_element(got[i * N + j], x + i * K, x + j * K, K, (double)y[i * N + j], -0.5);
            bm_multiplier_free(&m);
            destroy_tensors();
        }
    free(x);
    free(y);
    free(got);
}

// A rest of five rows goes with the part before it: alone it would take the kernel of few rows, and other bits.
static void cuts_leave_no_few_rows(void **state)
{
    (void)state;
    enum { MAX_ROWS = 1029, N = 40, K = 12 };
    const bool is_gpu = bm_device_kind_is_gpu(test_device->info.kind);
    const uint32_t rows = is_gpu ? MAX_ROWS : 517;
    float *x = normal(13, MAX_ROWS * K), *y = normal(14, N * K), *got[2];
    for (uint32_t is_cut = 0; is_cut < 2; is_cut++) {
        listener l = {0, 0};
        const bm_progress progress = {hear, &l};
        bm_phase phase = {.progress = &progress};
        bm_multiplier m;
        bm_multiplier_init(&m, test_device);
        m.phase = &phase;
        if (is_cut)
            m.max_ahead_seconds = 1e-12;
        const bm_tensor a = make_tensor(rows, K, x), b = make_tensor(N, K, y), out = make_tensor(rows, N, NULL);
        got[is_cut] = malloc(sizeof(float) * rows * N);
        assert_non_null(got[is_cut]);
        MUST(bm_multiply(&m, &a, &b, &out, &failure));
        read_tensor(&out, got[is_cut]);
        assert_true(!is_cut || l.reports == (is_gpu ? 1 : 4));
        bm_multiplier_free(&m);
        destroy_tensors();
    }
    assert_memory_equal(got[0], got[1], sizeof(float) * rows * N);
    free(got[0]);
    free(got[1]);
    free(x);
    free(y);
}

static void shapes_that_disagree_are_refused(void **state)
{
    (void)state;
    const bm_tensor x = make_tensor(6, 8, NULL), y = make_tensor(6, 5, NULL), square = make_tensor(8, 8, NULL);
    const bm_tensor half = make_typed(BM_DTYPE_F16, 8, 8, NULL), row = make_tensor(1, 8, NULL);
    const bm_permutation lower = {.lower = true}, too_short = {.row_order = make_integers(3, (uint32_t[]){0, 1, 2})};
    bm_multiplier m;
    bm_error err = {0};
    bm_multiplier_init(&m, test_device);
    assert_int_equal(bm_multiply(&m, &x, &y, &square, &err), BM_E_ARGUMENT); // 8 columns and 5
    assert_int_equal(bm_multiply(&m, &x, &half, &x, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_multiply(&m, &x, &square, &y, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_multiply_add(&m, &x, &square, 1, &y, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_transpose(test_device, &x, &y, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_permute(test_device, &x, &lower, &x, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_permute(test_device, &x, &too_short, &x, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_permute(test_device, &x, &(bm_permutation){0}, &y, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_diagonal(test_device, &x, &row, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_scale_columns(test_device, &y, &row, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_copy_column(test_device, &x, &y, 5, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_row_dot(test_device, &x, &y, &square, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_keep_better(test_device, &x, &x, &x, &x, &err), BM_E_ARGUMENT);
    bm_multiplier_free(&m);
}

// Where the right side is laid out in panels.
static void panels_beyond_the_largest_buffer_are_refused(void **state)
{
    (void)state;
    enum { SIDE = 66 };
    const bm_tensor square = make_tensor(SIDE, SIDE, NULL), out = make_tensor(SIDE, SIDE, NULL);
    const uint64_t bytes = bm_multiplier_bytes(test_device, SIDE, SIDE);
    const bm_device_limits limits = test_device->info.limits;
    bm_multiplier m;
    bm_error err = {0};
    bm_multiplier_init(&m, test_device);
    test_device->info.limits.max_allocation_bytes = bytes > 0 ? bytes - 1 : 0;
    const bm_status status = bm_multiply(&m, &square, &square, &out, &err);
    test_device->info.limits = limits;
    assert_int_equal(status, bytes > 0 ? BM_E_ARGUMENT : BM_OK);
    bm_multiplier_free(&m);
    destroy_tensors();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(product_is_that_of_float64),
        cmocka_unit_test(parts_of_matrices_are_multiplied_in_place),
        cmocka_unit_test(symmetric_matrix_is_completed_and_reordered),
        cmocka_unit_test(long_products_are_cut_and_can_be_stopped),
        cmocka_unit_test(cuts_leave_no_few_rows),
        cmocka_unit_test(shapes_that_disagree_are_refused),
        cmocka_unit_test(panels_beyond_the_largest_buffer_are_refused),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
