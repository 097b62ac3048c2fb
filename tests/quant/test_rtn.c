// Plain rounding gives the canonical form: packed codes, steps and zero points that belong together, and the error they
// make.
#include "base/half.h"
#include "ops/fixture.h"
#include "quant/method.h"

#include <math.h>
#include <string.h>

enum { ROWS = 13, COLS = 77 };
static float weights[ROWS * COLS];

static void solve(const bm_tensor *w, const bm_grid_params *grid, bm_quantized_rows *out)
{
    *out = (bm_quantized_rows){0};
    MUST(bm_method_rtn.solve(test_device, w, NULL, grid, out, &failure));
}

// Codes by the definition, in float32; the error in double.
static void check(const bm_quantized_rows *q, const float *w, const bm_grid_params *grid)
{
    const float half = (float)(1 << (grid->bits - 1));
    const uint32_t per_word = 32 / grid->bits;
    double error = 0, norm = 0;
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t c = 0; c < COLS; c++) {
            const uint32_t k = r * q->groups + c / grid->group_size;
            const float v = w[r * COLS + c], step = q->steps[k], zero = (float)q->zero_points[k];
            const float code = fminf(fmaxf(rintf(v * (1.0f / step)) + zero, -half), half - 1);
            const uint32_t word = q->words[r * q->words_per_row + c / per_word];
            assert_int_equal(word >> (grid->bits * (c % per_word)) & ((1u << grid->bits) - 1), (uint32_t)(code + half));
            const double d = (double)v - (double)((code - zero) * step);
            error += d * d;
            norm += (double)v * v;
        }
    // Row sums are float32: at most COLS roundings of positive terms.
    assert_true(fabs(q->error - error) <= COLS * 0x1p-22 * error);
    assert_true(fabs(q->norm - norm) <= COLS * 0x1p-23 * norm);
}

static void canonical_form_belongs_together(void **state)
{
    (void)state;
    static const uint32_t bits[] = {2, 4, 8}, group_sizes[] = {4, 32, COLS};
    static const bm_dtype types[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16};
    for (uint32_t i = 0; i < 36; i++) {
        const bm_grid_params grid = {.bits = bits[i % 3],
                                     .group_size = group_sizes[i / 3 % 3],
                                     .symmetric = i / 9 % 2,
                                     .search = i / 18,
                                     .scale_dtype = types[i % 3]};
        const bm_tensor w = make_tensor(ROWS, COLS, weights);
        bm_quantized_rows q;
        solve(&w, &grid, &q);
        assert_int_equal(q.rows, ROWS);
        assert_int_equal(q.cols, COLS);
        assert_int_equal(q.groups, bm_num_groups(COLS, grid.group_size));
        check(&q, weights, &grid);
        bm_quantized_rows_free(&q);
        destroy_tensors();
    }
}

static void search_lowers_the_error(void **state)
{
    (void)state;
    bm_grid_params grid = {.bits = 4, .group_size = 32, .symmetric = true, .scale_dtype = BM_DTYPE_BF16};
    const bm_tensor w = make_tensor(ROWS, COLS, weights);
    bm_quantized_rows plain, searched;
    solve(&w, &grid, &plain);
    grid.search = true;
    solve(&w, &grid, &searched);
    assert_true(searched.error < 0.95 * plain.error); // 0.8 to 0.9 for normal weights
    assert_true(searched.norm == plain.norm);
    bm_quantized_rows_free(&plain);
    bm_quantized_rows_free(&searched);
}

// The type in which the weights are stored is only a type: float16 weights give what their float32 copies give.
static void stored_type_of_weights_changes_nothing(void **state)
{
    (void)state;
    static uint16_t narrow[ROWS * COLS];
    static float wide[ROWS * COLS];
    for (uint32_t i = 0; i < ROWS * COLS; i++) {
        narrow[i] = bm_f32_to_f16(weights[i]);
        wide[i] = bm_f16_to_f32(narrow[i]);
    }
    const bm_grid_params grid = {.bits = 4, .group_size = 32, .search = true, .scale_dtype = BM_DTYPE_F16};
    const bm_tensor a = make_typed(BM_DTYPE_F16, ROWS, COLS, narrow), b = make_tensor(ROWS, COLS, wide);
    bm_quantized_rows p, q;
    solve(&a, &grid, &p);
    solve(&b, &grid, &q);
    assert_memory_equal(p.words, q.words, sizeof *p.words * ROWS * p.words_per_row);
    assert_memory_equal(p.steps, q.steps, sizeof(float) * ROWS * p.groups);
    assert_memory_equal(p.zero_points, q.zero_points, sizeof(int32_t) * ROWS * p.groups);
    assert_true(p.error == q.error);
    bm_quantized_rows_free(&p);
    bm_quantized_rows_free(&q);
}

static void zeros_have_no_error(void **state)
{
    (void)state;
    const bm_grid_params grid = {.bits = 4, .group_size = 32, .scale_dtype = BM_DTYPE_BF16};
    const bm_tensor w = make_tensor(ROWS, COLS, NULL);
    bm_quantized_rows q;
    solve(&w, &grid, &q);
    assert_true(q.error == 0 && q.norm == 0);
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t c = 0; c < COLS; c++) // a code of 0 is the field 8
            assert_int_equal(q.words[r * q.words_per_row + c / 8] >> (4 * (c % 8)) & 15, 8);
    bm_quantized_rows_free(&q);
}

static void odd_bits_and_groups_are_refused(void **state)
{
    (void)state;
    static const bm_grid_params wrong[] = {
        {.bits = 0, .group_size = 32, .symmetric = true, .scale_dtype = BM_DTYPE_F32},
        {.bits = 3, .group_size = 32, .symmetric = true, .scale_dtype = BM_DTYPE_F32},
        {.bits = 4, .group_size = 0, .symmetric = true, .scale_dtype = BM_DTYPE_F32},
        {.bits = 4, .group_size = 6, .symmetric = true, .scale_dtype = BM_DTYPE_F32},
        {.bits = 4, .group_size = 32, .symmetric = true, .scale_dtype = BM_DTYPE_I8},
    };
    const bm_tensor w = make_tensor(ROWS, COLS, weights);
    for (uint32_t i = 0; i < BM_COUNT(wrong); i++) {
        bm_error err = {0};
        bm_quantized_rows q = {0};
        assert_int_equal(bm_method_rtn.solve(test_device, &w, NULL, &wrong[i], &q, &err), BM_E_ARGUMENT);
        assert_true(err.message[0] != '\0' && q.words == NULL);
    }
}

static void methods_are_found_by_name(void **state)
{
    (void)state;
    assert_ptr_equal(bm_method_find("rtn"), &bm_method_rtn);
    assert_null(bm_method_find("RTN"));
    assert_null(bm_method_find(""));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_form_belongs_together),        cmocka_unit_test(search_lowers_the_error),
        cmocka_unit_test(stored_type_of_weights_changes_nothing), cmocka_unit_test(zeros_have_no_error),
        cmocka_unit_test(odd_bits_and_groups_are_refused),        cmocka_unit_test(methods_are_found_by_name),
    };
    bm_random random;
    bm_random_init(&random, 5, 0);
    fill_normal(&random, ROWS * COLS, 0.02, weights);
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
