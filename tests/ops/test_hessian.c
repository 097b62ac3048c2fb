// Sums of products of inputs against float64: more channels than one panel of rows, more tokens than one piece, odd sizes, inputs
// that are part of a wider matrix, two batches, two different inputs.
#include "base/half.h"
#include "ops/fixture.h"
#include "ops/hessian.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct hessian_case {
    uint32_t tokens, channels, padding; // padding: columns of the matrix behind the inputs
    bool is_half;
    bool has_other;
    bool is_long;   // takes long under validation
    bool is_narrow; // multiplied as stored: on matrix units where the device has them, else by the generic kernel
    bool is_bfloat;
} hessian_case;

// The device's own product of 16-bit columns, or the generic kernel, which takes them everywhere.
static bm_gemm_choice narrow_choice(bm_dtype dtype)
{
    const bm_gemm_choice own = bm_gemm_choose_for(test_device, dtype, dtype, BM_USE_ADDING);
    return bm_gemm_uses_matrix_units(BM_KERNEL_GEMM, &own)
               ? own
               : (bm_gemm_choice){.group = 64, .slice = 8, .gflops = 1, .reason = "test"};
}

// Inputs [tokens, channels] in a matrix whose other columns are large.
static bm_tensor make_inputs(const hessian_case *c, bm_random *random, float *values)
{
    const uint32_t all = c->channels + c->padding;
    const bm_dtype type = !c->is_half ? BM_DTYPE_F32 : c->is_bfloat ? BM_DTYPE_BF16 : BM_DTYPE_F16;
    float *wide = malloc(sizeof(float) * c->tokens * all);
    uint16_t *narrow = malloc(sizeof(uint16_t) * c->tokens * all);
    assert_true(wide && narrow);
    fill_normal(random, (uint64_t)c->tokens * all, 1, wide);
    for (uint32_t k = 0; k < c->tokens * all; k++) {
        if (k % all >= c->channels)
            wide[k] = 6e4f;
        narrow[k] = c->is_bfloat ? bm_f32_to_bf16(wide[k]) : bm_f32_to_f16(wide[k]);
        if (c->is_half)
            wide[k] = c->is_bfloat ? bm_bf16_to_f32(narrow[k]) : bm_f16_to_f32(narrow[k]);
        if (k % all < c->channels)
            values[(size_t)(k / all) * c->channels + k % all] = wide[k];
    }
    bm_tensor x = make_typed(type, c->tokens, all, c->is_half ? (const void *)narrow : (const void *)wide);
    x.cols = c->channels;
    free(wide);
    free(narrow);
    return x;
}

// h starts as before, so that sums are added to it. The lower triangle with one kind of inputs, all of it with two.
static void check_sums(const hessian_case *c)
{
    const uint32_t n = c->channels;
    const size_t count = (size_t)n * n;
    float *x = malloc(sizeof(float) * c->tokens * n), *other = malloc(sizeof(float) * c->tokens * n);
    float *got = malloc(sizeof(float) * count);
    double *want = calloc(count, sizeof *want), *magnitude = calloc(count, sizeof *magnitude);
    bm_random random;
    bm_multiplier m;
    assert_true(x && other && got && want && magnitude);
    bm_random_init(&random, n, 0);
    const bm_tensor inputs = make_inputs(c, &random, x), others = make_inputs(c, &random, other);
    for (size_t k = 0; k < count; k++)
        got[k] = (float)(k % 5) - 2;
    const bm_tensor h = make_tensor(n, n, got);
    for (size_t k = 0; k < count; k++)
        want[k] = magnitude[k] = (double)got[k];
    for (uint32_t t = 0; t < c->tokens; t++)
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < n; j++) {
                const double left = (double)(c->has_other ? other : x)[(size_t)t * n + i];
                const double product = left * (double)x[(size_t)t * n + j];
                want[(size_t)i * n + j] += product;
                magnitude[(size_t)i * n + j] += fabs(product);
            }
    bm_multiplier_init(&m, test_device);
    for (uint32_t i = 0; i < BM_COUNT(m.narrow); i++)
        m.narrow[i] = c->is_narrow ? narrow_choice(i == 0 ? BM_DTYPE_F16 : BM_DTYPE_BF16) : (bm_gemm_choice){0};
    MUST(bm_hessian_add(&m, &inputs, c->has_other ? &others : NULL, 1.0f, &h, &failure));
    read_tensor(&h, got);
    const double roundings = (c->is_narrow ? 4 : 1) * (c->tokens + 3) * 0x1p-24; // matrix units may cut
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < (c->has_other ? n : i + 1); j++) {
            const size_t k = (size_t)i * n + j;
            if (!(fabs((double)got[k] - want[k]) <= roundings * (fabs(magnitude[k]) + 4)))
                fail_msg("[%u, %u] (%u, %u): %.9g, expected %.9g", c->tokens, n, i, j, (double)got[k], want[k]);
        }
    bm_multiplier_free(&m);
    free(x);
    free(other);
    free(got);
    free(want);
    free(magnitude);
    destroy_tensors();
}

static void sums_are_those_of_float64(void **state)
{
    (void)state;
    static const hessian_case cases[] = {
        {.tokens = 1, .channels = 1},
        {.tokens = 37, .channels = 13},
        {.tokens = 64, .channels = 64, .is_half = true},
        {.tokens = 50, .channels = 131, .padding = 9},
        {.tokens = 50, .channels = 67, .padding = 5, .is_half = true, .has_other = true},
        {.tokens = 2101, .channels = 9, .is_long = true},
        {.tokens = 2101, .channels = 7, .padding = 3, .is_half = true, .has_other = true, .is_long = true},
        {.tokens = 33, .channels = 1100, .padding = 4, .is_long = true},
        {.tokens = 9, .channels = 1030, .is_half = true, .has_other = true, .is_long = true},
        {.tokens = 1, .channels = 5, .is_half = true, .is_narrow = true},
        {.tokens = 37, .channels = 131, .padding = 9, .is_half = true, .is_narrow = true},
        {.tokens = 50, .channels = 67, .padding = 5, .is_half = true, .is_narrow = true, .is_bfloat = true},
        {.tokens = 50, .channels = 67, .padding = 5, .is_half = true, .has_other = true, .is_narrow = true},
        {.tokens = 4109, .channels = 9, .is_half = true, .is_long = true, .is_narrow = true},
        {.tokens = 33, .channels = 1100, .padding = 4, .is_half = true, .is_long = true, .is_narrow = true},
        {.tokens = 300, .channels = 515, .is_half = true, .is_long = true, .is_narrow = true, .is_bfloat = true},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++)
        if (!cases[i].is_long || !support_is_instrumented())
            check_sums(&cases[i]);
}

// Which token came in which batch changes nothing but roundings; the same calls give the same bytes.
static void batches_add_up(void **state)
{
    (void)state;
    enum { TOKENS = 75, N = 40, FIRST = 33 };
    float x[TOKENS * N], got[3][N * N];
    bm_random random;
    bm_multiplier m;
    bm_random_init(&random, 3, 0);
    fill_normal(&random, TOKENS * N, 1, x);
    const bm_tensor all = make_tensor(TOKENS, N, x);
    const bm_tensor first = bm_tensor_rows(&all, 0, FIRST), rest = bm_tensor_rows(&all, FIRST, TOKENS - FIRST);
    bm_multiplier_init(&m, test_device);
    for (uint32_t i = 0; i < 3; i++) {
        const bm_tensor h = make_tensor(N, N, NULL);
        if (i == 0)
            MUST(bm_hessian_add(&m, &all, NULL, 1.0f, &h, &failure));
        if (i > 0) {
            MUST(bm_hessian_add(&m, &first, NULL, 1.0f, &h, &failure));
            MUST(bm_hessian_add(&m, &rest, NULL, 1.0f, &h, &failure));
        }
        read_tensor(&h, got[i]);
    }
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j <= i; j++)
            assert_true(fabsf(got[0][i * N + j] - got[1][i * N + j]) <= 1e-4f);
    assert_memory_equal(got[1], got[2], sizeof got[1]);
    bm_multiplier_free(&m);
}

// Products that a slow device gets in pieces of rows and columns, of a triangle and of a square.
static void cuts_change_nothing(void **state)
{
    (void)state;
    enum { TOKENS = 6, N = 300 };
    float *x = malloc(sizeof(float) * TOKENS * N), *other = malloc(sizeof(float) * TOKENS * N);
    float *got = malloc(sizeof(float) * N * N);
    bm_random random;
    bm_multiplier m;
    assert_true(x && other && got);
    bm_random_init(&random, 5, 0);
    fill_normal(&random, TOKENS * N, 1, x);
    fill_normal(&random, TOKENS * N, 1, other);
    const bm_tensor right = make_tensor(TOKENS, N, x), left = make_tensor(TOKENS, N, other);
    bm_multiplier_init(&m, test_device);
    for (uint32_t whole = 0; whole < 2; whole++) {
        const bm_tensor h = make_tensor(N, N, NULL);
        uint64_t rows = 0, cols = 0;
        MUST(bm_multiplier_set_columns(&m, whole ? &left : NULL, &right, &failure));
        m.weights.choice.gflops = 1e-9;
        bm_gemm_piece(test_device, &m.weights, BM_DTYPE_F32, N, N, &rows, &cols);
        assert_true(rows < N && cols < N);
        MUST(bm_multiplier_add_columns(&m, whole ? &left : NULL, 1.0f, &h, &failure));
        read_tensor(&h, got);
        for (uint32_t i = 0; i < N; i++)
            for (uint32_t j = 0; j < (whole ? N : i + 1); j++) {
                double want = 0;
                for (uint32_t t = 0; t < TOKENS; t++)
                    want += (double)(whole ? other : x)[t * N + i] * (double)x[t * N + j];
                if (!(fabs((double)got[i * N + j] - want) <= 1e-5))
                    fail_msg("%s (%u, %u): %.9g, expected %.9g", whole ? "square" : "triangle", i, j,
                             (double)got[i * N + j], want);
            }
    }
    bm_multiplier_free(&m);
    free(x);
    free(other);
    free(got);
    destroy_tensors();
}

// What float32 loses of a channel with another one, relative to their diagonal.
typedef struct losses {
    double varied;   // both change from token to token
    double constant; // one does not: the same product is added each time, and its roundings do not cancel
} losses;

// As many tokens as a usual calibration has, in batches of so many. Some channels are noise, some lie away from 0, some are
// constant.
static losses lost_by_batches(uint32_t batch_tokens)
{
    enum { TOKENS = 128 * 2048, N = 8 };
    static float x[2048 * N];
    static const float offsets[N] = {0, 0, 3, -1, 0.7f, 0.1f, 1.0f / 3, 100}, noise[N] = {1, 0.01f, 1, 1, 0, 0, 0, 1};
    double want[N * N] = {0};
    losses lost = {0, 0};
    float got[N * N];
    bm_random random;
    bm_multiplier m;
    bm_random_init(&random, 5, 0);
    bm_multiplier_init(&m, test_device);
    const bm_tensor h = make_tensor(N, N, NULL), inputs = make_tensor(batch_tokens, N, NULL);
    for (uint32_t t = 0; t < TOKENS; t += batch_tokens) {
        fill_normal(&random, (uint64_t)batch_tokens * N, 1, x);
        for (uint32_t k = 0; k < batch_tokens * N; k++)
            x[k] = offsets[k % N] + noise[k % N] * x[k];
        for (uint32_t k = 0; k < batch_tokens; k++)
            for (uint32_t i = 0; i < N; i++)
                for (uint32_t j = 0; j <= i; j++)
                    want[i * N + j] += (double)x[k * N + i] * (double)x[k * N + j];
        MUST(bm_tensor_upload(test_device, &inputs, x, &failure));
        MUST(bm_hessian_add(&m, &inputs, NULL, 1.0f, &h, &failure));
        MUST(bm_device_wait(test_device, &failure));
    }
    read_tensor(&h, got);
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j <= i; j++) {
            const double off = fabs((double)got[i * N + j] - want[i * N + j]);
            double *loss = noise[i] > 0 && noise[j] > 0 ? &lost.varied : &lost.constant;
            *loss = fmax(*loss, off / sqrt(want[i * (N + 1)] * want[j * (N + 1)]));
        }
    bm_multiplier_free(&m);
    destroy_tensors();
    return lost;
}

// Far below any damping, which is a hundredth of the mean diagonal: sums over pieces need no compensation.
static void little_is_lost_over_a_calibration(void **state)
{
    (void)state;
    static const uint32_t batches[] = {BM_HESSIAN_TOKENS, 512};
    if (support_is_instrumented() || support_is_interpreted())
        skip(); // many products
    for (size_t i = 0; i < BM_COUNT(batches); i++) {
        const losses lost = lost_by_batches(batches[i]);
        printf("    batches of %u tokens: %.2g of the diagonal, with constant channels %.2g\n", batches[i], lost.varied,
               lost.constant);
        assert_true(lost.varied <= 2e-6 && lost.constant <= 5e-5);
    }
}

static void shapes_that_disagree_are_refused(void **state)
{
    (void)state;
    const bm_tensor x = make_tensor(6, 8, NULL), y = make_tensor(7, 8, NULL), h = make_tensor(8, 8, NULL);
    const bm_tensor codes = make_typed(BM_DTYPE_I8, 6, 8, NULL);
    bm_multiplier m;
    bm_error err = {0};
    bm_multiplier_init(&m, test_device);
    assert_int_equal(bm_hessian_add(&m, &x, NULL, 1.0f, &x, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_hessian_add(&m, &x, &y, 1.0f, &h, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_hessian_add(&m, &codes, NULL, 1.0f, &h, &err), BM_E_ARGUMENT);
    bm_multiplier_free(&m);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_float64),
        cmocka_unit_test(batches_add_up),
        cmocka_unit_test(cuts_change_nothing),
        cmocka_unit_test(little_is_lost_over_a_calibration),
        cmocka_unit_test(shapes_that_disagree_are_refused),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
