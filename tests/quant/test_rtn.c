// Plain rounding gives the canonical form: codes, steps and zero points that belong together, and the error they make; with inputs
// the search by the Gram matrix finds the least output error of all its candidates.
#include "base/half.h"
#include "ops/fixture.h"
#include "quant/rtn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 13, COLS = 301 };
static float weights[ROWS * COLS];

// What one run gives, on the host.
typedef struct result {
    uint32_t groups;
    int8_t codes[ROWS * COLS];
    float rounded[ROWS * COLS], steps[ROWS * COLS];
    int32_t zero_points[ROWS * COLS];
    bm_row_errors errors;
} result;

static bm_status try_solve(const bm_tensor *w, const bm_gram *gram, const bm_method_params *params, result *out,
                           bm_error *err)
{
    bm_status status = BM_OK;
    bm_codes codes = {0};
    bm_multiplier m;
    bm_multiplier_init(&m, test_device);
    *out = (result){.groups = bm_num_groups(w->cols, params->grid.group_size ? params->grid.group_size : 1)};
    const bm_tensor rounded = make_tensor(w->rows, w->cols, NULL);
    bm_grid_params grid = params->grid;
    grid.group_size = grid.group_size ? grid.group_size : 1;
    MUST(bm_codes_create(test_device, w->rows, w->cols, &grid, &codes, &failure));
    codes.group_size = params->grid.group_size;
    bm_row_errors errors[ROWS] = {{0}};
    const bm_method_rows rows = {.weights = w, .codes = &codes, .rounded = &rounded, .errors = errors};
    BM_TRY(bm_rtn_solve_rows(&m, gram, params, &rows, err));
    out->errors = bm_row_errors_sum(errors, w->rows);
    MUST(bm_tensor_download(test_device, &codes.codes, out->codes, &failure));
    MUST(bm_tensor_download(test_device, &codes.step, out->steps, &failure));
    MUST(bm_tensor_download(test_device, &codes.zero_point, out->zero_points, &failure));
    MUST(bm_tensor_download(test_device, &rounded, out->rounded, &failure));
    MUST(bm_device_wait(test_device, &failure));
done:
    bm_codes_destroy(&codes);
    bm_multiplier_free(&m);
    return status;
}

static void solve(const bm_tensor *w, const bm_method_params *params, result *out)
{
    MUST(try_solve(w, NULL, params, out, &failure));
}

// Codes by the definition, in float32; the error in double.
static void check(const result *q, const float *w, const bm_grid_params *grid)
{
    const float half = (float)(1 << (grid->bits - 1));
    double error = 0, norm = 0;
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t c = 0; c < COLS; c++) {
            const uint32_t k = r * q->groups + c / grid->group_size;
            const float v = w[r * COLS + c], step = q->steps[k], zero = (float)q->zero_points[k];
            const float code = fminf(fmaxf(rintf(v * (1.0f / step)) + zero, -half), half - 1);
            assert_int_equal(q->codes[r * COLS + c], (int)code);
            assert_true(q->rounded[r * COLS + c] == (code - zero) * step);
            const double d = (double)v - (double)((code - zero) * step);
            error += d * d;
            norm += (double)v * v;
        }
    // Row sums are float32: at most COLS roundings of positive terms.
    assert_true(fabs(q->errors.weight_error - error) <= COLS * 0x1p-22 * error);
    assert_true(fabs(q->errors.weight_norm - norm) <= COLS * 0x1p-23 * norm);
}

static void canonical_form_belongs_together(void **state)
{
    (void)state;
    static const uint32_t bits[] = {2, 3, 4, 8}, group_sizes[] = {4, 32, 256, COLS};
    static const bm_dtype types[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16};
    for (uint32_t i = 0; i < 128; i += support_is_instrumented() ? 7 : 1) {
        const bm_method_params params = {.grid = {.bits = bits[i % 4],
                                                  .group_size = group_sizes[i / 4 % 4],
                                                  .symmetric = i / 16 % 2,
                                                  .signed_scales = i / 64,
                                                  .scale_dtype = types[i % 3]},
                                         .scale_search = i / 32 % 2 ? BM_SEARCH_MSE : BM_SEARCH_ABS_MAX};
        const bm_tensor w = make_tensor(ROWS, COLS, weights);
        static result q;
        solve(&w, &params, &q);
        assert_int_equal(q.groups, bm_num_groups(COLS, params.grid.group_size));
        check(&q, weights, &params.grid);
        destroy_tensors();
    }
}

static void search_lowers_the_error(void **state)
{
    (void)state;
    bm_method_params params = {.grid = {.bits = 4, .group_size = 32, .symmetric = true, .scale_dtype = BM_DTYPE_BF16}};
    const bm_tensor w = make_tensor(ROWS, COLS, weights);
    static result plain, searched, with_signs;
    solve(&w, &params, &plain);
    params.scale_search = BM_SEARCH_MSE;
    solve(&w, &params, &searched);
    params.grid.signed_scales = true;
    solve(&w, &params, &with_signs);
    assert_true(searched.errors.weight_error < 0.95 * plain.errors.weight_error);      // 0.8 to 0.9 for normal weights
    assert_true(with_signs.errors.weight_error < 0.97 * searched.errors.weight_error); // 0.85 to 0.95
    assert_true(searched.errors.weight_norm == plain.errors.weight_norm);
    uint32_t negative = 0;
    for (uint32_t k = 0; k < ROWS * with_signs.groups; k++)
        negative += with_signs.steps[k] < 0;
    assert_true(negative > ROWS * with_signs.groups / 4 && negative < ROWS * with_signs.groups * 3 / 4);
}

// With inputs: for each row and group the least output error over all candidates, tried one by one in double.
static void gram_search_finds_the_least_output_error(void **state)
{
    (void)state;
    enum { TOKENS = 50, GROUP = 32 };
    static float inputs[TOKENS * COLS];
    static double hessian[COLS * COLS];
    bm_random random;
    bm_random_init(&random, 5, 0);
    fill_normal(&random, TOKENS * COLS, 1, inputs);
    for (uint32_t t = 0; t < TOKENS; t++)
        for (uint32_t c = 1; c < COLS; c++)
            inputs[t * COLS + c] += 0.8f * inputs[t * COLS + c - 1];
    memset(hessian, 0, sizeof hessian);
    for (uint32_t t = 0; t < TOKENS; t++)
        for (uint32_t i = 0; i < COLS; i++)
            for (uint32_t j = 0; j < COLS; j++)
                hessian[i * COLS + j] += (double)inputs[t * COLS + i] * (double)inputs[t * COLS + j];
    const bm_method_params params = {
        .grid = {.bits = 3, .group_size = GROUP, .symmetric = true, .signed_scales = true, .scale_dtype = BM_DTYPE_F16},
        .scale_search = BM_SEARCH_GRAM};
    bm_multiplier m;
    bm_multiplier_init(&m, test_device);
    bm_gram gram = {0};
    const bm_tensor x = make_tensor(TOKENS, COLS, inputs), w = make_tensor(ROWS, COLS, weights);
    MUST(bm_gram_create(test_device, COLS, false, &gram, &failure));
    MUST(bm_gram_add(&m, &gram, &x, NULL, &failure));
    MUST(bm_gram_finish(test_device, &gram, NULL, &failure));
    static result q;
    MUST(try_solve(&w, &gram, &params, &q, &failure));
    double output_error = 0;
    for (uint32_t r = 0; r < ROWS; r++) {
        double whole[COLS];
        for (uint32_t first = 0; first < COLS; first += GROUP) {
            const uint32_t end = first + GROUP < COLS ? first + GROUP : COLS;
            double peak = 0, least = INFINITY, found = 0;
            for (uint32_t c = first; c < end; c++)
                peak = fmax(peak, fabs((double)weights[r * COLS + c]));
            for (int i = -86; i <= 86; i++) { // the step that was found, then all candidates
                const double factor = i == 0 ? 0 : (i < 0 ? -1 : 1) * (1.05 - 0.01 * (abs(i) - 1));
                const double step = i == 0 ? (double)q.steps[r * q.groups + first / GROUP]
                                           : (double)bm_f16_to_f32(bm_f32_to_f16((float)(peak * factor / 3)));
                double d[GROUP] = {0}, loss = 0;
                for (uint32_t c = first; c < end; c++) {
                    const double v = (double)weights[r * COLS + c];
                    d[c - first] = v - fmin(fmax(rint(v / step), -4), 3) * step;
                }
                for (uint32_t a = first; a < end; a++)
                    for (uint32_t b = first; b < end; b++)
                        loss += d[a - first] * hessian[a * COLS + b] * d[b - first];
                if (i == 0)
                    found = loss;
                least = fmin(least, loss);
            }
            assert_true(found <= least * (1 + 1e-4) + 1e-9);
        }
        for (uint32_t c = 0; c < COLS; c++)
            whole[c] = (double)weights[r * COLS + c] - (double)q.rounded[r * COLS + c];
        for (uint32_t a = 0; a < COLS; a++)
            for (uint32_t b = 0; b < COLS; b++)
                output_error += whole[a] * hessian[a * COLS + b] * whole[b];
    }
    assert_true(fabs(output_error - q.errors.output_error) <= 1e-4 * output_error);
    assert_true(q.errors.output_error_rounding == q.errors.output_error);
    bm_gram_destroy(&gram);
    bm_multiplier_free(&m);
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
    const bm_method_params params = {.grid = {.bits = 4, .group_size = 32, .scale_dtype = BM_DTYPE_F16},
                                     .scale_search = BM_SEARCH_MSE};
    const bm_tensor a = make_typed(BM_DTYPE_F16, ROWS, COLS, narrow), b = make_tensor(ROWS, COLS, wide);
    static result p, q;
    solve(&a, &params, &p);
    solve(&b, &params, &q);
    assert_memory_equal(p.codes, q.codes, sizeof p.codes);
    assert_memory_equal(p.steps, q.steps, sizeof(float) * ROWS * p.groups);
    assert_memory_equal(p.zero_points, q.zero_points, sizeof(int32_t) * ROWS * p.groups);
    assert_true(p.errors.weight_error == q.errors.weight_error);
}

static void zeros_have_no_error(void **state)
{
    (void)state;
    const bm_method_params params = {.grid = {.bits = 4, .group_size = 32, .scale_dtype = BM_DTYPE_BF16}};
    const bm_tensor w = make_tensor(ROWS, COLS, NULL);
    static result q;
    solve(&w, &params, &q);
    assert_true(q.errors.weight_error == 0 && q.errors.weight_norm == 0);
    for (uint32_t k = 0; k < ROWS * COLS; k++)
        assert_int_equal(q.codes[k], 0);
}

static void odd_bits_and_groups_are_refused(void **state)
{
    (void)state;
    static const bm_grid_params wrong[] = {
        {.bits = 0, .group_size = 32, .symmetric = true, .scale_dtype = BM_DTYPE_F32},
        {.bits = 9, .group_size = 32, .symmetric = true, .scale_dtype = BM_DTYPE_F32},
        {.bits = 4, .group_size = 0, .symmetric = true, .scale_dtype = BM_DTYPE_F32},
        {.bits = 4, .group_size = 6, .symmetric = true, .scale_dtype = BM_DTYPE_F32},
        {.bits = 4, .group_size = 32, .symmetric = true, .scale_dtype = BM_DTYPE_I8},
    };
    const bm_tensor w = make_tensor(ROWS, COLS, weights);
    for (uint32_t i = 0; i < BM_COUNT(wrong); i++) {
        bm_error err = {0};
        static result q;
        const bm_method_params params = {.grid = wrong[i]};
        assert_int_equal(try_solve(&w, NULL, &params, &q, &err), BM_E_ARGUMENT);
        assert_true(err.message[0] != '\0');
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_form_belongs_together),
        cmocka_unit_test(search_lowers_the_error),
        cmocka_unit_test(gram_search_finds_the_least_output_error),
        cmocka_unit_test(stored_type_of_weights_changes_nothing),
        cmocka_unit_test(zeros_have_no_error),
        cmocka_unit_test(odd_bits_and_groups_are_refused),
    };
    bm_random random;
    bm_random_init(&random, 5, 0);
    fill_normal(&random, ROWS * COLS, 0.02, weights);
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
