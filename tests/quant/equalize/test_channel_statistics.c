// Statistics of channels: what comes out behind a shift, of how many steps, and what is refused.
#include "quant/equalize/channel_statistics.h"
#include "quant/equalize/close.h"

#include <math.h>
#include <string.h>

static bm_error failure;

#define SEQUENCES 5
static const float minimum[SEQUENCES * 2] = {-1, 2, -2, 3, -3, 2.5f, 0, 2, -1, 4};
static const float maximum[SEQUENCES * 2] = {1, 5, 0.5f, 6, 2, 3, 4, 4, 0, 5};
static const float mean[SEQUENCES * 2] = {0, 3, 0, 4, 1, 2.75f, 2, 3, -0.5f, 4.5f};
static const float mean_magnitude[SEQUENCES * 2] = {0.5f, 3, 0, 4, 2, 2.75f, 2, 3, 0.25f, 4.5f};
static const uint64_t tokens[SEQUENCES] = {3, 4, 5, 6, 7};

static bm_channel_statistics make(void)
{
    bm_channel_statistics stats;
    assert_ok(bm_channel_statistics_init(&stats, 2, 2, true, true, &failure), &failure);
    for (uint64_t n = 0; n < SEQUENCES; n++) // one at a time: memory grows
        assert_ok(bm_channel_statistics_add(&stats, 1, minimum + 2 * n, maximum + 2 * n, mean + 2 * n,
                                            mean_magnitude + 2 * n, tokens + n, &failure),
                  &failure);
    return stats;
}

static void sequences_are_kept_in_their_order(void **state)
{
    (void)state;
    bm_channel_statistics stats = make();
    assert_int_equal(stats.num_sequences, SEQUENCES);
    assert_memory_equal(stats.minimum, minimum, sizeof minimum);
    assert_memory_equal(stats.maximum, maximum, sizeof maximum);
    assert_memory_equal(stats.mean, mean, sizeof mean);
    assert_memory_equal(stats.mean_magnitude, mean_magnitude, sizeof mean_magnitude);
    assert_memory_equal(stats.tokens, tokens, sizeof tokens);
    bm_channel_statistics_destroy(&stats);
}

static void steps_are_batches_of_sequences(void **state)
{
    (void)state;
    bm_channel_statistics stats = make();
    assert_int_equal(bm_channel_statistics_first(&stats, 1), 2);
    assert_int_equal(bm_channel_statistics_first(&stats, 2), 4);
    assert_int_equal(bm_channel_statistics_first(&stats, 3), 5); // fewer than steps ask for
    assert_int_equal(bm_channel_statistics_first(&stats, -1), 5);
    assert_int_equal(bm_channel_statistics_first(&stats, INT64_MAX), 5);
    bm_channel_statistics_destroy(&stats);
}

static void a_shift_moves_all_that_is_told(void **state)
{
    (void)state;
    bm_channel_statistics stats = make();
    double low[2], high[2], amax[2], magnitudes[4];
    stats.zero_point[1] = 4;
    bm_channel_statistics_extremes(&stats, 0, 4, low, high);
    assert_true(low[0] == -3 && high[0] == 4 && low[1] == -2 && high[1] == 2);
    bm_channel_statistics_amax(&stats, 1, 3, amax);
    assert_true(amax[0] == 3 && amax[1] == 2); // of 3 - 4, 6 - 4, 2.5 - 4, 3 - 4
    bm_channel_statistics_magnitudes(&stats, 2, 4, magnitudes);
    assert_true(magnitudes[0] == 3 && magnitudes[1] == 1.5 && magnitudes[2] == 4 && magnitudes[3] == 2);
    bm_channel_statistics_extremes(&stats, 2, 2, low, high);
    assert_true(low[0] == 0 && high[1] == 0); // none
    bm_channel_statistics_destroy(&stats);
}

// Each token counts as much as the next, whatever sequence it is of; a shift leaves these means alone.
static void mean_magnitudes_are_those_of_tokens(void **state)
{
    (void)state;
    bm_channel_statistics stats = make();
    double out[2];
    stats.zero_point[0] = 100;
    bm_channel_statistics_mean_magnitude(&stats, 0, SEQUENCES, out);
    assert_true(fabs(out[0] - 25.25 / 25) < 1e-15); // (3 * 0.5 + 4 * 0 + 5 * 2 + 6 * 2 + 7 * 0.25) / 25
    assert_true(fabs(out[1] - 88.25 / 25) < 1e-14); // (3 * 3 + 4 * 4 + 5 * 2.75 + 6 * 3 + 7 * 4.5) / 25
    bm_channel_statistics_mean_magnitude(&stats, 1, 3, out);
    assert_true(fabs(out[0] - 10.0 / 9) < 1e-15);  // (4 * 0 + 5 * 2) / 9
    assert_true(fabs(out[1] - 29.75 / 9) < 1e-15); // (4 * 4 + 5 * 2.75) / 9
    bm_channel_statistics_mean_magnitude(&stats, 4, 5, out);
    assert_true(out[0] == 0.25 && out[1] == 4.5);
    bm_channel_statistics_mean_magnitude(&stats, 2, 2, out);
    assert_true(out[0] == 0 && out[1] == 0); // none
    bm_channel_statistics_destroy(&stats);
}

// Small means beside a large one: in float32 each would be lost.
static void mean_magnitudes_are_summed_in_double(void **state)
{
    (void)state;
    bm_channel_statistics stats;
    double out;
    assert_ok(bm_channel_statistics_init(&stats, 1, 1, false, true, &failure), &failure);
    for (uint32_t n = 0; n < 1001; n++)
        assert_ok(bm_channel_statistics_add(&stats, 1, (const float[]){0}, (const float[]){2}, NULL,
                                            (const float[]){n == 0 ? 1 : 0x1p-25f}, (const uint64_t[]){1}, &failure),
                  &failure);
    assert_null(stats.mean);
    bm_channel_statistics_mean_magnitude(&stats, 0, 1001, &out);
    assert_true(fabs(out - (1 + 1000 * 0x1p-25) / 1001) < 1e-15);
    bm_channel_statistics_destroy(&stats);
}

static void a_bad_value_is_named_and_adds_nothing(void **state)
{
    (void)state;
    static const float bad_values[] = {NAN, INFINITY, -INFINITY};
    bm_channel_statistics stats = make();
    for (uint32_t place = 0; place < 4; place++)
        for (uint32_t i = 0; i < BM_COUNT(bad_values); i++) {
            float values[4][4] = {{-1, -1, -1, -1}, {1, 1, 1, 1}, {0, 0, 0, 0}, {1, 1, 1, 1}};
            values[place][3] = bad_values[i];
            assert_int_equal(
                bm_channel_statistics_add(&stats, 2, values[0], values[1], values[2], values[3], tokens, &failure),
                BM_E_NUMERIC);
            assert_string_equal(failure.message,
                                "sequence 6, channel 1: found a NaN or an infinity, expected finite activations");
            assert_int_equal(stats.num_sequences, SEQUENCES);
        }
    const float turned[2][2] = {{2, 1}, {3, 0}};
    assert_int_equal(
        bm_channel_statistics_add(&stats, 1, turned[0], turned[1], turned[0], mean_magnitude, tokens, &failure),
        BM_E_ARGUMENT);
    assert_string_equal(failure.message, "sequence 5, channel 1: minimum 1 above maximum 0");
    assert_int_equal(
        bm_channel_statistics_add(&stats, 1, minimum, maximum, mean, mean_magnitude, (uint64_t[]){0}, &failure),
        BM_E_ARGUMENT);
    assert_string_equal(failure.message, "sequence 5: no tokens");
    bm_channel_statistics_destroy(&stats);
    assert_int_equal(bm_channel_statistics_init(&stats, 2, 0, false, false, &failure), BM_E_ARGUMENT);
}

// Two groups of two heads of two dimensions.
static void heads_of_a_group_share_their_extremes(void **state)
{
    (void)state;
    static const float least[8] = {-1, -2, -3, 0, -5, -6, -7, -8}, largest[8] = {1, 8, 3, 4, 5, 6, 7, 2};
    static const float middle[8] = {0, 1, 1, 2, 3, 0, -1, 1}, magnitudes[8] = {0.5f, 4, 1, 2, 3, 0, 4, 1};
    double all[8];
    bm_channel_statistics stats;
    assert_ok(bm_channel_statistics_init(&stats, 8, 1, true, true, &failure), &failure);
    for (uint32_t n = 0; n < 2; n++)
        assert_ok(bm_channel_statistics_add(&stats, 1, least, largest, middle, magnitudes, tokens + n, &failure),
                  &failure);
    bm_channel_statistics_join_heads(&stats, 2, 2);
    assert_memory_equal(stats.minimum, ((const float[]){-3, -2, -3, -2, -7, -8, -7, -8}), sizeof least);
    assert_memory_equal(stats.maximum, ((const float[]){3, 8, 3, 8, 7, 6, 7, 6}), sizeof least);
    assert_memory_equal(stats.mean, ((const float[]){0.5f, 1.5f, 0.5f, 1.5f, 1, 0.5f, 1, 0.5f}), sizeof least);
    static const float joined[8] = {0.75f, 3, 0.75f, 3, 3.5f, 0.5f, 3.5f, 0.5f};
    assert_memory_equal(stats.mean_magnitude, joined, sizeof joined);
    assert_memory_equal(stats.mean_magnitude + 8, joined, sizeof joined);
    bm_channel_statistics_mean_magnitude(&stats, 0, 2, all);
    for (uint32_t c = 0; c < 8; c++)
        assert_true(all[c] == (double)joined[c]);
    float weights[8] = {1, 5, 3, 2, 4, 4, 9, 0};
    bm_join_heads_max(weights, 8, 2, 2);
    assert_memory_equal(weights, ((const float[]){3, 5, 3, 5, 9, 4, 9, 4}), sizeof weights);
    double numbers[8] = {1, 5, 0x1p-40, 2, 4, 4, 9, 0}; // of which float32 would lose one
    bm_join_heads_mean(numbers, 8, 2, 2);
    assert_memory_equal(numbers, ((const double[]){0.5 + 0x1p-41, 3.5, 0.5 + 0x1p-41, 3.5, 6.5, 2, 6.5, 2}),
                        sizeof numbers);
    bm_channel_statistics_destroy(&stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequences_are_kept_in_their_order),
        cmocka_unit_test(steps_are_batches_of_sequences),
        cmocka_unit_test(a_shift_moves_all_that_is_told),
        cmocka_unit_test(mean_magnitudes_are_those_of_tokens),
        cmocka_unit_test(mean_magnitudes_are_summed_in_double),
        cmocka_unit_test(a_bad_value_is_named_and_adds_nothing),
        cmocka_unit_test(heads_of_a_group_share_their_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
