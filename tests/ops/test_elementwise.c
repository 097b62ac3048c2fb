// Norm, add, convert, gate, embedding and row error as operations: cuts, types, strides and wrong arguments.
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/fixture.h"
#include "ops/norm.h"
#include "device/backend.h"
#include "ops/chunks.h"

#include <float.h>
#include <math.h>
#include <string.h>

// Many rows of one column: more than one dispatch on a slow device.
static void long_thin_is_cut_and_complete(void **state)
{
    (void)state;
    enum { ROWS = 70001 };
    static float x[ROWS], y[ROWS];
    for (uint32_t r = 0; r < ROWS; r++)
        x[r] = (float)r;
    const bm_tensor a = make_tensor(ROWS, 1, x), b = make_tensor(ROWS, 1, x);
    MUST(bm_add(test_device, &a, &b, &b, &failure)); // in place
    read_tensor(&b, y);
    for (uint32_t r = 0; r < ROWS; r++)
        assert_true(y[r] == 2 * x[r]);
}

static void heads_of_a_matrix_are_rows_of_their_own(void **state)
{
    (void)state;
    const float x[2 * 16] = {3, 3, 3, 3, 3, 3, 3, 3, -2, -2, -2, -2, -2, -2, -2, -2,
                             0, 0, 0, 0, 0, 0, 0, 1, 5,  -5, 5,  -5, 5,  -5, 5,  -5};
    const float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    const bm_tensor whole = make_tensor(2, 16, x), weight = make_tensor(1, 8, ones);
    bm_tensor heads = whole;
    heads.rows = 4, heads.cols = 8, heads.stride = 8;
    MUST(bm_rmsnorm(test_device, &heads, &weight, 0, &heads, &failure));
    float y[2 * 16];
    read_tensor(&whole, y);
    for (uint32_t i = 0; i < 32; i++) {
        const double want = i < 8 ? 1 : i < 16 ? -1 : i < 24 ? (i == 23 ? sqrt(8) : 0) : i % 2 ? -1 : 1;
        assert_true(fabs(y[i] - want) < 1e-6);
    }
}

static void convert_names_what_it_converts(void **state)
{
    (void)state;
    const float x[6] = {1, 2, 3, 4, INFINITY, 6};
    bm_error err = {0};
    const bm_tensor in = make_tensor(2, 3, x), out = make_tensor(2, 3, NULL);
    MUST(bm_convert(test_device, &in, &out, "model.layers.3.mlp.up_proj.weight", &failure));
    assert_int_equal(bm_device_wait(test_device, &err), BM_E_NUMERIC);
    assert_non_null(strstr(err.message, "model.layers.3.mlp.up_proj.weight"));
    assert_non_null(strstr(err.message, "element 3"));
}

static void gate_is_the_activation_times_up(void **state)
{
    (void)state;
    const float g[4] = {0, 1, -1, 2}, ones[4] = {1, 1, 1, 1};
    // silu(1) = 0.7310586, gelu(1) = 0.8413447 (normal distribution below 1), gelu_tanh(1) = 0.8411920
    static const double want[3][4] = {{0, 0.7310585786, -0.2689414214, 1.7615941560},
                                      {0, 0.8411919906, -0.1588080094, 1.9545976910},
                                      {0, 0.8413447461, -0.1586552539, 1.9544997361}};
    for (uint32_t a = 0; a < 3; a++) {
        const bm_tensor gate = make_tensor(1, 4, g), up = make_tensor(1, 4, ones);
        MUST(bm_gate(test_device, (bm_activation)a, &gate, &up, &gate, &failure));
        float y[4];
        read_tensor(&gate, y);
        for (uint32_t i = 0; i < 4; i++)
            assert_true(fabs(y[i] - want[a][i]) < 5e-7);
    }
}

// SiLU alone is g e / (1 + e), e = exp(-|g|): where that is below 2^-24, e times g. Of e's whole range, half by steps of its size and
// half of its bits; on CPUs through OpenCL to 1.4 roundings of e (cl/include/exponential.h) and three of the rest, elsewhere to
// Vulkan's (3 + 2 |g|) ulp of e. Results below 2^-126 may be flushed.
static void exponentials_are_right_over_their_range(void **state)
{
    (void)state;
    enum { COUNT = 1 << 17 };
    static float g[COUNT], y[COUNT];
    const bm_device_info *info = bm_device_get_info(test_device);
    const bool is_polynomial = info->kind == BM_DEVICE_CPU && strcmp(info->backend, "opencl") == 0;
    for (uint32_t i = 0; i < COUNT / 2; i++) {
        const uint32_t bits = UINT32_C(0x80000000) + i * 17104; // to -104
        g[i] = -110.0f * (float)i / 0x1p16f;
        memcpy(&g[COUNT / 2 + i], &bits, sizeof bits);
    }
    const bm_tensor gate = make_tensor(1, COUNT, g);
    MUST(bm_gate(test_device, BM_ACTIVATION_SILU, &gate, NULL, &gate, &failure));
    read_tensor(&gate, y);
    for (uint32_t i = 0; i < COUNT; i++) {
        const double e = exp((double)g[i]), want = g[i] * e / (1 + e);
        const double roundings = is_polynomial ? 4.5 : 18 + 10 * fabs((double)g[i]);
        if (!(fabs(y[i] - want) <= roundings * 0x1p-24 * fabs(want) + 0x1p-126 * (2 + fabs((double)g[i]))))
            fail_msg("silu(%.9g): got %.9g, want %.9g", (double)g[i], (double)y[i], want);
    }
}

static void gates_of_no_number_are_none(void **state)
{
    (void)state;
    const float g[20] = {NAN, INFINITY, -FLT_MAX, FLT_MAX, -0.0f, 0.0f, -3e5f, [19] = NAN};
    float y[20];
    if (strcmp(bm_device_get_info(test_device)->backend, "vulkan") == 0)
        skip(); // promises nothing of them
    const bm_tensor gate = make_tensor(1, 20, g);
    MUST(bm_gate(test_device, BM_ACTIVATION_SILU, &gate, NULL, &gate, &failure));
    read_tensor(&gate, y);
    assert_true(isnan(y[0]) && isnan(y[19]) && y[1] == INFINITY && y[3] == FLT_MAX);
    assert_true(y[2] == 0 && y[4] == 0 && y[5] == 0 && y[6] == 0);
}

static void columns_are_shifted_and_then_scaled(void **state)
{
    (void)state;
    const float x[6] = {1, 2, 3, 4, 5, 6}, shift[3] = {-1, 1, 0.5f}, factor[3] = {8, -2, 0.5f};
    static const float want[3][6] = {
        {0, -6, 1.75f, 24, -12, 3.25f}, {0, 3, 3.5f, 3, 6, 6.5f}, {8, -4, 1.5f, 32, -10, 3}};
    float y[6];
    const bm_tensor in = make_tensor(2, 3, x), out = make_tensor(2, 3, NULL);
    const bm_tensor a = make_tensor(1, 3, shift), m = make_tensor(1, 3, factor);
    for (uint32_t i = 0; i < 3; i++) {
        MUST(bm_shift_scale(test_device, &in, i < 2 ? &a : NULL, i != 1 ? &m : NULL, &out, &failure));
        read_tensor(&out, y);
        assert_memory_equal(y, want[i], sizeof y);
    }
    MUST(bm_shift_scale(test_device, &in, &a, &m, &in, &failure)); // in place
    read_tensor(&in, y);
    assert_memory_equal(y, want[0], sizeof y);
}

static void embedding_in_parts_is_complete(void **state)
{
    (void)state;
    enum { VOCABULARY = 11, COLS = 5, TOKENS = 14 };
    float table[VOCABULARY * COLS], y[TOKENS * COLS];
    uint32_t ids[TOKENS];
    for (uint32_t i = 0; i < VOCABULARY * COLS; i++)
        table[i] = (float)i;
    for (uint32_t t = 0; t < TOKENS; t++)
        ids[t] = t * 7 % VOCABULARY;
    const bm_tensor out = make_tensor(TOKENS, COLS, NULL);
    const bm_view view = make_integers(TOKENS, ids);
    for (uint32_t first = 0; first < VOCABULARY; first += 4) {
        const uint32_t rows = first + 4 < VOCABULARY ? 4 : VOCABULARY - first;
        const bm_tensor part = make_tensor(rows, COLS, table + first * COLS);
        MUST(bm_embedding(test_device, view, &part, first, VOCABULARY, &out, &failure));
    }
    read_tensor(&out, y);
    for (uint32_t t = 0; t < TOKENS; t++)
        assert_memory_equal(y + t * COLS, table + ids[t] * COLS, COLS * sizeof *y);
}

static void row_error_sums_squares_and_finds_the_largest(void **state)
{
    (void)state;
    const float x[2 * 3] = {1, 2, 3, 4, 5, 6}, y[2 * 3] = {1, 1, 1, 4, 5, 8};
    const bm_tensor a = make_tensor(2, 3, x), b = make_tensor(2, 3, y), sums = make_tensor(2, 4, NULL);
    MUST(bm_row_error(test_device, &a, &b, &sums, &failure));
    float got[8];
    read_tensor(&sums, got);
    const float want[8] = {5, 14, 3, 2, 4, 77, 105, 2};
    assert_memory_equal(got, want, sizeof want);
}

static void wrong_shapes_are_argument_errors(void **state)
{
    (void)state;
    bm_error err = {0};
    const bm_tensor a = make_tensor(3, 5, NULL), b = make_tensor(3, 6, NULL), c = make_tensor(3, 5, NULL);
    assert_int_equal(bm_add(test_device, &a, &b, &c, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "[3, 6]"));
    assert_int_equal(bm_rmsnorm(test_device, &a, &b, 1e-5f, &c, &err), BM_E_ARGUMENT);
    const bm_tensor weight = make_tensor(1, 5, NULL);
    assert_int_equal(bm_layernorm(test_device, &a, &weight, &b, 1e-5f, &c, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "bias"));
    assert_int_equal(bm_layernorm(test_device, &a, &b, &weight, 1e-5f, &c, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_convert(test_device, &a, &b, NULL, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_gate(test_device, (bm_activation)3, &a, &a, &c, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_row_error(test_device, &a, &c, &c, &err), BM_E_ARGUMENT);
    bm_tensor wrong = a;
    wrong.stride = 6; // 24 bytes
    assert_int_equal(bm_add(test_device, &wrong, &a, &c, &err), BM_E_ARGUMENT);
    wrong.stride = 12; // beyond the view
    assert_int_equal(bm_add(test_device, &wrong, &a, &c, &err), BM_E_ARGUMENT);
    wrong = a;
    wrong.view.size = 2 * 32 + 20; // the last row without its padding, which kernels write
    assert_int_equal(bm_add(test_device, &a, &a, &wrong, &err), BM_E_ARGUMENT);
    wrong = a;
    wrong.dtype = BM_DTYPE_U32;
    assert_int_equal(bm_add(test_device, &wrong, &a, &c, &err), BM_E_ARGUMENT);
}

static void dispatches_are_kept_small(void **state)
{
    (void)state;
    assert_true(bm_chunk_rows(test_device, 1 << 20, 1) <= 2047); // below 2^31 elements
    assert_int_equal(bm_chunk_rows(test_device, 1 << 20, 1) % 4, 0);
    assert_int_equal(bm_chunk_rows(test_device, 8, 1e15), 4); // never none
    assert_int_equal(bm_chunk_groups(test_device, 0, 64), 1);
    assert_int_equal(bm_chunk_groups(test_device, 65, 64), 2);
}

static void rounds_of_loops_are_limited_by_the_device(void **state)
{
    (void)state;
    bm_device_limits *limits = &test_device->info.limits;
    const bm_device_limits real = *limits;
    bm_error err = {0};
    limits->max_loop_rounds = 0;
    assert_int_equal(bm_check_rounds(test_device, UINT64_MAX, "x", "", &err), BM_OK);
    assert_true(bm_chunk_pieces(test_device, 1, 1) == UINT64_MAX);
    limits->max_loop_rounds = 100;
    limits->max_groups[0] = 5;
    assert_int_equal(bm_check_rounds(test_device, 100, "x", "", &err), BM_OK);
    assert_int_equal(bm_check_rounds(test_device, 101, "norm: 7 rows", "fewer rows, or ", &err), BM_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "norm: 7 rows on "));
    assert_non_null(strstr(err.message, "100 rounds; use fewer rows, or OpenCL"));
    assert_int_equal(bm_chunk_pieces(test_device, 30, 4), 3 * 5 * 4); // each of 20 work-items does three
    *limits = real;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_thin_is_cut_and_complete),
        cmocka_unit_test(heads_of_a_matrix_are_rows_of_their_own),
        cmocka_unit_test(convert_names_what_it_converts),
        cmocka_unit_test(gate_is_the_activation_times_up),
        cmocka_unit_test(exponentials_are_right_over_their_range),
        cmocka_unit_test(gates_of_no_number_are_none),
        cmocka_unit_test(columns_are_shifted_and_then_scaled),
        cmocka_unit_test(embedding_in_parts_is_complete),
        cmocka_unit_test(row_error_sums_squares_and_finds_the_largest),
        cmocka_unit_test(wrong_shapes_are_argument_errors),
        cmocka_unit_test(dispatches_are_kept_small),
        cmocka_unit_test(rounds_of_loops_are_limited_by_the_device),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
