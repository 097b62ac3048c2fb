// Products with weights that stay packed codes: what they mean, for few rows and for many, and what kinds of codes may stay so.
#include "device/backend.h"
#include "ops/fixture.h"
#include "ops/gemm_codes.h"

#include <math.h>
#include <string.h>

enum { OUT = 70, IN = 144, MAX_ROWS = 11, MAX_GROUPS = IN / 16 };

static int8_t codes[OUT * IN];
static float step[OUT * MAX_GROUPS], x[MAX_ROWS * IN], bias[OUT], old[MAX_ROWS * OUT], got[MAX_ROWS * OUT];
static int32_t zero_point[OUT * MAX_GROUPS];
static uint32_t num_groups, size_of_group;

static void make_inputs(uint32_t bits, uint32_t group_size, bool symmetric)
{
    const uint32_t range = 1u << bits;
    bm_random random;
    bm_random_init(&random, bits, group_size);
    size_of_group = group_size;
    num_groups = (uint32_t)bm_divide_up(IN, group_size);
    for (uint32_t i = 0; i < OUT * IN; i++)
        codes[i] = (int8_t)((int32_t)bm_random_below(&random, range) - (int32_t)(range / 2));
    for (uint32_t i = 0; i < OUT * num_groups; i++) {
        step[i] = (float)((0.5 + bm_random_double(&random)) / range);
        zero_point[i] = symmetric ? 0 : (int32_t)bm_random_below(&random, range) - (int32_t)(range / 2);
    }
    fill_normal(&random, BM_COUNT(x), 1, x);
    fill_normal(&random, BM_COUNT(bias), 1, bias);
    fill_normal(&random, BM_COUNT(old), 1, old);
}

static double weight(uint32_t j, uint32_t l)
{
    const uint32_t at = j * num_groups + l / size_of_group;
    return (codes[j * IN + l] - zero_point[at]) * (double)step[at];
}

// In two pieces, the second first.
static bm_code_weights *make_weights(uint32_t bits, bool symmetric)
{
    bm_code_weights *w = NULL;
    MUST(bm_code_weights_create(test_device, OUT, IN, bits, size_of_group, symmetric, "w", &w, &failure));
    for (uint32_t piece = 2; piece-- > 0;) {
        const uint32_t first = piece * 32, count = piece ? OUT - 32 : 32;
        const bm_tensor some = make_typed(BM_DTYPE_I8, count, IN, codes + first * IN);
        const bm_tensor steps = make_tensor(count, num_groups, step + first * num_groups);
        const bm_tensor zeros = make_typed(BM_DTYPE_I32, count, num_groups, zero_point + first * num_groups);
        MUST(bm_code_weights_set_rows(test_device, w, first, &some, &steps, &zeros, &failure));
    }
    return w;
}

static void assert_product(uint32_t rows, bool has_bias, bool adds)
{
    for (uint32_t i = 0; i < rows * OUT; i++) {
        double sum = (has_bias ? bias[i % OUT] : 0) + (adds ? old[i] : 0), size = fabs(sum) + 1;
        for (uint32_t l = 0; l < IN; l++) {
            const double term = x[i / OUT * IN + l] * weight(i % OUT, l);
            sum += term;
            size += fabs(term);
        }
        if (!(fabs(got[i] - sum) <= (IN + 4) * 0x1p-24 * size))
            fail_msg("y[%u, %u]: got %.9g, want %.9g", i / OUT, i % OUT, got[i], sum);
    }
}

static const struct {
    uint32_t bits, group_size;
    bool symmetric;
} kinds[] = {{4, 16, false}, {4, 48, true}, {4, 128, false}, {4, IN, true},
             {8, 32, false}, {8, IN, true}, {2, 16, false}};

static void products_are_those_of_the_values(void **state)
{
    (void)state;
    static const uint32_t rows[] = {1, 2, MAX_ROWS};
    for (size_t i = 0; i < BM_COUNT(kinds); i++) {
        make_inputs(kinds[i].bits, kinds[i].group_size, kinds[i].symmetric);
        bm_code_weights *w = make_weights(kinds[i].bits, kinds[i].symmetric);
        for (size_t r = 0; r < BM_COUNT(rows); r++) {
            const bool has_bias = (i + r) % 2, adds = (i + r) % 3 == 0;
            const bm_tensor input = make_tensor(rows[r], IN, x), offset = make_tensor(1, OUT, bias);
            const bm_tensor y = make_tensor(rows[r], OUT, old);
            MUST(bm_gemm_codes(test_device, &input, w, has_bias ? &offset : NULL, adds, &y, &failure));
            read_tensor(&y, got);
            assert_product(rows[r], has_bias, adds);
        }
        bm_code_weights_destroy(&w);
        destroy_tensors();
    }
}

static void codes_become_weights(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(kinds); i++) {
        make_inputs(kinds[i].bits, kinds[i].group_size, kinds[i].symmetric);
        bm_code_weights *w = make_weights(kinds[i].bits, kinds[i].symmetric);
        bm_weights *dense = NULL;
        const bm_tensor input = make_tensor(MAX_ROWS, IN, x), y = make_tensor(MAX_ROWS, OUT, NULL);
        MUST(bm_weights_create(test_device, OUT, IN, BM_DTYPE_F32, "dense", NULL, &dense, &failure));
        MUST(bm_code_weights_dequantize(test_device, w, dense, &failure));
        MUST(bm_gemm(test_device, &input, dense, NULL, &y, &failure));
        read_tensor(&y, got);
        assert_product(MAX_ROWS, false, false);
        bm_weights_destroy(&dense);
        bm_code_weights_destroy(&w);
        destroy_tensors();
    }
}

static void other_kinds_of_codes_are_refused(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_code_weights *w = NULL;
    bm_device_limits *limits = &test_device->info.limits;
    const uint64_t real = limits->max_allocation_bytes;
    assert_true(bm_code_weights_can(test_device, OUT, 131, 4, 131));
    assert_false(bm_code_weights_can(test_device, OUT, IN, 3, 16)); // fields lie in two words
    assert_false(bm_code_weights_can(test_device, OUT, IN, 4, 24));
    assert_false(bm_code_weights_can(test_device, OUT, IN, 4, 0));
    limits->max_allocation_bytes = OUT * 80; // 18 words a row, padded to 20
    assert_true(bm_code_weights_can(test_device, OUT, IN, 4, 16));
    limits->max_allocation_bytes--;
    assert_false(bm_code_weights_can(test_device, OUT, IN, 4, 16));
    limits->max_allocation_bytes = real;
    assert_int_equal(bm_code_weights_bytes(OUT, IN, 4, 16, false), OUT * (80 + 48 + 48));
    assert_int_equal(bm_code_weights_create(test_device, OUT, IN, 3, 16, true, "w", &w, &err), BM_E_ARGUMENT);
    assert_string_equal(err.message, "w: codes of 3 bits in groups of 16, expected 2, 4 or 8 bits and groups of a "
                                     "multiple of 16");
    assert_null(w);
}

static void wrong_shapes_are_argument_errors(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_weights *dense = NULL;
    make_inputs(4, 16, true);
    bm_code_weights *w = make_weights(4, true);
    const bm_tensor input = make_tensor(1, IN, x), narrow = make_tensor(1, IN - 16, x), y = make_tensor(1, OUT, NULL);
    const bm_tensor some = make_typed(BM_DTYPE_I8, 2, IN, codes), steps = make_tensor(2, num_groups, step);
    assert_int_equal(bm_gemm_codes(test_device, &narrow, w, NULL, false, &y, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_gemm_codes(test_device, &input, w, NULL, false, &input, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_gemm_codes(test_device, &input, w, &input, false, &y, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_code_weights_set_rows(test_device, w, OUT - 1, &some, &steps, NULL, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "w: rows 69..71 of 144 columns, the weights are [70, 144]"));
    MUST(bm_weights_create(test_device, OUT, IN - 16, BM_DTYPE_F32, "dense", NULL, &dense, &failure));
    assert_int_equal(bm_code_weights_dequantize(test_device, w, dense, &err), BM_E_ARGUMENT);
    bm_weights_destroy(&dense);
    bm_code_weights_destroy(&w);
    destroy_tensors();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_the_values),
        cmocka_unit_test(codes_become_weights),
        cmocka_unit_test(other_kinds_of_codes_are_refused),
        cmocka_unit_test(wrong_shapes_are_argument_errors),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
