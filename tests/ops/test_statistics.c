// Statistics of columns against float64: sequences of one token and of several pieces, channels that end inside a vector, inputs that
// are part of a wider matrix, 16-bit types, infinities and NaN.
#include "base/half.h"
#include "ops/fixture.h"
#include "ops/statistics.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct range_case {
    uint32_t num_sequences, channels, padding; // padding: columns of the matrix behind the inputs
    uint32_t counts[6];
    bm_dtype dtype;
} range_case;

static uint32_t count_tokens(const range_case *c)
{
    uint32_t tokens = 0;
    for (uint32_t n = 0; n < c->num_sequences; n++)
        tokens += c->counts[n];
    return tokens;
}

// Inputs [tokens, channels], each channel away from 0, in a matrix whose other columns are larger. values: what they are.
static bm_tensor make_inputs(const range_case *c, float *values)
{
    const uint32_t tokens = count_tokens(c), all = c->channels + c->padding;
    float *wide = malloc(sizeof(float) * tokens * all);
    uint16_t *narrow = malloc(sizeof(uint16_t) * tokens * all);
    bm_random random;
    assert_true(wide && narrow);
    bm_random_init(&random, tokens, all);
    fill_normal(&random, (uint64_t)tokens * all, 1, wide);
    for (uint32_t k = 0; k < tokens * all; k++) {
        const uint32_t t = k / all, channel = k % all;
        wide[k] = channel < c->channels ? wide[k] + (float)(channel % 5) - 2 : 6e4f;
        narrow[k] = c->dtype == BM_DTYPE_F16 ? bm_f32_to_f16(wide[k]) : bm_f32_to_bf16(wide[k]);
        if (c->dtype != BM_DTYPE_F32)
            wide[k] = c->dtype == BM_DTYPE_F16 ? bm_f16_to_f32(narrow[k]) : bm_bf16_to_f32(narrow[k]);
        if (channel < c->channels)
            values[(size_t)t * c->channels + channel] = wide[k];
    }
    bm_tensor x = make_typed(c->dtype, tokens, all, c->dtype == BM_DTYPE_F32 ? (const void *)wide : narrow);
    x.cols = c->channels;
    free(wide);
    free(narrow);
    return x;
}

enum { MINIMUM, MAXIMUM, SUM, SQUARES, MAGNITUDES, NUM_RESULTS };

typedef struct range_results {
    bm_tensor tensors[NUM_RESULTS];
    float *values[NUM_RESULTS];
} range_results;

// What is not of the moment has the same bits with either.
static range_results run(const bm_tensor *x, const uint32_t *counts, uint32_t num_sequences)
{
    const size_t size = sizeof(float) * num_sequences * x->cols;
    float *again = malloc(size);
    range_results r;
    assert_non_null(again);
    for (uint32_t i = 0; i < NUM_RESULTS; i++) {
        r.tensors[i] = make_tensor(num_sequences, x->cols, NULL);
        r.values[i] = malloc(size);
        assert_non_null(r.values[i]);
    }
    MUST(bm_column_range(test_device, x, counts, num_sequences, &r.tensors[MINIMUM], &r.tensors[MAXIMUM],
                         &r.tensors[SUM], BM_MOMENT_SQUARES, &r.tensors[SQUARES], &failure));
    for (uint32_t i = 0; i < MAGNITUDES; i++)
        read_tensor(&r.tensors[i], r.values[i]);
    MUST(bm_column_range(test_device, x, counts, num_sequences, &r.tensors[MINIMUM], &r.tensors[MAXIMUM],
                         &r.tensors[SUM], BM_MOMENT_MAGNITUDES, &r.tensors[MAGNITUDES], &failure));
    read_tensor(&r.tensors[MAGNITUDES], r.values[MAGNITUDES]);
    for (uint32_t i = MINIMUM; i <= SUM; i++) {
        read_tensor(&r.tensors[i], again);
        assert_memory_equal(again, r.values[i], size);
    }
    free(again);
    return r;
}

static void free_results(range_results *r)
{
    for (uint32_t i = 0; i < NUM_RESULTS; i++)
        free(r->values[i]);
}

static void check_sequence(const range_case *c, uint32_t sequence, const float *values, const range_results *got)
{
    for (uint32_t channel = 0; channel < c->channels; channel++) {
        float least = INFINITY, largest = -INFINITY;
        double sum = 0, magnitudes = 0, squares = 0;
        for (uint32_t t = 0; t < c->counts[sequence]; t++) {
            const float value = values[(size_t)t * c->channels + channel];
            least = fminf(least, value);
            largest = fmaxf(largest, value);
            sum += (double)value;
            magnitudes += fabs((double)value);
            squares += (double)value * (double)value;
        }
        const size_t at = (size_t)sequence * c->channels + channel;
        const double off = fabs((double)got->values[SUM][at] - sum),
                     rounding = 0x1p-24 * (64 + c->counts[sequence] / 64.0);
        const double squares_off = fabs((double)got->values[SQUARES][at] - squares);
        const double magnitudes_off = fabs((double)got->values[MAGNITUDES][at] - magnitudes);
        if (got->values[MINIMUM][at] != least || got->values[MAXIMUM][at] != largest ||
            !(off <= rounding * magnitudes) || !(magnitudes_off <= rounding * magnitudes) ||
            !(squares_off <= (rounding + 0x1p-24) * squares))
            fail_msg(
                "sequence %u of %u, channel %u of %u: %.9g to %.9g, sums %.9g, %.9g and %.9g, expected %.9g to %.9g, "
                "sums %.9g, %.9g and %.9g",
                sequence, c->num_sequences, channel, c->channels, (double)got->values[MINIMUM][at],
                (double)got->values[MAXIMUM][at], (double)got->values[SUM][at], (double)got->values[SQUARES][at],
                (double)got->values[MAGNITUDES][at], (double)least, (double)largest, sum, squares, magnitudes);
    }
}

static void ranges_are_those_of_float64(void **state)
{
    (void)state;
    static const range_case cases[] = {
        {1, 1, 0, {1}, BM_DTYPE_F32},
        {3, 5, 0, {1, 1, 1}, BM_DTYPE_F32},
        {4, 37, 3, {64, 65, 1, 63}, BM_DTYPE_F32},
        {3, 1, 0, {200, 3, 129}, BM_DTYPE_F16},
        {5, 131, 9, {7, 130, 1, 64, 300}, BM_DTYPE_F16},
        {2, 48, 0, {517, 2}, BM_DTYPE_BF16},
        {1, 20, 0, {5000}, BM_DTYPE_BF16},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const range_case *c = &cases[i];
        float *values = malloc(sizeof(float) * count_tokens(c) * c->channels);
        assert_non_null(values);
        const bm_tensor x = make_inputs(c, values);
        range_results got = run(&x, c->counts, c->num_sequences);
        for (uint32_t n = 0, first = 0; n < c->num_sequences; first += c->counts[n++])
            check_sequence(c, n, values + (size_t)first * c->channels, &got);
        free_results(&got);
        free(values);
        destroy_tensors();
    }
}

// A sequence has the same bits whatever stands beside it.
static void sequences_do_not_meet(void **state)
{
    (void)state;
    static const range_case c = {4, 21, 0, {100, 1, 64, 190}, BM_DTYPE_F32};
    float values[355 * 21];
    const bm_tensor x = make_inputs(&c, values);
    range_results all = run(&x, c.counts, c.num_sequences);
    for (uint32_t n = 0, first = 0; n < c.num_sequences; first += c.counts[n++]) {
        const bm_tensor rows = bm_tensor_rows(&x, first, c.counts[n]);
        range_results one = run(&rows, &c.counts[n], 1);
        for (uint32_t i = 0; i < NUM_RESULTS; i++)
            assert_memory_equal(one.values[i], all.values[i] + (size_t)n * c.channels, sizeof(float) * c.channels);
        free_results(&one);
    }
    free_results(&all);
}

// Wherever a sequence holds them, in its first piece, its last or between, its numbers show it, and no other's do.
static void what_is_not_finite_is_seen(void **state)
{
    (void)state;
    enum { TOKENS = 150, CHANNELS = 3 };
    static const uint32_t counts[] = {TOKENS, TOKENS}, places[] = {0, 63, 64, 100, TOKENS - 1};
    static const float bad[] = {INFINITY, -INFINITY, NAN, -NAN};
    for (uint32_t i = 0; i < BM_COUNT(places) * BM_COUNT(bad); i++) {
        float values[2 * TOKENS][CHANNELS];
        for (uint32_t t = 0; t < 2 * TOKENS; t++)
            for (uint32_t c = 0; c < CHANNELS; c++)
                values[t][c] = (float)(t % 7) - 3;
        values[TOKENS + places[i % BM_COUNT(places)]][1] = bad[i / BM_COUNT(places)];
        const bm_tensor x = make_tensor(2 * TOKENS, CHANNELS, &values[0][0]);
        range_results got = run(&x, counts, 2);
        for (uint32_t k = 0; k < 2 * CHANNELS; k++) {
            assert_true((isfinite(got.values[MINIMUM][k]) && isfinite(got.values[MAXIMUM][k])) == (k != CHANNELS + 1));
            for (uint32_t sums = SUM; sums <= MAGNITUDES; sums++)
                assert_true((isfinite(got.values[sums][k]) != 0) == (k != CHANNELS + 1));
        }
        free_results(&got);
        destroy_tensors();
    }
}

// Sums of elements, of squares and of magnitudes have the bits of float32 added token by token in pieces, a square rounded before.
// The host adds in float64.
static void sums_have_the_bits_of_float32(void **state)
{
    (void)state;
    enum { TOKENS = 333, CHANNELS = 19, PIECE = 64 };
    static const range_case c = {1, CHANNELS, 0, {TOKENS}, BM_DTYPE_F32};
    float values[TOKENS][CHANNELS];
    const bm_tensor x = make_inputs(&c, &values[0][0]);
    if (bm_device_is_host(test_device))
        skip();
    range_results got = run(&x, c.counts, 1);
    for (uint32_t channel = 0; channel < CHANNELS; channel++) {
        float sum = 0, squares = 0, magnitudes = 0;
        for (uint32_t first = 0; first < TOKENS; first += PIECE) {
            float part = 0, part_squares = 0, part_magnitudes = 0;
            for (uint32_t t = first; t < first + PIECE && t < TOKENS; t++) {
                const float square = values[t][channel] * values[t][channel];
                part += values[t][channel];
                part_squares += square;
                part_magnitudes += fabsf(values[t][channel]);
            }
            sum += part;
            squares += part_squares;
            magnitudes += part_magnitudes;
        }
        assert_memory_equal(&got.values[SUM][channel], &sum, sizeof sum);
        assert_memory_equal(&got.values[SQUARES][channel], &squares, sizeof squares);
        assert_memory_equal(&got.values[MAGNITUDES][channel], &magnitudes, sizeof magnitudes);
    }
    free_results(&got);
}

// By channel: zeros of both signs, squares that no float32 holds, squares that only their sum is too large for, large ones, and
// numbers that only the sum of their magnitudes is too large for.
static void moments_beyond_float32_are_infinite(void **state)
{
    (void)state;
    enum { TOKENS = 70, CHANNELS = 6 };
    static const uint32_t counts[] = {TOKENS, TOKENS};
    static const float tops[CHANNELS] = {0, -0.0f, 2e19f, -1e19f, 1e18f, 3e38f};
    float values[2 * TOKENS][CHANNELS] = {{0}}; // the first sequence: zeros
    for (uint32_t t = TOKENS; t < 2 * TOKENS; t++) {
        memcpy(values[t], tops, sizeof tops);
        values[t][5] *= t % 2 ? -1 : 1;
    }
    const bm_tensor x = make_tensor(2 * TOKENS, CHANNELS, &values[0][0]);
    range_results got = run(&x, counts, 2);
    for (uint32_t channel = 0; channel < CHANNELS; channel++) {
        const double top = fabs((double)tops[channel]), wanted[] = {TOKENS * top * top, TOKENS * top};
        assert_true(isfinite(got.values[SUM][CHANNELS + channel]));
        for (uint32_t i = SQUARES; i <= MAGNITUDES; i++) {
            const double sum = wanted[i - SQUARES];
            const float found = got.values[i][CHANNELS + channel];
            assert_true(got.values[i][channel] == 0);
            assert_true(sum > FLT_MAX ? isinf(found) && found > 0 : fabs((double)found - sum) <= 0x1p-17 * sum);
        }
    }
    free_results(&got);
}

// What is not wanted changes no bit of the rest.
static void moments_need_not_be_wanted(void **state)
{
    (void)state;
    static const range_case c = {3, 21, 0, {100, 1, 64}, BM_DTYPE_F16};
    float values[165 * 21], without[3 * 21];
    const bm_tensor x = make_inputs(&c, values);
    bm_tensor rest[SUM + 1];
    range_results got = run(&x, c.counts, 3);
    for (uint32_t i = 0; i <= SUM; i++)
        rest[i] = make_tensor(3, 21, NULL);
    MUST(bm_column_range(test_device, &x, c.counts, 3, &rest[MINIMUM], &rest[MAXIMUM], &rest[SUM], BM_MOMENT_SQUARES,
                         NULL,
                         &failure)); // whatever else is said
    for (uint32_t i = 0; i <= SUM; i++) {
        read_tensor(&rest[i], without);
        assert_memory_equal(without, got.values[i], sizeof without);
    }
    assert_true(bm_column_range_bytes(165, 3, 21, false) < bm_column_range_bytes(165, 3, 21, true));
    free_results(&got);
}

static void shapes_that_disagree_are_refused(void **state)
{
    (void)state;
    static const uint32_t counts[] = {2, 4}, none[] = {6, 0};
    const bm_tensor x = make_tensor(6, 8, NULL), codes = make_typed(BM_DTYPE_I8, 6, 8, NULL);
    const bm_tensor out = make_tensor(2, 8, NULL), other = make_tensor(2, 9, NULL), long_out = make_tensor(3, 8, NULL);
    const bm_tensor part = bm_tensor_columns(&other, 0, 8); // of another stride
    const struct {
        const bm_tensor *x, *minimum, *maximum, *sum, *moments;
        const uint32_t *counts;
        uint32_t num_sequences;
        bm_moment moment;
    } calls[] = {
        {&x, &out, &out, &out, NULL, counts, 1, BM_MOMENT_NONE},
        {&x, &out, &out, &out, NULL, counts, 0, BM_MOMENT_NONE},
        {&x, &out, &out, &out, NULL, none, 2, BM_MOMENT_NONE},
        {&codes, &out, &out, &out, NULL, counts, 2, BM_MOMENT_NONE},
        {&x, &long_out, &out, &out, NULL, counts, 2, BM_MOMENT_NONE},
        {&x, &out, &other, &out, NULL, counts, 2, BM_MOMENT_NONE},
        {&x, &out, &out, &x, NULL, counts, 2, BM_MOMENT_NONE},
        {&x, &out, &out, &part, NULL, counts, 2, BM_MOMENT_NONE},
        {&x, &out, &out, &out, &x, counts, 2, BM_MOMENT_SQUARES},
        {&x, &out, &out, &out, &part, counts, 2, BM_MOMENT_MAGNITUDES},
        {&x, &out, &out, &out, &out, counts, 2, BM_MOMENT_NONE},
        {&x, &out, &out, &out, &out, counts, 2, (bm_moment)3},
    };
    for (size_t i = 0; i < BM_COUNT(calls); i++) {
        bm_error err = {0};
        assert_int_equal(bm_column_range(test_device, calls[i].x, calls[i].counts, calls[i].num_sequences,
                                         calls[i].minimum, calls[i].maximum, calls[i].sum, calls[i].moment,
                                         calls[i].moments, &err),
                         BM_E_ARGUMENT);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_those_of_float64),         cmocka_unit_test(sequences_do_not_meet),
        cmocka_unit_test(what_is_not_finite_is_seen),          cmocka_unit_test(sums_have_the_bits_of_float32),
        cmocka_unit_test(moments_beyond_float32_are_infinite), cmocka_unit_test(moments_need_not_be_wanted),
        cmocka_unit_test(shapes_that_disagree_are_refused),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
