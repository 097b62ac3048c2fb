// Normalized columns: numbers worked by hand, float64 over linears in parts, weights that take several slices, what is not a
// number, and the arguments that are refused.
#include "quant/normalized_columns.h"
#include "base/half.h"
#include "device/backend.h"
#include "ops/fixture.h"
#include "ops/rounding.h"

#include <math.h>
#include <stdlib.h>

static const bm_gemm_choice plain = {.name = "masters", .form = BM_GEMM_ROWS, .group = 64, .slice = 8, .gflops = 1};

enum { MAX_LINEARS = 3 };

// In groups of one size.
static bm_status normalize(bm_weights *const *w, uint32_t num_linears, uint32_t group_size, double *out, bm_error *err)
{
    bm_grid_params grids[MAX_LINEARS];
    for (uint32_t l = 0; l < MAX_LINEARS; l++)
        grids[l] = (bm_grid_params){.group_size = group_size};
    return bm_normalized_columns(test_device, (const bm_weights *const *)w, num_linears, grids, out, err);
}

// A linear of zeros. rows_a_part: 0: all in one part.
static bm_weights *make_linear(uint32_t rows, uint32_t cols, bm_dtype dtype, uint32_t rows_a_part)
{
    bm_weights *w = NULL;
    const uint64_t limit = test_device->info.limits.max_allocation_bytes;
    if (rows_a_part)
        test_device->info.limits.max_allocation_bytes =
            rows_a_part * bm_tensor_stride(dtype, cols) * bm_dtype_size(dtype);
    MUST(bm_weights_create(test_device, rows, cols, dtype, "linear", &plain, &w, &failure));
    test_device->info.limits.max_allocation_bytes = limit;
    assert_int_equal(w->num_parts, rows_a_part ? bm_divide_up(rows, rows_a_part) : 1);
    return w;
}

static void set_rows(bm_weights *w, uint32_t first, uint32_t count, const float *values)
{
    const bm_tensor staged = make_tensor(count, w->in_features, values);
    MUST(bm_weights_set_rows(test_device, w, first, &staged, &failure));
    destroy_tensors();
}

// Two linears of 2 rows and 1. Of groups of 4, the last has 2 channels, and two of the six are zeros.
static void two_linears_by_hand(void **state)
{
    (void)state;
    static const float first[] = {1, -2, 4, 0, 8, -2, 0, 0, 0, 0, -1, 0.5f}, second[] = {-4, 2, 1, -1, 0, 0};
    // Rows in groups:  0.25 0.5 1 0 | 1 0.25     0 0 0 0 | 1 0.5     1 0.5 0.25 0.25 | 0 0
    static const double groups[] = {1.25, 1, 1.25, 0.25, 2, 0.75};
    // Rows alone:      0.125 0.25 0.5 0 1 0.25   0 0 0 0 1 0.5       1 0.5 0.25 0.25 0 0
    static const double rows[] = {1.125, 0.75, 0.75, 0.25, 2, 0.75};
    bm_weights *w[] = {make_linear(2, 6, BM_DTYPE_F32, 0), make_linear(1, 6, BM_DTYPE_F32, 0)};
    double got[6];
    set_rows(w[0], 0, 2, first);
    set_rows(w[1], 0, 1, second);
    MUST(normalize(w, 2, 4, got, &failure));
    for (uint32_t c = 0; c < 6; c++)
        assert_true(got[c] == groups[c] / 3);
    MUST(normalize(w, 2, 6, got, &failure));
    for (uint32_t c = 0; c < 6; c++)
        assert_true(got[c] == rows[c] / 3);
    MUST(normalize(w + 1, 1, 4, got, &failure));
    for (uint32_t c = 0; c < 6; c++)
        assert_true(got[c] == (double)fabsf(second[c]) / 4);
    // Each in groups of its own: the second is the same in rows and in groups.
    static const bm_grid_params own[] = {{.group_size = 4}, {.group_size = 6}};
    const bm_weights *const turned[] = {w[1], w[0]};
    MUST(bm_normalized_columns(test_device, turned, 2, own, got, &failure));
    for (uint32_t c = 0; c < 6; c++)
        assert_true(got[c] == rows[c] / 3);
    MUST(bm_normalized_columns(test_device, (const bm_weights *const *)w, 2, own, got, &failure));
    for (uint32_t c = 0; c < 6; c++)
        assert_true(got[c] == groups[c] / 3);
    bm_weights_destroy(&w[0]);
    bm_weights_destroy(&w[1]);
}

typedef struct columns_case {
    uint32_t channels, group_size, num_linears;
    uint32_t rows[MAX_LINEARS];
    uint32_t rows_a_part; // a multiple of 64
    bm_dtype dtype;
} columns_case;

// Rows of weights as their type holds them, and what they add to sums [channels].
static void add_rows(const columns_case *t, bm_random *random, bm_weights *w, double *sums)
{
    const uint32_t count = (uint32_t)w->out_features, cols = t->channels;
    float *values = malloc(sizeof(float) * count * cols);
    assert_non_null(values);
    fill_normal(random, (uint64_t)count * cols, 0.02, values);
    set_rows(w, 0, count, values);
    for (uint32_t k = 0; k < count * cols; k++) {
        if (t->dtype == BM_DTYPE_F16)
            values[k] = bm_f16_to_f32(bm_f32_to_f16(values[k]));
        if (t->dtype == BM_DTYPE_BF16)
            values[k] = bm_bf16_to_f32(bm_f32_to_bf16(values[k]));
    }
    for (uint32_t r = 0; r < count; r++)
        for (uint32_t first = 0; first < cols; first += t->group_size) {
            const float *row = values + (size_t)r * cols;
            double peak = 0;
            for (uint32_t c = first; c < cols && c < first + t->group_size; c++)
                peak = fmax(peak, fabs((double)row[c]));
            for (uint32_t c = first; c < cols && c < first + t->group_size; c++)
                sums[c] += fabs((double)row[c]) / peak;
        }
    free(values);
}

// Off by a quotient's two roundings and those of a sum: see bm_column_range.
static void means_are_those_of_float64(void **state)
{
    (void)state;
    static const columns_case cases[] = {
        {1, 1, 1, {1}, 0, BM_DTYPE_F32},
        {13, 4, 2, {5, 70}, 0, BM_DTYPE_F32},
        {37, 37, 3, {1, 200, 129}, 64, BM_DTYPE_F32},
        {64, 32, 2, {300, 65}, 128, BM_DTYPE_F16},
        {130, 128, 1, {190}, 64, BM_DTYPE_BF16},
        {3, 3, 1, {1000}, 192, BM_DTYPE_F32},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const columns_case *t = &cases[i];
        bm_weights *w[MAX_LINEARS] = {0};
        double sums[130] = {0}, got[130];
        uint32_t rows = 0;
        bm_random random;
        bm_random_init(&random, i, 0);
        for (uint32_t l = 0; l < t->num_linears; l++) {
            w[l] = make_linear(t->rows[l], t->channels, t->dtype, t->rows[l] > t->rows_a_part ? t->rows_a_part : 0);
            add_rows(t, &random, w[l], sums);
            rows += t->rows[l];
        }
        MUST(normalize(w, t->num_linears, t->group_size, got, &failure));
        for (uint32_t c = 0; c < t->channels; c++) {
            const double want = sums[c] / rows, rounding = 0x1p-23 + 0x1p-24 * (64 + rows / 64.0);
            if (!(fabs(got[c] - want) <= rounding * want))
                fail_msg("case %zu, channel %u: %.17g, expected %.17g", i, c, got[c], want);
        }
        for (uint32_t l = 0; l < t->num_linears; l++)
            bm_weights_destroy(&w[l]);
    }
}

// Rows so long that a slice has 128 of them, in groups of 8: of row r, as many channels have half of the largest as r / 64 says.
static void slices_are_added(void **state)
{
    (void)state;
    enum { ROWS = 200, COLS = 1 << 16, BLOCK = 64, GROUP = 8 };
    bm_weights *w = make_linear(ROWS, COLS, BM_DTYPE_F32, 0);
    float *values = malloc(sizeof(float) * BLOCK * COLS);
    double *got = malloc(sizeof(double) * COLS);
    assert_true(values && got);
    for (uint32_t first = 0; first < ROWS; first += BLOCK) {
        const uint32_t count = (uint32_t)bm_min_u64(BLOCK, ROWS - first);
        for (uint32_t k = 0; k < count * COLS; k++)
            values[k] = k % GROUP < first / BLOCK ? -1 : 2;
        set_rows(w, first, count, values);
    }
    const uint64_t told = bm_normalized_columns_bytes(ROWS, COLS, GROUP);
    assert_true(told <= UINT64_C(64) << 20 && told == bm_normalized_columns_bytes(128, COLS, GROUP));
    MUST(bm_device_wait(test_device, &failure));
    const uint64_t before = test_device->peak_bytes = bm_device_live_bytes(test_device);
    MUST(normalize(&w, 1, GROUP, got, &failure));
    assert_true(test_device->peak_bytes - before <= told + 24 * 4096); // what a driver rounds up to
    for (uint32_t c = 0; c < COLS; c++) {
        const uint32_t full = (uint32_t)bm_min_u64(ROWS, (c % GROUP + 1) * BLOCK);
        assert_true(got[c] == (full + 0.5 * (ROWS - full)) / ROWS);
    }
    free(values);
    free(got);
    bm_weights_destroy(&w);
}

// A NaN is seen in its column and reaches no other group; weights of zeros give zeros.
static void what_is_not_a_number_is_seen(void **state)
{
    (void)state;
    enum { COLS = 8 };
    static const float values[2 * COLS] = {1, 2, NAN, 1, 4, 2, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    bm_weights *w = make_linear(2, COLS, BM_DTYPE_F32, 0);
    double got[COLS];
    MUST(normalize(&w, 1, 4, got, &failure));
    for (uint32_t c = 0; c < COLS; c++)
        assert_true(got[c] == 0);
    MUST(bm_tensor_upload(test_device, &w->parts[0], values, &failure));
    MUST(normalize(&w, 1, 4, got, &failure));
    assert_true(isnan(got[2]));
    assert_true(got[4] == 1 && got[5] == 0.75 && got[6] == 0.625 && got[7] == 0.5);
    bm_weights_destroy(&w);
}

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    const bm_gemm_choice panels = {.form = BM_GEMM_PANELS, .group = 8, .rows = 16, .panel_cols = 16, .reason = ""};
    bm_weights *w = make_linear(4, 8, BM_DTYPE_F32, 0), *other = make_linear(4, 12, BM_DTYPE_F32, 0), *packed = NULL;
    double got[12];
    MUST(bm_weights_create(test_device, 16, 8, BM_DTYPE_F32, "packed", &panels, &packed, &failure));
    const struct {
        bm_weights *linears[2];
        uint32_t num_linears, group_size;
        const char *words;
    } calls[] = {
        {{w}, 0, 4, "normalized columns: expected linears, found none"},
        {{w}, 1, 0, "normalized columns: group_size 0"},
        {{w}, 1, 6, "group_range: group_size 6, expected a multiple of 4 or all 8 columns"},
        {{w, other}, 2, 4, "linear: 12 input features, expected the 8 of linear"},
        {{w, packed}, 2, 4, "packed: weights for normalized columns are in panels, expected plain rows"},
    };
    for (size_t i = 0; i < BM_COUNT(calls); i++) {
        bm_error err = {0};
        assert_int_equal(normalize(calls[i].linears, calls[i].num_linears, calls[i].group_size, got, &err),
                         BM_E_ARGUMENT);
        assert_string_equal(err.message, calls[i].words);
    }
    bm_weights_destroy(&w);
    bm_weights_destroy(&other);
    bm_weights_destroy(&packed);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_linears_by_hand),
        cmocka_unit_test(means_are_those_of_float64),
        cmocka_unit_test(slices_are_added),
        cmocka_unit_test(what_is_not_a_number_is_seen),
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
