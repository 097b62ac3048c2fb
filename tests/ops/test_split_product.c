// float32 products in parts of 16 bits against float64 and beside plain float32 ones: odd sizes, parts of wider matrices, rows of other
// magnitudes, more columns than one piece, triangles; through the device's product of 16 bits or, without matrix units, the generic one.
#include "base/half.h"
#include "device/backend.h"
#include "ops/fixture.h"
#include "ops/matrix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// Everything in parts, whatever its size.
static void init_split(bm_multiplier *m)
{
    static const bm_gemm_choice generic = {.group = 64, .slice = 8, .gflops = 1, .reason = "test"};
    bm_multiplier_init(m, test_device);
    if (m->split.choice.gflops == 0)
        m->split.choice = m->split.few = generic;
    m->split.min_rows = m->split.min_columns = m->split.min_multiplications = 0;
}

typedef struct split_case {
    uint64_t m, n, k, padding; // padding: columns behind each matrix, a multiple of 4
    int spread;                // rows differ by up to so many powers of two
    float factor;
    bool adds, is_long;
} split_case;

// [rows, cols] in rows of cols + padding, each times a power of two.
static float *fill(bm_random *random, uint64_t rows, uint64_t cols, uint64_t padding, int spread)
{
    float *values = malloc(sizeof(float) * rows * (cols + padding));
    assert_non_null(values);
    fill_normal(random, rows * (cols + padding), 1, values);
    for (uint64_t r = 0; r < rows && spread > 0; r++)
        for (uint64_t c = 0; c < cols; c++)
            values[r * (cols + padding) + c] *= ldexpf(1, (int)(r * 7 % (uint64_t)(2 * spread)) - spread);
    return values;
}

typedef struct losses {
    double split, plain; // the largest error of each, relative to sum |a||b|
} losses;

static losses check_case(const split_case *c)
{
    const uint64_t m = c->m, n = c->n, k = c->k, p = c->padding;
    bm_random random;
    bm_multiplier plain, split;
    losses lost = {0, 0};
    bm_random_init(&random, m * n + k, 0);
    float *a = fill(&random, m, k, p, c->spread), *b = fill(&random, n, k, p, c->spread),
          *y = fill(&random, m, n, p, 0);
    float *got = malloc(sizeof(float) * m * (n + p)), *usual = malloc(sizeof(float) * m * (n + p));
    assert_true(got && usual);
    const bm_tensor wide_a = make_tensor(m, k + p, a), wide_b = make_tensor(n, k + p, b),
                    wide_y = make_tensor(m, n + p, y), wide_z = make_tensor(m, n + p, y);
    const bm_tensor left = bm_tensor_columns(&wide_a, 0, k), right = bm_tensor_columns(&wide_b, 0, k),
                    out = bm_tensor_columns(&wide_y, 0, n), other = bm_tensor_columns(&wide_z, 0, n);
    bm_multiplier_init(&plain, test_device);
    plain.split.choice.gflops = 0;
    init_split(&split);
    if (c->adds) {
        MUST(bm_multiply_add(&split, &left, &right, c->factor, &out, &failure));
        MUST(bm_multiply_add(&plain, &left, &right, c->factor, &other, &failure));
    } else {
        MUST(bm_multiply(&split, &left, &right, &out, &failure));
        MUST(bm_multiply(&plain, &left, &right, &other, &failure));
    }
    assert_non_null(split.split.product.view.buffer);
    read_tensor(&wide_y, got);
    read_tensor(&wide_z, usual);
    for (uint64_t i = 0; i < m; i++) {
        for (uint64_t j = 0; j < n; j++) {
            const uint64_t at = i * (n + p) + j;
            double sum = 0, magnitude = 0, widest_a = 0, widest_b = 0;
            for (uint64_t l = 0; l < k; l++) {
                const double u = (double)a[i * (k + p) + l], v = (double)b[j * (k + p) + l];
                sum += u * v;
                magnitude += fabs(u * v);
                widest_a = fmax(widest_a, fabs(u));
                widest_b = fmax(widest_b, fabs(v));
            }
            const double base = c->adds ? (double)y[at] : 0, factor = c->adds ? (double)c->factor : 1;
            const double want = base + factor * sum;
            // What parts leave out, sums of at most BM_SPLIT_COLUMNS columns that matrix units may cut, those of pieces.
            const double columns = (double)(k < BM_SPLIT_COLUMNS ? k : BM_SPLIT_COLUMNS);
            const double bound = fabs(factor) * (0x1p-21 * magnitude + 0x1p-38 * widest_a * widest_b * (double)k +
                                                 4 * (columns + 4) * 0x1p-24 * magnitude) +
                                 4 * 0x1p-24 * (fabs(base) + fabs(factor) * magnitude);
            if (!(fabs((double)got[at] - want) <= bound))
                fail_msg("[%llu, %llu, %llu] (%llu, %llu): %.9g, expected %.9g", (unsigned long long)m,
                         (unsigned long long)n, (unsigned long long)k, (unsigned long long)i, (unsigned long long)j,
                         (double)got[at], want);
            if (magnitude > 0) {
                const double all = fabs(base) + fabs(factor) * magnitude;
                lost.split = fmax(lost.split, fabs((double)got[at] - want) / all);
                lost.plain = fmax(lost.plain, fabs((double)usual[at] - want) / all);
            }
        }
        for (uint64_t j = n; j < n + p; j++)
            assert_true(got[i * (n + p) + j] == y[i * (n + p) + j]);
    }
    bm_multiplier_free(&plain);
    bm_multiplier_free(&split);
    free(a);
    free(b);
    free(y);
    free(got);
    free(usual);
    destroy_tensors();
    return lost;
}

static void parts_lose_little(void **state)
{
    (void)state;
    static const split_case cases[] = {
        {1, 1, 1, 0, 0, 1, false, false},       {9, 70, 33, 0, 0, 1, false, false},
        {17, 36, 130, 4, 0, -1, true, false},   {33, 132, 64, 8, 0, 0.5f, true, false},
        {40, 20, 300, 4, 20, -1, true, false},  {130, 140, 257, 4, 0, 1, false, true},
        {20, 24, 2049, 0, 0, 1, false, true},   {16, 12, 4500, 4, 8, -1, true, true},
        {300, 200, 1021, 0, 0, 1, false, true},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        if ((cases[i].is_long || cases[i].k > 200) && support_is_instrumented())
            continue;
        const losses lost = check_case(&cases[i]);
        printf("    [%llu, %llu, %llu]: %.2g of sum |a||b|, in plain float32 %.2g\n", (unsigned long long)cases[i].m,
               (unsigned long long)cases[i].n, (unsigned long long)cases[i].k, lost.split, lost.plain);
        // A part that is missing or takes another one's place costs 2^-11; plain float32 may lose as much as its sums.
        if (cases[i].k > 32)
            assert_true(lost.split <= 0x1p-18);
    }
}

// A number in float16 as units take it that know no subnormal ones.
static double flushed(uint16_t bits)
{
    return (bits & 0x7c00u) == 0 ? 0 : (double)bm_f16_to_f32(bits);
}

// Parts are none of those numbers before they are very small beside the largest of their row.
static void units_may_flush_small_parts(void **state)
{
    (void)state;
    enum { N = 4, K = 64, PARTS = 3 * K };
    float a[N * K], b[N * K], scales[2][N];
    uint16_t left[N * PARTS], right[N * PARTS];
    bm_multiplier m;
    for (uint32_t i = 0; i < N * K; i++) { // what float16 leaves of the small ones adds up
        a[i] = i % K == 0 ? 1 : ldexpf(1 + 0.45f / 1024, -14 - (int)(i / K));
        b[i] = i % K == 0 ? 0 : 1;
    }
    const bm_tensor x = make_tensor(N, K, a), w = make_tensor(N, K, b), y = make_tensor(N, N, NULL);
    init_split(&m);
    MUST(bm_multiply(&m, &x, &w, &y, &failure));
    MUST(bm_download(test_device, m.split.left.view, left, sizeof left, &failure));
    MUST(bm_download(test_device, m.split.right.view, right, sizeof right, &failure));
    MUST(bm_download(test_device, m.split.left_scale.view, scales[0], sizeof scales[0], &failure));
    MUST(bm_download(test_device, m.split.right_scale.view, scales[1], sizeof scales[1], &failure));
    MUST(bm_device_wait(test_device, &failure));
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j < N; j++) {
            double got = 0, want = 0, magnitude = 0;
            for (uint32_t l = 0; l < PARTS; l++)
                got += flushed(left[i * PARTS + l]) * flushed(right[j * PARTS + l]);
            for (uint32_t l = 0; l < K; l++) {
                want += (double)a[i * K + l] * (double)b[j * K + l];
                magnitude += fabs((double)a[i * K + l] * (double)b[j * K + l]);
            }
            got *= (double)scales[0][i] * (double)scales[1][j];
            if (!(fabs(got - want) <= 0x1p-21 * magnitude + 0x1p-32 * K))
                fail_msg("(%u, %u): %.9g, expected %.9g", i, j, got, want);
        }
    bm_multiplier_free(&m);
    destroy_tensors();
}

// Where buffers are small the left side goes in more pieces; a right side that none takes is multiplied otherwise.
static void parts_fit_the_largest_buffer(void **state)
{
    (void)state;
    enum { M = 400, N = 12, K = 300, ROW = 2 * 904 }; // a row in parts
    const uint64_t all = test_device->info.limits.max_allocation_bytes;
    bm_multiplier m;
    init_split(&m);
    test_device->info.limits.max_allocation_bytes = sizeof(float) * M * K; // less than M rows in parts
    assert_true(bm_split_product_pays(&m.split, M, sizeof(float) * M * K / ROW, K));
    assert_false(bm_split_product_pays(&m.split, M, sizeof(float) * M * K / ROW + 1, K));
    (void)check_case(&(split_case){M, N, K, 0, 0, 1, false, false});
    test_device->info.limits.max_allocation_bytes = all;
    bm_multiplier_free(&m);
}

// Rows of zeros, and of numbers whose square is none of float32's, on either side.
static void rows_may_have_any_magnitude(void **state)
{
    (void)state;
    enum { N = 20, K = 36 };
    float a[N * K], b[N * K], got[N * N];
    bm_random random;
    bm_multiplier m;
    bm_random_init(&random, 3, 0);
    fill_normal(&random, N * K, 1, a);
    fill_normal(&random, N * K, 1, b);
    for (uint32_t c = 0; c < K; c++) {
        a[c] = 0;
        a[K + c] *= 0x1p-110f;
        a[2 * K + c] *= 0x1p110f;
        b[c] *= 0x1p100f;
        b[K + c] *= 0x1p-100f;
        b[2 * K + c] = 0;
    }
    init_split(&m);
    const bm_tensor left = make_tensor(N, K, a), right = make_tensor(N, K, b), y = make_tensor(N, N, NULL);
    MUST(bm_multiply(&m, &left, &right, &y, &failure));
    read_tensor(&y, got);
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j < N; j++) {
            double want = 0, magnitude = 0;
            for (uint32_t l = 0; l < K; l++) {
                want += (double)a[i * K + l] * (double)b[j * K + l];
                magnitude += fabs((double)a[i * K + l] * (double)b[j * K + l]);
            }
            if (magnitude < 0x1p120) // others overflow
                assert_true(fabs((double)got[i * N + j] - want) <= 0x1p-18 * magnitude + 0x1p-125);
        }
    bm_multiplier_free(&m);
    destroy_tensors();
}

// Sums of products of columns: a square of two matrices and a triangle of one, where rows of weights are transposed.
static void columns_are_multiplied_in_parts(void **state)
{
    (void)state;
    enum { TOKENS = 37, N = 1050 };
    float *x = malloc(sizeof(float) * TOKENS * N), *other = malloc(sizeof(float) * TOKENS * N),
          *got = malloc(sizeof(float) * N * N);
    bm_random random;
    assert_true(x && other && got);
    if (support_is_instrumented())
        skip(); // many products
    bm_random_init(&random, 4, 0);
    fill_normal(&random, TOKENS * N, 1, x);
    fill_normal(&random, TOKENS * N, 1, other);
    for (uint32_t with_other = 0; with_other < 2; with_other++) {
        bm_multiplier m;
        init_split(&m);
        const bm_tensor right = make_tensor(TOKENS, N, x), left = make_tensor(TOKENS, N, other),
                        h = make_tensor(N, N, NULL);
        MUST(bm_multiplier_set_columns(&m, with_other ? &left : NULL, &right, &failure));
        MUST(bm_multiplier_add_columns(&m, with_other ? &left : NULL, 1.0f, &h, &failure));
        assert_true(m.weights.choice.form == BM_GEMM_PANELS || m.split.product.view.buffer);
        read_tensor(&h, got);
        for (uint32_t i = 0; i < N; i += 3)
            for (uint32_t j = 0; j < (with_other ? N : i + 1); j++) {
                double want = 0, magnitude = 0;
                for (uint32_t t = 0; t < TOKENS; t++) {
                    const double u = (double)(with_other ? other : x)[t * N + i], v = (double)x[t * N + j];
                    want += u * v;
                    magnitude += fabs(u * v);
                }
                assert_true(fabs((double)got[(size_t)i * N + j] - want) <= 0x1p-18 * magnitude);
            }
        bm_multiplier_free(&m);
        destroy_tensors();
    }
    free(x);
    free(other);
    free(got);
}

// Where parts pay is data; without a product of 16 bits they never do.
static void small_products_stay_plain(void **state)
{
    (void)state;
    bm_split_product s;
    bm_split_product_init(&s, test_device);
    s.choice.gflops = 1;
    assert_true(bm_split_product_pays(&s, 512, 512, 256));
    assert_false(bm_split_product_pays(&s, 511, 512, 256));
    assert_false(bm_split_product_pays(&s, 1 << 20, 512, 255));
    assert_false(bm_split_product_pays(&s, 127, 1 << 20, 512)); // few rows are bound by memory
    assert_false(bm_split_product_pays(&s, 1 << 20, 127, 512));
    s.is_off = true;
    assert_false(bm_split_product_pays(&s, 512, 512, 256));
    s.is_off = false;
    assert_true(bm_split_product_bytes(&s, 512, 512, 256) > 0);
    assert_int_equal(bm_split_product_bytes(&s, 511, 512, 256), 0);
    s.choice.gflops = 0;
    assert_false(bm_split_product_pays(&s, 4096, 4096, 4096));
    assert_int_equal(bm_split_product_bytes(&s, 4096, 4096, 4096), 0);
}

// Behind products of any shape up to one, whatever came first; and not much more than it is.
static void bytes_are_those_that_are_allocated(void **state)
{
    (void)state;
    enum { M = 300, N = 140, K = 300, ROW = 2 * 904 }; // a row in parts
    static const uint64_t shapes[][3] = {{M, N, K}, {M, 4, K}, {M, N, 4}, {1, N, K}, {M, 1, 1}, {130, 70, 130}};
    if (support_is_instrumented())
        skip(); // many products
    const uint64_t all = test_device->info.limits.max_allocation_bytes;
    for (uint32_t is_small = 0; is_small < 2; is_small++)
        for (uint64_t last = 1; last <= BM_COUNT(shapes); last += BM_COUNT(shapes) - 1) {
            bm_multiplier m;
            uint64_t held = 0;
            init_split(&m);
            const bm_tensor a = make_tensor(M, K, NULL), b = make_tensor(N, K, NULL), y = make_tensor(M, N, NULL);
            MUST(bm_device_wait(test_device, &failure));
            const uint64_t before = bm_device_live_bytes(test_device);
            if (is_small) // just the right side
                test_device->info.limits.max_allocation_bytes = ROW * N;
            for (uint64_t i = 0; i < last; i++) {
                const uint64_t *s = shapes[(last + i) % BM_COUNT(shapes)];
                const bm_tensor left = bm_tensor_part(&a, 0, s[0], 0, s[2]),
                                right = bm_tensor_part(&b, 0, s[1], 0, s[2]),
                                out = bm_tensor_part(&y, 0, s[0], 0, s[1]);
                MUST(
                    bm_split_product_run(&m.split, &(bm_split_job){&left, &right, &out, false, false, 1.0f}, &failure));
            }
            const uint64_t told = bm_split_product_bytes(&m.split, M, N, K);
            test_device->info.limits.max_allocation_bytes = all;
            MUST(bm_device_wait(test_device, &failure));
            held = bm_device_live_bytes(test_device) - before;
            if (held > told || (!is_small && last == BM_COUNT(shapes) && held + 64 < told))
                fail_msg("%llu products hold %llu bytes, told %llu", (unsigned long long)last, (unsigned long long)held,
                         (unsigned long long)told);
            bm_multiplier_free(&m);
            destroy_tensors();
        }
}

static void shapes_that_disagree_are_refused(void **state)
{
    (void)state;
    const bm_tensor x = make_tensor(6, 8, NULL), y = make_tensor(6, 5, NULL), square = make_tensor(8, 8, NULL);
    bm_multiplier m;
    bm_error err = {0};
    init_split(&m);
    assert_int_equal(bm_multiply(&m, &x, &y, &square, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_multiply(&m, &x, &square, &y, &err), BM_E_ARGUMENT);
    bm_multiplier_free(&m);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_lose_little),
        cmocka_unit_test(rows_may_have_any_magnitude),
        cmocka_unit_test(units_may_flush_small_parts),
        cmocka_unit_test(parts_fit_the_largest_buffer),
        cmocka_unit_test(columns_are_multiplied_in_parts),
        cmocka_unit_test(small_products_stay_plain),
        cmocka_unit_test(bytes_are_those_that_are_allocated),
        cmocka_unit_test(shapes_that_disagree_are_refused),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
