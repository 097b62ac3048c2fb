// Nested steps: what is stored makes the steps, the search loses less than the ranges, known answers, and codes that belong to them by
// rounding and by GPTQ.
#include "quant/problem.h"

#include "base/half.h"
#include "ops/elementwise.h"
#include "quant/gptq_reference.h"
#include "quant/rtn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 5, COLS = 512, SUPERS = COLS / 256 };

static const struct {
    uint32_t bits;
    bool symmetric;
} types[] = {{4, false}, {5, false}, {6, true}};

static bm_grid_params grid_of(size_t type)
{
    return (bm_grid_params){.bits = types[type].bits,
                            .group_size = types[type].symmetric ? 16 : 32,
                            .symmetric = types[type].symmetric,
                            .scale_dtype = BM_DTYPE_F16,
                            .nested = true};
}

// All of a linear's codes, on the host.
typedef struct found {
    uint32_t groups, size;
    float step[ROWS * COLS / 16], offset[ROWS * COLS / 16], unit[ROWS * SUPERS], min_unit[ROWS * SUPERS];
    int8_t scale[ROWS * COLS / 16], minimum[ROWS * COLS / 16], codes[ROWS * COLS];
    int32_t zero_point[ROWS * COLS / 16];
} found;

static void download(const bm_codes *codes, bool has_codes, found *out)
{
    const bm_nested_steps *n = &codes->nested;
    memset(out, 0, sizeof *out);
    out->groups = (uint32_t)codes->step.cols;
    out->size = codes->group_size;
    MUST(bm_tensor_download(test_device, &codes->step, out->step, &failure));
    MUST(bm_tensor_download(test_device, &codes->zero_point, out->zero_point, &failure));
    MUST(bm_tensor_download(test_device, &n->scale, out->scale, &failure));
    MUST(bm_tensor_download(test_device, &n->unit, out->unit, &failure));
    if (has_codes)
        MUST(bm_tensor_download(test_device, &codes->codes, out->codes, &failure));
    if (!codes->symmetric) {
        MUST(bm_tensor_download(test_device, &n->minimum, out->minimum, &failure));
        MUST(bm_tensor_download(test_device, &n->min_unit, out->min_unit, &failure));
        MUST(bm_tensor_download(test_device, &n->offset, out->offset, &failure));
    }
    MUST(bm_device_wait(test_device, &failure));
}

// Steps and offsets are those that the stored numbers make, which lie in their ranges.
static void check_stored(const found *f, bool symmetric)
{
    for (uint32_t k = 0; k < ROWS * f->groups; k++) {
        const uint32_t super = k * f->size / 256;
        const int8_t scale = f->scale[k], minimum = f->minimum[k];
        assert_true(f->unit[super] > 0 && f->unit[super] == bm_f16_to_f32(bm_f32_to_f16(f->unit[super])));
        assert_true(f->step[k] == (float)scale * f->unit[super]);
        assert_true(symmetric ? scale != 0 && scale >= -127 : scale >= 1 && scale <= 63);
        if (symmetric)
            continue;
        assert_true(f->min_unit[super] >= 0 && f->min_unit[super] == bm_f16_to_f32(bm_f32_to_f16(f->min_unit[super])));
        assert_true(f->offset[k] == (float)minimum * f->min_unit[super]);
        assert_true(minimum >= 0 && minimum <= 63 && (f->min_unit[super] > 0 || minimum == 0));
    }
}

// Weighted squared errors of the nearest codes, of each 256 columns of each row.
static void errors_of(const found *f, size_t type, const float *w, const float *weights, double out[ROWS * SUPERS])
{
    const double low = types[type].symmetric ? -32 : 0, high = low + (1 << types[type].bits) - 1;
    memset(out, 0, ROWS * SUPERS * sizeof *out);
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t c = 0; c < COLS; c++) {
            const uint32_t k = r * f->groups + c / f->size;
            const double step = (double)f->step[k], v = (double)w[r * COLS + c] + (double)f->offset[k];
            const double d = v - fmin(fmax(rint(v / step), low), high) * step;
            out[r * SUPERS + c / 256] += d * d * (weights ? (double)weights[c] : 1);
        }
}

static void search(const bm_tensor *w, size_t type, bool searches, const bm_tensor *weights, found *out)
{
    const bm_grid_params grid = grid_of(type);
    bm_codes codes = {0};
    MUST(bm_codes_create(test_device, ROWS, COLS, &grid, &codes, &failure));
    const bm_nested_params params = {grid.bits, grid.symmetric, searches, false};
    MUST(bm_nested_search(test_device, w, &params, weights, 0, &codes.step, &codes.nested, &failure));
    download(&codes, false, out);
    check_stored(out, grid.symmetric);
    bm_codes_destroy(&codes);
}

static void search_is_never_worse_than_the_ranges(void **state)
{
    (void)state;
    static float w[ROWS * COLS], weights[COLS];
    static found plain, searched;
    bm_random random;
    bm_random_init(&random, 3, 0);
    fill_normal(&random, ROWS * COLS, 0.03, w);
    fill_normal(&random, COLS, 1, weights);
    for (uint32_t c = 0; c < COLS; c++) {
        weights[c] = c % 9 == 4 ? 0 : expf(weights[c]);
        w[COLS + c] += 0.05f;               // no negative end
        w[2 * COLS + c] -= 0.2f;            // far from 0
        w[3 * COLS + c] *= c < 40 ? 50 : 1; // one part is larger than the others
    }
    for (size_t type = 0; type < BM_COUNT(types); type++)
        for (uint32_t weighs = 0; weighs < 2; weighs++) {
            double of_plain[ROWS * SUPERS], of_searched[ROWS * SUPERS], sum_plain = 0, sum_searched = 0;
            const bm_tensor tensor = make_tensor(ROWS, COLS, w), counts = make_tensor(1, COLS, weights);
            search(&tensor, type, false, weighs ? &counts : NULL, &plain);
            search(&tensor, type, true, weighs ? &counts : NULL, &searched);
            errors_of(&plain, type, w, weighs ? weights : NULL, of_plain);
            errors_of(&searched, type, w, weighs ? weights : NULL, of_searched);
            for (uint32_t k = 0; k < ROWS * SUPERS; k++) {
                assert_true(of_searched[k] <= of_plain[k] * (1 + 1e-5));
                sum_plain += k / SUPERS == 0 ? of_plain[k] : 0; // of normal weights alone
                sum_searched += k / SUPERS == 0 ? of_searched[k] : 0;
            }
            if (!(sum_searched < 0.9 * sum_plain))
                fail_msg("type %zu: error %g, by ranges %g", type, sum_searched, sum_plain);
            destroy_tensors();
        }
}

// Weights that lie on a grid, one of every code: scales 7 (g + 1) + 7 up to 63, minimums 9 g up to 63 of units 2^-10 and 2^-9.
static void weights_on_a_grid_have_its_steps(void **state)
{
    (void)state;
    static float w[ROWS * COLS];
    static found f;
    for (uint32_t i = 0; i < ROWS * COLS; i++) {
        const uint32_t g = i % 256 / 32;
        w[i] = ldexpf((float)(7 * g + 14) * (float)(i % 16), -10) - ldexpf((float)(9 * g), -9);
    }
    const bm_tensor tensor = make_tensor(ROWS, COLS, w);
    search(&tensor, 0, false, NULL, &f);
    for (uint32_t k = 0; k < ROWS * f.groups; k++) {
        const uint32_t g = k % 8;
        assert_int_equal(f.scale[k], 7 * g + 14);
        assert_int_equal(f.minimum[k], 9 * g);
        assert_true(f.unit[k / 8] == 0x1p-10f && f.min_unit[k / 8] == 0x1p-9f);
    }
    for (uint32_t i = 0; i < ROWS * COLS; i++) { // of 16 the scale is 7 g + 22, the largest 127
        const uint32_t g = i % 256 / 16;
        w[i] = ldexpf((float)(7 * g + 22) * ((float)(i % 16) * 4 - 31 + (float)(i % 2)), -12);
    }
    destroy_tensors();
    const bm_tensor other = make_tensor(ROWS, COLS, w);
    search(&other, 2, false, NULL, &f);
    for (uint32_t k = 0; k < ROWS * f.groups; k++) {
        assert_int_equal(f.scale[k], 7 * (k % 16) + 22);
        assert_true(f.unit[k / 16] == 0x1p-12f);
    }
    destroy_tensors();
}

static void zeros_have_units_and_no_offsets(void **state)
{
    (void)state;
    static found f;
    for (size_t type = 0; type < BM_COUNT(types); type++) {
        const bm_tensor tensor = make_tensor(ROWS, COLS, NULL);
        search(&tensor, type, true, NULL, &f);
        for (uint32_t k = 0; k < ROWS * f.groups; k++)
            assert_true(f.step[k] == 1 && f.offset[k] == 0);
        destroy_tensors();
    }
}

// Codes lie in their range, and step code - offset is what the method says the weights became.
static void check_codes(const found *f, size_t type, const float *rounded)
{
    const int low = types[type].symmetric ? -32 : 0;
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t c = 0; c < COLS; c++) {
            const uint32_t k = r * f->groups + c / f->size;
            const int code = f->codes[r * COLS + c] - f->zero_point[k];
            assert_true(code >= low && code < low + (1 << types[type].bits));
            assert_true(rounded[r * COLS + c] == (float)code * f->step[k] - f->offset[k]);
        }
}

static void rounding_gives_the_nearest_codes(void **state)
{
    (void)state;
    static float w[ROWS * COLS], rounded[ROWS * COLS];
    static found f;
    bm_random random;
    bm_random_init(&random, 5, 0);
    fill_normal(&random, ROWS * COLS, 0.02, w);
    for (size_t type = 0; type < BM_COUNT(types); type++) {
        const bm_method_params params = {.grid = grid_of(type), .scale_search = BM_SEARCH_MSE};
        bm_row_errors errors[ROWS] = {{0}};
        double of_blocks[ROWS * SUPERS], sum = 0;
        bm_codes codes = {0};
        bm_multiplier m;
        bm_multiplier_init(&m, test_device);
        const bm_tensor weights = make_tensor(ROWS, COLS, w), values = make_tensor(ROWS, COLS, NULL);
        MUST(bm_codes_create(test_device, ROWS, COLS, &params.grid, &codes, &failure));
        const bm_method_rows rows = {.weights = &weights, .codes = &codes, .rounded = &values, .errors = errors};
        MUST(bm_rtn_solve_rows(&m, NULL, &params, &rows, &failure));
        download(&codes, true, &f);
        read_tensor(&values, rounded);
        check_stored(&f, params.grid.symmetric);
        check_codes(&f, type, rounded);
        errors_of(&f, type, w, NULL, of_blocks);
        for (uint32_t k = 0; k < ROWS * SUPERS; k++)
            sum += of_blocks[k];
        const double told = bm_row_errors_sum(errors, ROWS).weight_error;
        assert_true(fabs(told - sum) <= 1e-4 * sum);
        bm_codes_destroy(&codes);
        bm_multiplier_free(&m);
        destroy_tensors();
    }
}

// In the Hessian's norm, of the weights that the codes say.
static double output_error(const problem *p, const float *rounded)
{
    double sum = 0;
    double *row = allocate(p->channels, sizeof *row);
    for (uint32_t r = 0; r < p->rows; r++) {
        for (uint32_t c = 0; c < p->channels; c++)
            row[c] = (double)rounded[r * p->channels + c];
        sum += gptq_reference_error(p->wide + (size_t)r * p->channels, row, p->hessian, p->channels);
    }
    free(row);
    return sum;
}

static void gptq_loses_less_than_rounding(void **state)
{
    (void)state;
    static float rounded[ROWS * COLS];
    static found f;
    problem p = {.rows = ROWS, .channels = COLS, .tokens = 700};
    bm_multiplier m;
    bm_gram gram = {0};
    if (support_is_instrumented())
        skip(); // the factor and column loops are long there
    make_problem(&p, 11);
    bm_multiplier_init(&m, test_device);
    watch_problem(&m, &p, &gram);
    for (uint32_t order = BM_COLUMN_ORDER_NONE; order <= BM_COLUMN_ORDER_STATIC; order++) {
        bm_inverse_factor factor = {0};
        MUST(bm_inverse_factor_create(&m, &gram, 0, order > 0, &factor, &failure));
        for (size_t type = 0; type < BM_COUNT(types); type++) {
            double error[2];
            for (uint32_t by_gptq = 0; by_gptq < 2; by_gptq++) {
                const bm_method_params params = {.grid = grid_of(type),
                                                 .scale_search = BM_SEARCH_WEIGHTED_MSE,
                                                 .act_order = (bm_column_order)order,
                                                 .code_sweeps = type == 0,
                                                 .scale_refit = type != 1};
                bm_row_errors errors[ROWS] = {{0}};
                bm_codes codes = {0};
                const bm_tensor weights = make_tensor(ROWS, COLS, p.weights), values = make_tensor(ROWS, COLS, NULL);
                MUST(bm_codes_create(test_device, ROWS, COLS, &params.grid, &codes, &failure));
                const bm_method_rows rows = {
                    .weights = &weights, .codes = &codes, .rounded = &values, .errors = errors};
                MUST(by_gptq ? bm_gptq_rows_solve(&m, &gram, &factor, &params, &rows, &failure)
                             : bm_rtn_solve_rows(&m, &gram, &params, &rows, &failure));
                download(&codes, true, &f);
                read_tensor(&values, rounded);
                check_stored(&f, params.grid.symmetric);
                check_codes(&f, type, rounded);
                error[by_gptq] = output_error(&p, rounded);
                const bm_row_errors told = bm_row_errors_sum(errors, ROWS);
                assert_true(fabs(told.output_error - error[by_gptq]) <= 2e-3 * error[by_gptq]);
                assert_true(told.output_error <= told.output_error_rounding * 1.001);
                bm_codes_destroy(&codes);
            }
            if (!(error[1] < 0.8 * error[0]))
                fail_msg("type %zu, order %u: error %g, by rounding %g", type, order, error[1], error[0]);
        }
        bm_inverse_factor_destroy(&factor);
    }
    bm_gram_destroy(&gram);
    bm_multiplier_free(&m);
    free_problem(&p);
    destroy_tensors();
}

static void shapes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    bm_codes codes = {0};
    bm_grid_params grid = grid_of(0);
    assert_int_equal(bm_codes_create(test_device, ROWS, 384, &grid, &codes, &failure), BM_E_ARGUMENT);
    grid.group_size = 64;
    assert_int_equal(bm_codes_create(test_device, ROWS, COLS, &grid, &codes, &failure), BM_E_ARGUMENT);
    grid.group_size = 32;
    MUST(bm_codes_create(test_device, ROWS, COLS, &grid, &codes, &failure));
    const bm_tensor w = make_tensor(ROWS, COLS, NULL), narrow = make_tensor(ROWS, 100, NULL);
    bm_nested_params params = {4, false, true, false};
    assert_int_equal(bm_nested_search(test_device, &narrow, &params, NULL, 0, &codes.step, &codes.nested, &failure),
                     BM_E_ARGUMENT);
    assert_int_equal(bm_nested_search(test_device, &w, &params, NULL, 1, &codes.step, &codes.nested, &failure),
                     BM_E_ARGUMENT);
    assert_int_equal(bm_group_shift(test_device, &w, &codes.nested.offset, 1, 32, 1, &failure), BM_E_ARGUMENT);
    params.bits = 8;
    assert_int_equal(bm_nested_search(test_device, &w, &params, NULL, 0, &codes.step, &codes.nested, &failure),
                     BM_E_ARGUMENT);
    bm_codes_destroy(&codes);
    destroy_tensors();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(search_is_never_worse_than_the_ranges), cmocka_unit_test(weights_on_a_grid_have_its_steps),
        cmocka_unit_test(zeros_have_units_and_no_offsets),       cmocka_unit_test(rounding_gives_the_nearest_codes),
        cmocka_unit_test(gptq_loses_less_than_rounding),         cmocka_unit_test(shapes_that_do_not_fit_are_refused),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
