// Zero points: known answers, what is left at 0, and what is not applied.
#include "quant/equalize/shift.h"
#include "quant/equalize/close.h"

#include <math.h>

static bm_error failure;

// Sequences of one channel.
static bm_channel_statistics make(uint32_t batch, uint64_t count, const float *low, const float *high,
                                  const float *means, const uint64_t *tokens)
{
    bm_channel_statistics stats;
    uint64_t ones[16];
    for (uint32_t i = 0; i < BM_COUNT(ones); i++)
        ones[i] = 1;
    assert_ok(bm_channel_statistics_init(&stats, 1, batch, means, false, &failure), &failure);
    assert_ok(bm_channel_statistics_add(&stats, count, low, high, means, NULL, tokens ? tokens : ones, &failure),
              &failure);
    return stats;
}

static bm_shift_record find(const bm_channel_statistics *stats, const bm_shift_params *params, double *zero_point)
{
    bm_shift_record record;
    assert_ok(bm_shift_find(stats, params, zero_point, &record, &failure), &failure);
    return record;
}

static const bm_shift_params plain = {.shift_step = -1, .ptq_step = -1};

// A range [2, 6] becomes [-2, 2].
static void midrange_centres_a_range(void **state)
{
    (void)state;
    bm_channel_statistics stats = make(1, 2, (const float[]){2, 3}, (const float[]){5, 6}, NULL, NULL);
    double z = 0, low = 0, high = 0;
    const bm_shift_record record = find(&stats, &plain, &z);
    assert_true(z == 4);
    assert_true(record.amax_before == 5.5 && record.amax_after == 2 && !record.enlarges); // means of 5, 6 and of 2, 2
    stats.zero_point[0] = z;
    bm_channel_statistics_extremes(&stats, 0, 2, &low, &high);
    assert_true(low == -2 && high == 2);
    bm_channel_statistics_destroy(&stats);
}

// Ends of sequences are averaged: minima 0, 1, 2 and maxima 2, 4, 33 have means 1 and 13.
static void averages_of_ends_hardly_follow_one_sequence(void **state)
{
    (void)state;
    bm_channel_statistics stats = make(1, 3, (const float[]){0, 1, 2}, (const float[]){2, 4, 33}, NULL, NULL);
    bm_shift_params params = plain;
    double z = 0, none = 1;
    params.statistic = BM_CENTER_AVERAGE;
    find(&stats, &params, &z);
    assert_true(z == 7);
    bm_shift_statistic_of(&stats, BM_CENTER_AVERAGE, 1, 1, &none);
    assert_true(none == 0);
    bm_channel_statistics_destroy(&stats);
}

static void only_the_steps_of_shift_count(void **state)
{
    (void)state;
    bm_channel_statistics stats = make(2, 3, (const float[]){0, 0, 0}, (const float[]){2, 4, 100}, NULL, NULL);
    bm_shift_params params = plain;
    double z = 0;
    params.shift_step = 1;
    params.ptq_step = 1;
    const bm_shift_record record = find(&stats, &params, &z);
    assert_true(z == 2 && record.amax_before == 3 && record.amax_after == 2);
    bm_channel_statistics_destroy(&stats);
}

// Midranges 1, 2, 3 of three steps: (0.98^2 + 2 * 0.98 + 3) / (0.98^2 + 0.98 + 1) = 2.013467.
static void averages_are_corrected_for_their_start(void **state)
{
    (void)state;
    bm_channel_statistics stats = make(1, 3, (const float[]){0, 0, 0}, (const float[]){2, 4, 6}, NULL, NULL);
    bm_shift_params params = plain;
    double z = 0, sum = 0, estimate = 0;
    params.sampler = BM_SHIFT_SAMPLER_EMA;
    find(&stats, &params, &z);
    assert_close(z, 2.013467, 1e-6);
    assert_true(z == (double)(float)z);
    params.shift_step = 1;
    find(&stats, &params, &z);
    assert_true(z == 1);
    bm_channel_statistics_destroy(&stats);
    static const double after[] = {1, 1.505051, 2.013467};
    for (uint32_t n = 0; n < 3; n++) {
        bm_ema_add(&sum, (const double[]){n + 1.0}, 1);
        bm_ema_estimate(&sum, n + 1, 1, &estimate);
        assert_close(estimate, after[n], 1e-6);
    }
    bm_ema_estimate(&sum, 0, 1, &estimate);
    assert_true(estimate == 0);
}

// Tokens weigh the same: 2 of mean 1 and 6 of mean 3 have the mean 2.5. Steps of one sequence: (0.98 + 3) / 1.98
// = 2.010101.
static void means_weigh_tokens(void **state)
{
    (void)state;
    bm_channel_statistics stats =
        make(1, 2, (const float[]){-9, -9}, (const float[]){10, 10}, (const float[]){1, 3}, (const uint64_t[]){2, 6});
    bm_shift_params params = plain;
    double z = 0;
    params.statistic = BM_CENTER_MEAN;
    find(&stats, &params, &z);
    assert_true(z == 0); // 2.5 would take the largest magnitude from 10 to 11.5
    params.observer = BM_ACTIVATION_ABS_MAX;
    stats.minimum[0] = stats.minimum[1] = -1;
    find(&stats, &params, &z);
    assert_true(z == 2.5);
    params.sampler = BM_SHIFT_SAMPLER_EMA;
    find(&stats, &params, &z);
    assert_close(z, 2.010101, 1e-6);
    bm_channel_statistics_destroy(&stats);
    stats = make(1, 1, (const float[]){0}, (const float[]){1}, NULL, NULL);
    bm_shift_record record;
    assert_int_equal(bm_shift_find(&stats, &params, &z, &record, &failure), BM_E_ARGUMENT);
    assert_string_equal(failure.message, "shift by means: the statistics keep none");
    bm_channel_statistics_destroy(&stats);
}

// A zero point below a thousandth of the range only adds noise to biases; a constant channel has no range.
static void small_zero_points_are_dropped(void **state)
{
    (void)state;
    static const struct {
        float low, high;
        double z;
        uint32_t num_small;
    } cases[] = {{-1, 1.003f, 0, 1}, {-1, 1.005f, 0.0025, 0}, {3, 3, 3, 0}, {-2, -2, -2, 0}, {0, 0, 0, 0},
                 {-1, 1, 0, 0}};
    for (uint32_t i = 0; i < BM_COUNT(cases); i++) {
        bm_channel_statistics stats = make(1, 1, &cases[i].low, &cases[i].high, NULL, NULL);
        double z = 1, amax = 1;
        const bm_shift_record record = find(&stats, &plain, &z);
        assert_close(z, cases[i].z, 1e-7);
        assert_int_equal(record.num_small, cases[i].num_small);
        stats.zero_point[0] = z;
        bm_channel_statistics_amax(&stats, 0, 1, &amax);
        assert_true(cases[i].low != cases[i].high || amax == 0); // constant: zeros behind the shift
        bm_channel_statistics_destroy(&stats);
    }
}

// Nine sequences in [-1, 1] and one in [-1, 9]: the mean of magnitudes would go from 1.8 to 5.
static void a_shift_that_enlarges_the_scale_is_not_applied(void **state)
{
    (void)state;
    static const float low[10] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1}, high[10] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 9};
    bm_channel_statistics stats = make(2, 10, low, high, NULL, NULL);
    bm_shift_params params = plain;
    double z = 1;
    bm_shift_record record = find(&stats, &params, &z);
    assert_close(record.amax_before, 1.8, 1e-12);
    assert_close(record.amax_after, 5, 1e-12);
    assert_true(record.enlarges && z == 0);
    params.observer = BM_ACTIVATION_ABS_MAX; // 9 becomes 5
    record = find(&stats, &params, &z);
    assert_true(!record.enlarges && z == 4 && record.amax_before == 9 && record.amax_after == 5);
    bm_channel_statistics_destroy(&stats);
}

static void no_sequences_shift_nothing(void **state)
{
    (void)state;
    bm_channel_statistics stats = make(1, 0, NULL, NULL, NULL, NULL);
    double z = 1;
    const bm_shift_record record = find(&stats, &plain, &z);
    assert_true(z == 0 && record.amax_before == BM_ACTIVATION_AMAX_FLOOR && !record.enlarges);
    bm_channel_statistics_destroy(&stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(midrange_centres_a_range),
        cmocka_unit_test(averages_of_ends_hardly_follow_one_sequence),
        cmocka_unit_test(only_the_steps_of_shift_count),
        cmocka_unit_test(averages_are_corrected_for_their_start),
        cmocka_unit_test(means_weigh_tokens),
        cmocka_unit_test(small_zero_points_are_dropped),
        cmocka_unit_test(a_shift_that_enlarges_the_scale_is_not_applied),
        cmocka_unit_test(no_sequences_shift_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
