// Statistics of columns against float64: sequences of one token and of several pieces, channels that end inside a vector, inputs that
// are part of a wider matrix, 16-bit types, infinities and NaN.
#include "base/half.h"
#include "ops/fixture.h"
#include "ops/statistics.h"

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

typedef struct range_results {
    bm_tensor tensors[3];
    float *values[3];
} range_results;

static range_results run(const bm_tensor *x, const uint32_t *counts, uint32_t num_sequences)
{
    range_results r;
    for (uint32_t i = 0; i < 3; i++) {
        r.tensors[i] = make_tensor(num_sequences, x->cols, NULL);
        r.values[i] = malloc(sizeof(float) * num_sequences * x->cols);
        assert_non_null(r.values[i]);
    }
    MUST(bm_column_range(test_device, x, counts, num_sequences, &r.tensors[0], &r.tensors[1], &r.tensors[2], &failure));
    for (uint32_t i = 0; i < 3; i++)
        read_tensor(&r.tensors[i], r.values[i]);
    return r;
}

static void free_results(range_results *r)
{
    for (uint32_t i = 0; i < 3; i++)
        free(r->values[i]);
}

static void check_sequence(const range_case *c, uint32_t sequence, const float *values, const range_results *got)
{
    for (uint32_t channel = 0; channel < c->channels; channel++) {
        float least = INFINITY, largest = -INFINITY;
        double sum = 0, magnitudes = 0;
        for (uint32_t t = 0; t < c->counts[sequence]; t++) {
            const float value = values[(size_t)t * c->channels + channel];
            least = fminf(least, value);
            largest = fmaxf(largest, value);
            sum += (double)value;
            magnitudes += fabs((double)value);
        }
        const size_t at = (size_t)sequence * c->channels + channel;
        const double off = fabs((double)got->values[2][at] - sum);
        if (got->values[0][at] != least || got->values[1][at] != largest ||
            !(off <= (64 + c->counts[sequence] / 64.0) * 0x1p-24 * magnitudes))
            fail_msg("sequence %u of %u, channel %u of %u: %.9g to %.9g, sum %.9g, expected %.9g to %.9g, sum %.9g",
                     sequence, c->num_sequences, channel, c->channels, (double)got->values[0][at],
                     (double)got->values[1][at], (double)got->values[2][at], (double)least, (double)largest, sum);
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
        for (uint32_t i = 0; i < 3; i++)
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
            assert_true((isfinite(got.values[0][k]) && isfinite(got.values[1][k])) == (k != CHANNELS + 1));
            assert_true((isfinite(got.values[2][k]) != 0) == (k != CHANNELS + 1));
        }
        free_results(&got);
        destroy_tensors();
    }
}

static void shapes_that_disagree_are_refused(void **state)
{
    (void)state;
    static const uint32_t counts[] = {2, 4}, none[] = {6, 0};
    const bm_tensor x = make_tensor(6, 8, NULL), codes = make_typed(BM_DTYPE_I8, 6, 8, NULL);
    const bm_tensor out = make_tensor(2, 8, NULL), other = make_tensor(2, 9, NULL), long_out = make_tensor(3, 8, NULL);
    const bm_tensor part = bm_tensor_columns(&other, 0, 8); // of another stride
    const struct {
        const bm_tensor *x, *minimum, *maximum, *sum;
        const uint32_t *counts;
        uint32_t num_sequences;
    } calls[] = {
        {&x, &out, &out, &out, counts, 1},      {&x, &out, &out, &out, counts, 0},
        {&x, &out, &out, &out, none, 2},        {&codes, &out, &out, &out, counts, 2},
        {&x, &long_out, &out, &out, counts, 2}, {&x, &out, &other, &out, counts, 2},
        {&x, &out, &out, &x, counts, 2},        {&x, &out, &out, &part, counts, 2},
    };
    for (size_t i = 0; i < BM_COUNT(calls); i++) {
        bm_error err = {0};
        assert_int_equal(bm_column_range(test_device, calls[i].x, calls[i].counts, calls[i].num_sequences,
                                         calls[i].minimum, calls[i].maximum, calls[i].sum, &err),
                         BM_E_ARGUMENT);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_those_of_float64),
        cmocka_unit_test(sequences_do_not_meet),
        cmocka_unit_test(what_is_not_finite_is_seen),
        cmocka_unit_test(shapes_that_disagree_are_refused),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
