// Rounding of matrices: known answers, degenerate groups, the search against brute force, and the arguments that are
// refused.
#include "base/half.h"
#include "ops/fixture.h"
#include "ops/rounding.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { MAX_COLS = 320, MAX_ROWS = 24, MAX_GROUPS = 16 };

// A matrix, its grid and its codes, on the device and here.
typedef struct quantized {
    bm_tensor w, step, zero_point, codes;
    uint32_t rows, cols, groups;
    float steps[MAX_ROWS * MAX_GROUPS];
    int32_t zero_points[MAX_ROWS * MAX_GROUPS];
    int8_t values[MAX_ROWS * MAX_COLS];
} quantized;

static void quantize(quantized *q, const float *w, uint32_t rows, uint32_t cols, const bm_grid_params *p)
{
    q->rows = rows;
    q->cols = cols;
    q->groups = bm_num_groups(cols, p->group_size);
    q->w = make_tensor(rows, cols, w);
    q->step = make_tensor(rows, q->groups, NULL);
    q->zero_point = make_typed(BM_DTYPE_I32, rows, q->groups, NULL);
    q->codes = make_typed(BM_DTYPE_I8, rows, cols, NULL);
    MUST(bm_grid_search(test_device, &q->w, p, NULL, &q->step, &q->zero_point, &failure));
    MUST(bm_quantize(test_device, &q->w, &q->step, &q->zero_point, p->group_size, p->bits, &q->codes, &failure));
    MUST(bm_tensor_download(test_device, &q->step, q->steps, &failure));
    MUST(bm_tensor_download(test_device, &q->zero_point, q->zero_points, &failure));
    MUST(bm_tensor_download(test_device, &q->codes, q->values, &failure));
    MUST(bm_device_wait(test_device, &failure));
}

static bm_grid_params plain(uint32_t bits, uint32_t group_size)
{
    return (bm_grid_params){.bits = bits, .group_size = group_size, .symmetric = true, .scale_dtype = BM_DTYPE_F32};
}

// INT8 with abs-max 1.27: step 0.01 (algorithms.md, 17).
static void int8_of_absmax_1_27_has_step_0_01(void **state)
{
    (void)state;
    static const float w[] = {1.27f, 0.0f, -1.27f, 0.126f, -0.034f};
    static const int8_t want[] = {127, 0, -127, 13, -3};
    const bm_grid_params p = plain(8, 5);
    quantized q;
    quantize(&q, w, 1, 5, &p);
    assert_true(q.steps[0] == 1.27f / 127.0f);
    assert_int_equal(q.zero_points[0], 0);
    assert_memory_equal(q.values, want, sizeof want);
}

// Step 1: halves go to even, values outside saturate.
static void halves_go_to_even_and_ends_saturate(void **state)
{
    (void)state;
    static const float w[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 9.0f, -9.0f};
    static const int8_t want[] = {0, 2, 2, 0, -2, -2, 7, -8};
    const float one = 1.0f;
    const int32_t zero = 0;
    int8_t got[8];
    float back[8];
    const bm_tensor x = make_tensor(1, 8, w), step = make_tensor(1, 1, &one), y = make_tensor(1, 8, NULL);
    const bm_tensor zero_point = make_typed(BM_DTYPE_I32, 1, 1, &zero), codes = make_typed(BM_DTYPE_I8, 1, 8, NULL);
    MUST(bm_quantize(test_device, &x, &step, &zero_point, 8, 4, &codes, &failure));
    MUST(bm_fake_quantize(test_device, &x, &step, &zero_point, 8, 4, &y, &failure));
    MUST(bm_tensor_download(test_device, &codes, got, &failure));
    read_tensor(&y, back);
    assert_memory_equal(got, want, sizeof want);
    for (uint32_t i = 0; i < 8; i++)
        assert_true(back[i] == want[i]);
}

// The word of formats.md, section 10, and fields behind the last column.
static void codes_minus_8_to_minus_1_pack_to_76543210(void **state)
{
    (void)state;
    static const int8_t values[2][11] = {{-8, -7, -6, -5, -4, -3, -2, -1, 7, 0, -8},
                                         {7, 6, 5, 4, 3, 2, 1, 0, -1, -2, -3}};
    static const uint32_t want[2][2] = {{0x76543210u, 0x08fu}, {0x89abcdefu, 0x567u}};
    uint32_t got[2][2];
    int8_t back[2][11];
    const bm_tensor codes = make_typed(BM_DTYPE_I8, 2, 11, values), words = make_typed(BM_DTYPE_U32, 2, 2, NULL);
    const bm_tensor unpacked = make_typed(BM_DTYPE_I8, 2, 11, NULL);
    MUST(bm_pack_codes(test_device, &codes, 4, &words, &failure));
    MUST(bm_unpack_codes(test_device, &words, 4, &unpacked, &failure));
    MUST(bm_tensor_download(test_device, &words, got, &failure));
    MUST(bm_tensor_download(test_device, &unpacked, back, &failure));
    MUST(bm_device_wait(test_device, &failure));
    assert_memory_equal(got, want, sizeof want);
    assert_memory_equal(back, values, sizeof values);
}

static const bm_dtype scale_types[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16};

// Groups of zeros, of denormals and of numbers below the threshold: codes 0, a normal step.
static void groups_of_zeros_have_codes_0(void **state)
{
    (void)state;
    static const float w[3 * 4] = {0.0f,   -0.0f, 0.0f,   0.0f,    1e-40f, -1e-40f,
                                   1e-45f, 0.0f,  9e-31f, -9e-31f, 1e-35f, 0.0f};
    for (uint32_t i = 0; i < BM_COUNT(scale_types); i++)
        for (uint32_t variant = 0; variant < 4; variant++) {
            const bm_grid_params p = {.bits = 4,
                                      .group_size = 4,
                                      .symmetric = variant % 2,
                                      .scale_dtype = scale_types[i],
                                      .search = variant / 2};
            quantized q;
            quantize(&q, w, 3, 4, &p);
            for (uint32_t r = 0; r < 3; r++) {
                assert_true(q.steps[r] == (scale_types[i] == BM_DTYPE_F32 ? 1e-8f : 1.0f));
                assert_int_equal(q.zero_points[r], 0);
                for (uint32_t c = 0; c < 4; c++)
                    assert_int_equal(q.values[4 * r + c], 0);
            }
            destroy_tensors();
        }
}

static float as_stored(bm_dtype type, float step)
{
    return type == BM_DTYPE_F16    ? bm_f16_to_f32(bm_f32_to_f16(step))
           : type == BM_DTYPE_BF16 ? bm_bf16_to_f32(bm_f32_to_bf16(step))
                                   : step;
}

// From the smallest to the largest weights: every step is a normal number of the type in which it is stored.
static void steps_are_normal_numbers_of_their_type(void **state)
{
    (void)state;
    static const float scales[] = {1e-29f, 1e-20f, 1e-7f, 1e-4f, 1.0f, 1e4f, 1e6f, 1e20f, 3e38f};
    for (uint32_t i = 0; i < BM_COUNT(scale_types); i++)
        for (uint32_t variant = 0; variant < 4; variant++) {
            const bm_grid_params p = {.bits = 2,
                                      .group_size = 8,
                                      .symmetric = variant % 2,
                                      .scale_dtype = scale_types[i],
                                      .search = variant / 2};
            static const float shape[8] = {1.0f, -1.0f, 0.3f, -0.2f, 0.9f, 0.05f, -0.7f, 0.0f};
            float w[BM_COUNT(scales) * 8];
            for (uint32_t k = 0; k < BM_COUNT(w); k++)
                w[k] = scales[k / 8] * shape[k % 8];
            quantized q;
            quantize(&q, w, BM_COUNT(scales), 8, &p);
            for (uint32_t r = 0; r < BM_COUNT(scales); r++) {
                const float smallest = scale_types[i] == BM_DTYPE_F16 ? 0x1p-14f : 0x1p-126f;
                assert_true(q.steps[r] >= smallest && isfinite(q.steps[r]));
                assert_true(as_stored(scale_types[i], q.steps[r]) == q.steps[r]);
                if (p.symmetric)
                    assert_true(q.values[8 * r] >= 0 && q.values[8 * r + 1] <= 0);
            }
            destroy_tensors();
        }
}

// Asymmetric: zero is representable, wherever the range lies, and the ends meet the end codes.
static void asymmetric_range_holds_zero(void **state)
{
    (void)state;
    static const float w[4 * 4] = {1.0f,  3.0f, 2.0f, 0.0f, -1.0f, -3.0f, -2.0f, -0.5f,
                                   -1.0f, 2.0f, 0.0f, 0.5f, 5.0f,  5.0f,  5.0f,  5.0f};
    static const float steps[4] = {3.0f / 15, 3.0f / 15, 3.0f / 15, 5.0f / 15};
    static const int32_t zero_points[4] = {-8, 7, -3, -8};
    static const int8_t want[4 * 4] = {-3, 7, 2, -8, 2, -8, -3, 5, -8, 7, -3, -1, 7, 7, 7, 7};
    const bm_grid_params p = {.bits = 4, .group_size = 4, .scale_dtype = BM_DTYPE_F32};
    quantized q;
    quantize(&q, w, 4, 4, &p);
    for (uint32_t r = 0; r < 4; r++) {
        assert_true(q.steps[r] == steps[r]);
        assert_int_equal(q.zero_points[r], zero_points[r]);
    }
    for (uint32_t k = 0; k < 16; k++)
        if (q.values[k] != want[k])
            fail_msg("code %u: got %d, want %d", k, q.values[k], want[k]);
}

// Squared error of group g of row r on a grid, in double, by division.
static double grid_error(const float *w, uint32_t cols, uint32_t r, uint32_t g, const bm_grid_params *p, double step,
                         double zero)
{
    const double half = ldexp(1, (int)p->bits - 1);
    double error = 0;
    for (uint32_t c = g * p->group_size; c < cols && c < (g + 1) * p->group_size; c++) {
        const double v = w[r * cols + c];
        const double d = v - (fmin(fmax(rint(v / step) + zero, -half), half - 1) - zero) * step;
        error += d * d;
    }
    return error;
}

// The least error of the 86 factors, and that of factor 1.
static double brute_force(const float *w, uint32_t cols, uint32_t r, uint32_t g, const bm_grid_params *p,
                          double *of_one)
{
    const double half = ldexp(1, (int)p->bits - 1);
    double low = 0, high = 0, least = INFINITY;
    for (uint32_t c = g * p->group_size; c < cols && c < (g + 1) * p->group_size; c++) {
        low = fmin(low, w[r * cols + c]);
        high = fmax(high, w[r * cols + c]);
    }
    for (int i = 0; i < 86; i++) {
        const double factor = 1.05 - 0.01 * i;
        const double exact = factor * (p->symmetric ? fmax(-low, high) / (half - 1) : (high - low) / (2 * half - 1));
        const double step = as_stored(p->scale_dtype, (float)exact);
        const double zero = p->symmetric ? 0 : fmin(rint(-low * factor / step), 2 * half - 1) - half;
        const double error = grid_error(w, cols, r, g, p, step, zero);
        least = fmin(least, error);
        if (i == 5)
            *of_one = error;
    }
    return least;
}

// The error of the grid that was found is the least of all candidates and not above that of the abs-max. It may exceed
// them by the rounding of sums of 320 float32 squares of differences (relative 2^-15 is generous: (320 / 4 + 5) 2^-24
// for the sum, 2^-22 of the range for each difference, which is at least 2^-9 of it on average).
static void search_finds_what_brute_force_finds(void **state)
{
    (void)state;
    static const struct {
        uint32_t rows, cols, group_size, bits;
    } shapes[] = {{24, 96, 32, 4}, {5, 129, 64, 4}, {7, 320, 320, 8}, {3, 13, 13, 2}, {24, 30, 4, 4}, {2, 317, 128, 8}};
    bm_random random;
    bm_random_init(&random, 17, 0);
    for (uint32_t s = 0; s < BM_COUNT(shapes); s++)
        for (uint32_t variant = 0; variant < 6; variant++) {
            const uint32_t rows = shapes[s].rows, cols = shapes[s].cols;
            const bm_grid_params p = {.bits = shapes[s].bits,
                                      .group_size = shapes[s].group_size,
                                      .symmetric = variant % 2,
                                      .scale_dtype = scale_types[variant / 2],
                                      .search = true};
            static float w[MAX_ROWS * MAX_COLS];
            static quantized q;
            fill_normal(&random, (uint64_t)rows * cols, 0.02, w);
            w[cols / 2] *= 20; // an outlier in the first row
            quantize(&q, w, rows, cols, &p);
            for (uint32_t k = 0; k < rows * q.groups; k++) {
                const uint32_t r = k / q.groups, g = k % q.groups;
                double of_one = 0;
                const double least = brute_force(w, cols, r, g, &p, &of_one);
                const double got = grid_error(w, cols, r, g, &p, q.steps[k], q.zero_points[k]);
                if (!(got <= least * (1 + 0x1p-15) && got <= of_one * (1 + 0x1p-15)))
                    fail_msg("shape %u, variant %u, row %u, group %u: error %.9g, least %.9g, abs-max %.9g", s, variant,
                             r, g, got, least, of_one);
            }
            destroy_tensors();
        }
}

// Rows that are one group, about as long as lavapipe's loops last: refused beyond on such a driver. One weight of 28 among integers up
// to 7: the best factor is 0.25, among the last that a work-item tries.
static void long_groups_are_searched_or_refused(void **state)
{
    (void)state;
    enum { LONG = 85000, TOO_LONG = 87000 };
    static float w[2 * TOO_LONG];
    const bool is_limited = bm_device_get_info(test_device)->limits.max_loop_rounds > 0;
    const uint32_t lengths[] = {LONG, TOO_LONG};
    if (is_limited && support_is_instrumented())
        skip();
    for (uint32_t l = 0; l < BM_COUNT(lengths); l++) {
        const uint32_t cols = lengths[l];
        const bm_grid_params p = {
            .bits = 4, .group_size = cols, .symmetric = true, .search = true, .scale_dtype = BM_DTYPE_F32};
        bm_error err = {0};
        for (uint32_t i = 0; i < 2 * cols; i++)
            w[i] = (float)((int)(i % 15) - 7); // on the grid of step 1
        w[cols - 1] = w[2 * cols - 1] = 28;
        const bm_tensor x = make_tensor(2, cols, w), step = make_tensor(2, 1, NULL);
        const bm_tensor zero_point = make_typed(BM_DTYPE_I32, 2, 1, NULL);
        const bm_status status = bm_grid_search(test_device, &x, &p, NULL, &step, &zero_point, &err);
        if (is_limited && cols == TOO_LONG) {
            assert_int_equal(status, BM_E_UNSUPPORTED);
            assert_non_null(strstr(err.message, "groups of 87000 weights"));
            continue;
        }
        float out[2];
        assert_int_equal(status, BM_OK);
        read_tensor(&step, out);
        assert_true(out[0] == 1.0f && out[1] == 1.0f);
    }
}

// Five columns of a matrix of twelve: large numbers behind them fill the quad that the fifth begins.
static void what_lies_behind_a_row_counts_nowhere(void **state)
{
    (void)state;
    static const float rows[2][12] = {{-3, 1, 2, 0, 5, 1e30f, -1e30f, 1e30f, 1e30f}, {-7, 2, -1, -2, -3, 9, 9, 9, 9}};
    bm_tensor w = make_tensor(2, 12, rows[0]);
    const bm_tensor low = make_tensor(2, 1, NULL), high = make_tensor(2, 1, NULL);
    float got[2][2];
    w.cols = 5;
    MUST(bm_group_range(test_device, &w, 5, &low, &high, &failure));
    read_tensor(&low, got[0]);
    read_tensor(&high, got[1]);
    assert_true(got[0][0] == -3 && got[1][0] == 5 && got[0][1] == -7 && got[1][1] == 2);
}

// By row: quotients that are exact, with a last group of two; groups of zeros, which those below 1e-30 are; denormal numbers, and
// magnitudes that saturate; NaN, and infinity, which saturates too.
static void magnitudes_are_shares_of_the_largest(void **state)
{
    (void)state;
    enum { ROWS = 4, COLS = 6 };
    static const float values[ROWS][COLS] = {{1, -2, 4, 0.5f, -8, 2},
                                             {0, -0.0f, 0, 0, 1e-31f, -5e-31f},
                                             {1e-40f, -1e-41f, 0, 1e-39f, FLT_MAX, -0x1p119f},
                                             {1, 2, NAN, 2, -INFINITY, 3}};
    static const float want[ROWS][COLS] = {
        {0.25f, 0.5f, 1, 0.125f, 1, 0.25f}, {0}, {0, 0, 0, 0, 1, 0.5f}, {0.5f, 1, NAN, 1, 1, 3 * 0x1p-120f}};
    const bm_tensor w = make_tensor(ROWS, COLS, values[0]), normalized = make_tensor(ROWS, COLS, NULL);
    const bm_tensor low = make_tensor(ROWS, 2, NULL), high = make_tensor(ROWS, 2, NULL);
    float got[ROWS][COLS];
    MUST(bm_group_range(test_device, &w, 4, &low, &high, &failure));
    MUST(bm_group_normalize(test_device, &w, 4, &low, &high, &normalized, &failure));
    read_tensor(&normalized, got[0]);
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t c = 0; c < COLS; c++) {
            if (isnan(want[r][c]))
                assert_true(isnan(got[r][c]));
            else if (r < 3 || c >= 4) // of a group with NaN the rest is open
                assert_true(got[r][c] == want[r][c]);
        }
    MUST(bm_group_normalize(test_device, &w, 4, &low, &high, &w, &failure)); // in place
    read_tensor(&w, got[0]);
    assert_memory_equal(got[0], want[0], sizeof want[0]);
}

static void shares_are_those_of_float64(void **state)
{
    (void)state;
    static const struct {
        uint32_t rows, cols, group_size;
        bm_dtype dtype;
    } cases[] = {{1, 1, 1, BM_DTYPE_F32},   {5, 13, 4, BM_DTYPE_F32},     {3, 65, 65, BM_DTYPE_F16},
                 {7, 64, 32, BM_DTYPE_F16}, {24, 318, 128, BM_DTYPE_F32}, {9, 130, 64, BM_DTYPE_BF16},
                 {4, 3, 8, BM_DTYPE_BF16}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const uint32_t rows = cases[i].rows, cols = cases[i].cols, size = cases[i].group_size;
        const uint32_t groups = bm_num_groups(cols, size);
        float values[MAX_ROWS * MAX_COLS], got[MAX_ROWS * MAX_COLS];
        uint16_t narrow[MAX_ROWS * MAX_COLS];
        bm_random random;
        bm_random_init(&random, i, 0);
        fill_normal(&random, (uint64_t)rows * cols, 0.02, values);
        for (uint32_t k = 0; k < rows * cols && cases[i].dtype != BM_DTYPE_F32; k++) {
            const bool half = cases[i].dtype == BM_DTYPE_F16;
            narrow[k] = half ? bm_f32_to_f16(values[k]) : bm_f32_to_bf16(values[k]);
            values[k] = half ? bm_f16_to_f32(narrow[k]) : bm_bf16_to_f32(narrow[k]);
        }
        const bm_tensor w =
            make_typed(cases[i].dtype, rows, cols, cases[i].dtype == BM_DTYPE_F32 ? (const void *)values : narrow);
        const bm_tensor low = make_tensor(rows, groups, NULL), high = make_tensor(rows, groups, NULL);
        const bm_tensor normalized = make_tensor(rows, cols, NULL);
        MUST(bm_group_range(test_device, &w, size, &low, &high, &failure));
        MUST(bm_group_normalize(test_device, &w, size, &low, &high, &normalized, &failure));
        read_tensor(&normalized, got);
        for (uint32_t k = 0; k < rows * cols; k++) {
            const uint32_t row = k / cols * cols, first = row + k % cols / size * size;
            double peak = 0;
            for (uint32_t c = first; c < first + size && c < row + cols; c++)
                peak = fmax(peak, fabs((double)values[c]));
            const double share = fabs((double)values[k]) / peak;
            if (!(fabs((double)got[k] - share) <= 0x1p-23 * share && got[k] <= 1))
                fail_msg("[%u, %u] in groups of %u, element %u: %.9g, expected %.9g", rows, cols, size, k,
                         (double)got[k], share);
        }
        destroy_tensors();
    }
}

// Columns of groups in any order; 13 of them, so that the last quad is not whole.
static void codes_of_indexed_groups_have_the_steps_of_their_group(void **state)
{
    (void)state;
    enum { ROWS = 3, COLS = 13, GROUPS = 4 };
    static const uint32_t index[COLS] = {3, 0, 0, 2, 1, 3, 3, 1, 2, 0, 1, 1, 2};
    int8_t values[ROWS * COLS];
    float steps[ROWS * GROUPS], got[ROWS * COLS];
    int32_t zeros[ROWS * GROUPS];
    bm_error err = {0};
    for (int k = 0; k < ROWS * COLS; k++)
        values[k] = (int8_t)(k * 5 % 16 - 8);
    for (int k = 0; k < ROWS * GROUPS; k++) {
        steps[k] = (k % 2 ? -0.25f : 0.5f) * (float)(k + 1);
        zeros[k] = k % 3 - 1;
    }
    const bm_tensor codes = make_typed(BM_DTYPE_I8, ROWS, COLS, values), step = make_tensor(ROWS, GROUPS, steps);
    const bm_tensor zero_point = make_typed(BM_DTYPE_I32, ROWS, GROUPS, zeros), w = make_tensor(ROWS, COLS, NULL);
    const bm_view groups = make_integers(COLS, index), too_few = make_integers(COLS - 1, index);
    MUST(bm_dequantize_indexed(test_device, &codes, &step, &zero_point, groups, &w, &failure));
    read_tensor(&w, got);
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++) {
            const uint32_t k = (uint32_t)r * GROUPS + index[c];
            assert_true(got[r * COLS + c] == (float)(values[r * COLS + c] - zeros[k]) * steps[k]);
        }
    assert_int_equal(bm_dequantize_indexed(test_device, &codes, &step, &zero_point, too_few, &w, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_dequantize_indexed(test_device, &codes, &step, &zero_point, (bm_view){0}, &w, &err),
                     BM_E_ARGUMENT);
    assert_int_equal(bm_dequantize_indexed(test_device, &codes, &step, &step, groups, &w, &err), BM_E_ARGUMENT);
}

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    bm_error err = {0};
    const bm_tensor w = make_tensor(2, 10, NULL), step = make_tensor(2, 2, NULL), narrow = make_tensor(2, 1, NULL);
    const bm_tensor zero_point = make_typed(BM_DTYPE_I32, 2, 2, NULL), codes = make_typed(BM_DTYPE_I8, 2, 10, NULL);
    const bm_tensor words = make_typed(BM_DTYPE_U32, 2, 2, NULL);
    bm_grid_params p = {.bits = 4, .group_size = 8, .symmetric = true, .scale_dtype = BM_DTYPE_F32};
    assert_int_equal(bm_grid_search(test_device, &w, &p, NULL, &step, &zero_point, &err), BM_OK);
    assert_int_equal(bm_grid_search(test_device, &w, &p, NULL, &narrow, &zero_point, &err), BM_E_ARGUMENT);
    p.group_size = 6; // neither a multiple of 4 nor all columns
    assert_int_equal(bm_grid_search(test_device, &w, &p, NULL, &step, &zero_point, &err), BM_E_ARGUMENT);
    p.group_size = 0;
    assert_int_equal(bm_grid_search(test_device, &w, &p, NULL, &step, &zero_point, &err), BM_E_ARGUMENT);
    p = (bm_grid_params){.bits = 9, .group_size = 8, .symmetric = true, .scale_dtype = BM_DTYPE_F32};
    assert_int_equal(bm_grid_search(test_device, &w, &p, NULL, &step, &zero_point, &err), BM_E_ARGUMENT);
    p = (bm_grid_params){.bits = 4, .group_size = 8, .symmetric = true, .scale_dtype = BM_DTYPE_I8};
    assert_int_equal(bm_grid_search(test_device, &w, &p, NULL, &step, &zero_point, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_pack_codes(test_device, &codes, 3, &words, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_pack_codes(test_device, &codes, 2, &words, &err), BM_E_ARGUMENT); // one word a row
    assert_int_equal(bm_quantize(test_device, &w, &step, &step, 8, 4, &codes, &err), BM_E_ARGUMENT);
    const bm_tensor wide = make_tensor(2, 6, NULL), low = bm_tensor_columns(&wide, 0, 2); // of another stride
    assert_int_equal(bm_group_range(test_device, &w, 8, &step, &low, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_group_normalize(test_device, &w, 8, &step, &step, &w, &err), BM_OK);
    assert_int_equal(bm_group_normalize(test_device, &w, 8, &step, &low, &w, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_group_normalize(test_device, &w, 8, &step, &narrow, &w, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_group_normalize(test_device, &w, 8, &zero_point, &step, &w, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_group_normalize(test_device, &w, 8, &step, &step, &wide, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_group_normalize(test_device, &w, 8, &step, &step, &codes, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_group_normalize(test_device, &codes, 8, &step, &step, &w, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_group_normalize(test_device, &w, 6, &step, &step, &w, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_group_normalize(test_device, &w, 0, &step, &step, &w, &err), BM_E_ARGUMENT);
    static const uint32_t wrong_bits[] = {0, 1, 9, 32, 33};
    const bm_tensor y = make_tensor(2, 10, NULL);
    for (uint32_t i = 0; i < BM_COUNT(wrong_bits); i++) {
        assert_int_equal(bm_quantize(test_device, &w, &step, &zero_point, 8, wrong_bits[i], &codes, &err),
                         BM_E_ARGUMENT);
        assert_int_equal(bm_fake_quantize(test_device, &w, &step, &zero_point, 8, wrong_bits[i], &y, &err),
                         BM_E_ARGUMENT);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(int8_of_absmax_1_27_has_step_0_01),
        cmocka_unit_test(halves_go_to_even_and_ends_saturate),
        cmocka_unit_test(codes_minus_8_to_minus_1_pack_to_76543210),
        cmocka_unit_test(groups_of_zeros_have_codes_0),
        cmocka_unit_test(steps_are_normal_numbers_of_their_type),
        cmocka_unit_test(asymmetric_range_holds_zero),
        cmocka_unit_test(search_finds_what_brute_force_finds),
        cmocka_unit_test(long_groups_are_searched_or_refused),
        cmocka_unit_test(what_lies_behind_a_row_counts_nowhere),
        cmocka_unit_test(magnitudes_are_shares_of_the_largest),
        cmocka_unit_test(shares_are_those_of_float64),
        cmocka_unit_test(codes_of_indexed_groups_have_the_steps_of_their_group),
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
