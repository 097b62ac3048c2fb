// Statistics and samples of a group's inputs, batch by batch: what comes of them is what the whole would give; sequences that are left
// out leave nothing behind.
#include "quant/activation_statistics.h"
#include "base/half.h"
#include "ops/fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHANNELS = 22, SEQUENCES = 9, BATCH = 3, TOKENS = 302 };
static const uint32_t counts[SEQUENCES] = {1, 70, 3, 64, 65, 1, 33, 63, 2};

// Row t holds numbers that no other row holds: t in channel 0 tells the row. Fewer than 11 bits.
static float value_of(uint32_t token, uint32_t channel)
{
    return channel == 0 ? (float)token : (float)((token * 37 + channel * 101) % 1999) / 4 - (float)(channel * 16);
}

static const bm_activation_statistics_params usual = {.channels = CHANNELS,
                                                      .tokens = counts,
                                                      .num_sequences = SEQUENCES,
                                                      .num_sampled = SEQUENCES,
                                                      .search_tokens = 50,
                                                      .seed = 42,
                                                      .sample_dtype = BM_DTYPE_F32};

static uint32_t tokens_before(uint32_t sequence)
{
    uint32_t tokens = 0;
    for (uint32_t n = 0; n < sequence; n++)
        tokens += counts[n];
    return tokens;
}

// Sequences first .. first + count - 1 as inputs; bad: the token that holds a NaN (UINT32_MAX: none).
static bm_tensor make_batch(uint32_t first, uint32_t count, uint32_t bad)
{
    const uint32_t begin = tokens_before(first), end = tokens_before(first + count);
    static float values[TOKENS * CHANNELS];
    for (uint32_t t = begin; t < end; t++)
        for (uint32_t c = 0; c < CHANNELS; c++)
            values[(t - begin) * CHANNELS + c] = t == bad && c == 5 ? NAN : value_of(t, c);
    return make_tensor(end - begin, CHANNELS, values);
}

// All sequences but left_out, batches of three with the last first.
static void watch_all(bm_activation_statistics *s, uint32_t left_out, uint32_t bad)
{
    for (uint32_t first = SEQUENCES; first > 0;) {
        first -= BATCH;
        const uint32_t end = first + BATCH;
        const uint32_t middle = left_out >= first && left_out < end ? left_out : end;
        if (middle > first) {
            const bm_tensor x = make_batch(first, middle - first, bad);
            MUST(bm_activation_statistics_watch(test_device, s, &x, first, middle - first, &failure));
        }
        if (middle + 1 < end) {
            const bm_tensor x = make_batch(middle + 1, end - middle - 1, bad);
            MUST(bm_activation_statistics_watch(test_device, s, &x, middle + 1, end - middle - 1, &failure));
        }
        destroy_tensors();
    }
}

static void check_statistics(const bm_channel_statistics *out, uint32_t left_out)
{
    assert_int_equal(out->num_sequences, left_out < SEQUENCES ? SEQUENCES - 1 : SEQUENCES);
    for (uint32_t n = 0, row = 0; n < SEQUENCES; n++) {
        if (n == left_out)
            continue;
        assert_int_equal(out->tokens[row], counts[n]);
        for (uint32_t c = 0; c < CHANNELS; c++) {
            double least = INFINITY, largest = -INFINITY, sum = 0, magnitudes = 0;
            for (uint32_t t = tokens_before(n); t < tokens_before(n) + counts[n]; t++) {
                least = fmin(least, (double)value_of(t, c));
                largest = fmax(largest, (double)value_of(t, c));
                sum += (double)value_of(t, c);
                magnitudes += fabs((double)value_of(t, c));
            }
            const size_t at = (size_t)row * CHANNELS + c;
            assert_true((double)out->minimum[at] == least && (double)out->maximum[at] == largest);
            assert_true(out->mean[at] == (float)(sum / counts[n])); // sums of these numbers are exact
            assert_true(!out->mean_magnitude || out->mean_magnitude[at] == (float)(magnitudes / counts[n]));
        }
        row++;
    }
}

// As many tokens as asked for, rising, none of left_out, and rows are theirs.
static void check_sample(const bm_activation_statistics *s, uint32_t left_out)
{
    static float rows[TOKENS * CHANNELS];
    static uint16_t narrow[TOKENS * CHANNELS];
    if (s->sample.dtype == BM_DTYPE_F32) {
        read_tensor(&s->sample, rows);
    } else {
        MUST(bm_tensor_download(test_device, &s->sample, narrow, &failure));
        MUST(bm_device_wait(test_device, &failure));
    }
    assert_int_equal(s->sample.rows, s->num_sample);
    for (uint32_t i = 0; i < s->num_sample; i++) {
        const uint32_t token = s->sample_tokens[i];
        assert_true(token < TOKENS && (i == 0 || token > s->sample_tokens[i - 1]));
        assert_true(left_out >= SEQUENCES || token < tokens_before(left_out) || token >= tokens_before(left_out + 1));
        for (uint32_t c = 0; c < CHANNELS; c++) {
            const size_t at = (size_t)i * CHANNELS + c;
            const float got = s->sample.dtype == BM_DTYPE_F32 ? rows[at] : bm_f16_to_f32(narrow[at]);
            const float value = value_of(token, c);
            assert_true(got == (s->sample.dtype == BM_DTYPE_F32 ? value : bm_f16_to_f32(bm_f32_to_f16(value))));
        }
    }
}

static void batches_give_what_the_whole_would(void **state)
{
    (void)state;
    assert_int_equal(tokens_before(SEQUENCES), TOKENS);
    const uint32_t wanted[] = {50, 1, TOKENS - 1, TOKENS, 2048};
    for (size_t i = 0; i < BM_COUNT(wanted); i++) {
        bm_activation_statistics s;
        bm_channel_statistics out;
        bm_activation_statistics_params params = usual;
        params.search_tokens = wanted[i];
        params.sample_dtype = i == 0 ? BM_DTYPE_F16 : BM_DTYPE_F32;
        params.magnitudes = i % 2 == 0;
        const uint64_t before = bm_device_live_bytes(test_device);
        MUST(bm_activation_statistics_begin(test_device, &params, &s, &failure));
        const uint64_t bytes = bm_device_live_bytes(test_device) - before;
        assert_true(bytes >= bm_activation_statistics_bytes(&params, s.num_sample));
        assert_true(bytes <=
                    bm_activation_statistics_bytes(&params, s.num_sample) + 6 * 4096); // what a driver rounds up to
        MUST(bm_channel_statistics_init(&out, CHANNELS, BATCH, true, params.magnitudes, &failure));
        watch_all(&s, UINT32_MAX, UINT32_MAX);
        MUST(bm_activation_statistics_finish(test_device, &s, &out, &failure));
        assert_true((out.mean_magnitude != NULL) == params.magnitudes);
        assert_int_equal(s.num_sample, bm_min_u64(TOKENS, wanted[i]));
        assert_int_equal(s.bad_sequence, UINT32_MAX);
        check_statistics(&out, UINT32_MAX);
        check_sample(&s, UINT32_MAX);
        bm_channel_statistics_destroy(&out);
        bm_activation_statistics_destroy(&s);
    }
}

// A sequence that never comes, be it the first, one inside a batch, or the last.
static void sequences_left_out_leave_nothing(void **state)
{
    (void)state;
    static const uint32_t places[] = {0, 4, 8};
    for (size_t i = 0; i < BM_COUNT(places); i++) {
        bm_activation_statistics s;
        bm_channel_statistics out;
        bm_activation_statistics_params params = usual;
        params.search_tokens = TOKENS;
        params.magnitudes = true;
        MUST(bm_activation_statistics_begin(test_device, &params, &s, &failure));
        MUST(bm_channel_statistics_init(&out, CHANNELS, BATCH, true, true, &failure));
        watch_all(&s, places[i], UINT32_MAX);
        MUST(bm_activation_statistics_finish(test_device, &s, &out, &failure));
        assert_int_equal(s.num_sample, TOKENS - counts[places[i]]);
        check_statistics(&out, places[i]);
        check_sample(&s, places[i]);
        bm_channel_statistics_destroy(&out);
        bm_activation_statistics_destroy(&s);
    }
}

// One that holds the whole sample.
static void a_sample_may_be_lost(void **state)
{
    (void)state;
    bm_activation_statistics s;
    bm_channel_statistics out;
    bm_activation_statistics_params params = usual;
    params.num_sampled = 1;
    MUST(bm_activation_statistics_begin(test_device, &params, &s, &failure));
    MUST(bm_channel_statistics_init(&out, CHANNELS, BATCH, false, false, &failure));
    assert_int_equal(s.num_sample, counts[0]);
    watch_all(&s, 0, UINT32_MAX);
    MUST(bm_activation_statistics_finish(test_device, &s, &out, &failure));
    assert_true(s.num_sample == 0 && !s.sample.view.buffer && !out.mean);
    bm_channel_statistics_destroy(&out);
    bm_activation_statistics_destroy(&s);
}

static void what_is_not_finite_names_its_sequence(void **state)
{
    (void)state;
    bm_activation_statistics s;
    bm_channel_statistics out;
    bm_error err = {0};
    MUST(bm_activation_statistics_begin(test_device, &usual, &s, &failure));
    MUST(bm_channel_statistics_init(&out, CHANNELS, BATCH, true, false, &failure));
    watch_all(&s, 2, tokens_before(4) + 64);
    assert_int_equal(bm_activation_statistics_finish(test_device, &s, &out, &err), BM_E_NUMERIC);
    assert_non_null(strstr(err.message, "sequence 4, channel 5"));
    assert_true(s.bad_sequence == 4 && out.num_sequences == 0);
    bm_channel_statistics_destroy(&out);
    bm_activation_statistics_destroy(&s);
}

// Elements cancel, magnitudes do not: their sum alone is beyond float32. The other way around means of magnitudes that were not
// watched cannot be kept, and those that were need not be.
static void magnitudes_are_checked_as_inputs_are(void **state)
{
    (void)state;
    static const uint32_t tokens[2] = {1, 4};
    static const float values[5 * 2] = {1, -2, 3, 3e38f, -3, -3e38f, 5, 3e38f, -7, -3e38f};
    for (uint32_t i = 0; i < 4; i++) {
        const bool watches = i % 2 == 1, keeps = i / 2 == 1;
        bm_activation_statistics s;
        bm_channel_statistics out;
        bm_error err = {0};
        const bm_activation_statistics_params params = {
            .channels = 2, .tokens = tokens, .num_sequences = 2, .magnitudes = watches};
        MUST(bm_activation_statistics_begin(test_device, &params, &s, &failure));
        MUST(bm_channel_statistics_init(&out, 2, 1, true, keeps, &failure));
        const bm_tensor x = make_tensor(5, 2, values);
        MUST(bm_activation_statistics_watch(test_device, &s, &x, 0, 2, &failure));
        assert_int_equal(bm_activation_statistics_finish(test_device, &s, &out, &err), watches ? BM_E_NUMERIC
                                                                                       : keeps ? BM_E_ARGUMENT
                                                                                               : BM_OK);
        assert_true(!watches || strstr(err.message, "sequence 1, channel 1: "));
        assert_int_equal(out.num_sequences, watches || keeps ? 0 : 2);
        bm_channel_statistics_destroy(&out);
        bm_activation_statistics_destroy(&s);
        destroy_tensors();
    }
}

// The same seed draws the same tokens, another one others, and each token about as often as the next.
static void samples_are_uniform_and_repeat(void **state)
{
    (void)state;
    enum { DRAWS = 400, SAMPLE = 50, SAMPLED = 7 };
    const uint32_t tokens = tokens_before(SAMPLED);
    uint32_t hits[TOKENS] = {0}, first[SAMPLE], same = 0;
    bm_activation_statistics_params params = usual;
    params.num_sampled = SAMPLED;
    for (uint32_t i = 0; i < DRAWS + 1; i++) {
        bm_activation_statistics s;
        params.seed = i % DRAWS;
        MUST(bm_activation_statistics_begin(test_device, &params, &s, &failure));
        assert_int_equal(s.num_sample, SAMPLE);
        if (i == 0)
            memcpy(first, s.sample_tokens, sizeof first);
        if (i == DRAWS)
            assert_memory_equal(first, s.sample_tokens, sizeof first);
        for (uint32_t k = 0; k < SAMPLE && i < DRAWS; k++) {
            assert_true(s.sample_tokens[k] < tokens);
            hits[s.sample_tokens[k]]++;
            same += i > 0 && s.sample_tokens[k] == first[k];
        }
        bm_activation_statistics_destroy(&s);
    }
    const double share = (double)SAMPLE / tokens;
    assert_true(same < DRAWS * SAMPLE / 4);
    for (uint32_t t = 0; t < tokens; t++)
        assert_true(fabs(hits[t] - DRAWS * share) < 5 * sqrt(DRAWS * share * (1 - share)));
}

// A row of 22 channels takes 24 floats.
static void magnitudes_take_their_memory(void **state)
{
    (void)state;
    bm_activation_statistics_params params = usual;
    const uint64_t without = bm_activation_statistics_bytes(&params, 1);
    params.magnitudes = true;
    assert_int_equal(bm_activation_statistics_bytes(&params, 1), without + 24 * sizeof(float) * SEQUENCES);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    bm_activation_statistics s;
    bm_error err = {0};
    static const uint32_t empty[SEQUENCES] = {1, 1, 0}, many[2] = {UINT32_C(1) << 31, 1};
    bm_activation_statistics_params params = usual;
    params.tokens = empty;
    assert_int_equal(bm_activation_statistics_begin(test_device, &params, &s, &err), BM_E_ARGUMENT);
    bm_activation_statistics_destroy(&s);
    params.tokens = many;
    params.num_sequences = 2;
    assert_int_equal(bm_activation_statistics_begin(test_device, &params, &s, &err), BM_E_ARGUMENT);
    bm_activation_statistics_destroy(&s);
    params = usual;
    params.num_sequences = 0;
    assert_int_equal(bm_activation_statistics_begin(test_device, &params, &s, &err), BM_E_ARGUMENT);
    bm_activation_statistics_destroy(&s);
    MUST(bm_activation_statistics_begin(test_device, &usual, &s, &failure));
    const bm_tensor x = make_batch(7, 2, UINT32_MAX), narrow = make_tensor(TOKENS, CHANNELS - 1, NULL);
    assert_int_equal(bm_activation_statistics_watch(test_device, &s, &x, 7, 1, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_activation_statistics_watch(test_device, &s, &x, 8, 2, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_activation_statistics_watch(test_device, &s, &x, 9, 1, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_activation_statistics_watch(test_device, &s, &x, 7, 0, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_activation_statistics_watch(test_device, &s, &narrow, 0, 9, &err), BM_E_ARGUMENT);
    MUST(bm_activation_statistics_watch(test_device, &s, &x, 7, 2, &failure));
    assert_int_equal(bm_activation_statistics_watch(test_device, &s, &x, 7, 2, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "sequence 7 comes again"));
    bm_activation_statistics_destroy(&s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_give_what_the_whole_would),
        cmocka_unit_test(sequences_left_out_leave_nothing),
        cmocka_unit_test(a_sample_may_be_lost),
        cmocka_unit_test(what_is_not_finite_names_its_sequence),
        cmocka_unit_test(magnitudes_are_checked_as_inputs_are),
        cmocka_unit_test(samples_are_uniform_and_repeat),
        cmocka_unit_test(magnitudes_take_their_memory),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
