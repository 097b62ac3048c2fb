// Scales of Smooth and the largest magnitudes they are made of: known answers, dead channels, limits.
#include "quant/equalize/observers.h"
#include "quant/equalize/smooth_scales.h"
#include "quant/equalize/close.h"

#include <float.h>
#include <math.h>

static void scales_are_those_of_the_paper(void **state)
{
    (void)state;
    assert_true(bm_smooth_scale(16, 4, 0.5) == 2);
    assert_true(bm_smooth_scale(16, 4, 0.75) == (float)(8 / sqrt(2))); // 16^0.75 / 4^0.25 = 5.656854
    assert_true(bm_smooth_scale(16, 4, 0) == 0.25f);
    assert_true(bm_smooth_scale(16, 4, 1) == 16);
}

static void dead_channels_have_1(void **state)
{
    (void)state;
    assert_true(bm_smooth_scale(0, 4, 0.5) == 1);
    assert_true(bm_smooth_scale(16, 0, 0.5) == 1);
    assert_true(bm_smooth_scale(0, 0, 0) == 1);
    assert_true(bm_smooth_scale((double)NAN, 4, 0.5) == 1);
    assert_true(bm_smooth_scale(16, (double)NAN, 0.5) == 1);
}

static void scales_are_clamped(void **state)
{
    (void)state;
    assert_true(bm_smooth_scale(1e30, 1e-30, 0.5) == 1e5f);
    assert_true(bm_smooth_scale(1e-30, 1e30, 0.5) == 1e-5f);
    assert_true(bm_smooth_scale((double)FLT_MAX, (double)FLT_TRUE_MIN, 0.5) == 1e5f);
}

static void powers_of_two_are_nearest(void **state)
{
    (void)state;
    static const double cases[][2] = {{1, 1}, {3, 4}, {2.8, 2}, {0.7, 0.5}, {0.72, 1}, {1e5, 131072}, {1e-5, 0x1p-17}};
    for (uint32_t i = 0; i < BM_COUNT(cases); i++)
        assert_true((double)bm_smooth_scale_pow2(cases[i][0]) == cases[i][1]);
}

// The mean of the logarithms of 8, 16, 2 is 8/3: all are divided by 8.
static void the_free_power_is_taken_out(void **state)
{
    (void)state;
    float scales[3] = {8, 16, 2};
    bm_smooth_finish_record record;
    bm_smooth_scales_finish(&(bm_smooth_limits){0}, 3, scales, &record);
    assert_true(scales[0] == 1 && scales[1] == 2 && scales[2] == 0.25f);
    assert_true(record.exponent == -3 && record.num_moved == 0);
    float small[2] = {0.3f, 0.3f};
    bm_smooth_scales_finish(&(bm_smooth_limits){.pow2 = true}, 2, small, &record);
    assert_true(small[0] == 1 && small[1] == 1 && record.exponent == 2);
}

// A norm weight of 60000 stays finite in float16 when it is divided by 0.92, not by 1/16; a weight of 30000 when
// multiplied by 2.18.
static void what_would_overflow_is_moved_toward_1(void **state)
{
    (void)state;
    static const float divided[4] = {60000, 1, 60000, 0}, multiplied[4] = {1, 30000, 1, 0};
    bm_smooth_limits limits = {
        .divided = divided, .divided_max = 65504, .multiplied = multiplied, .multiplied_max = 65504};
    bm_smooth_finish_record record;
    float scales[4] = {0.0625f, 16, 0.9f, 1};
    bm_smooth_scales_finish(&limits, 4, scales, &record);
    assert_close(scales[0], 60000.0 / 65504, 1e-6);
    assert_close(scales[1], 65504.0 / 30000, 1e-6);
    assert_true((double)divided[0] / (double)scales[0] <= 65504 && (double)multiplied[1] * (double)scales[1] <= 65504);
    assert_true(scales[2] == scales[0] && scales[3] == 1 && record.num_moved == 3 && record.exponent == 0);
    float powers[4] = {0.0625f, 16, 1, 1};
    limits.pow2 = true;
    bm_smooth_scales_finish(&limits, 4, powers, &record);
    assert_true(powers[0] == 1 && powers[1] == 2 && record.num_moved == 2);
}

// Sequences of largest magnitudes 3, 5, 10: their mean 6, their largest 10. Scales 2 and 0.5 change which
// channel decides.
static void observers_follow_scales(void **state)
{
    (void)state;
    static const double magnitudes[6] = {3, 1, 2, 5, 10, 9};
    const float scales[2] = {2, 0.5f};
    assert_true(bm_activation_amax(BM_ACTIVATION_AVG, magnitudes, 3, 2, NULL) == 6);
    assert_true(bm_activation_amax(BM_ACTIVATION_ABS_MAX, magnitudes, 3, 2, NULL) == 10);
    assert_true(bm_activation_amax(BM_ACTIVATION_AVG, magnitudes, 3, 2, scales) == 10); // 2, 10, 18
    assert_true(bm_activation_amax(BM_ACTIVATION_ABS_MAX, magnitudes, 3, 2, scales) == 18);
    assert_true(bm_activation_amax(BM_ACTIVATION_PER_TOKEN, magnitudes, 3, 2, NULL) == 6);
    assert_true(bm_activation_amax(BM_ACTIVATION_AVG, magnitudes, 1, 2, NULL) == 3);
    assert_true(bm_activation_amax_of(BM_ACTIVATION_AVG, (const double[]){3, 5, 10}, 3) == 6);
    assert_true(bm_activation_amax_of(BM_ACTIVATION_ABS_MAX, (const double[]){3, 5, 10}, 3) == 10);
    assert_true(bm_activation_amax(BM_ACTIVATION_AVG, (const double[]){0, 0}, 1, 2, NULL) == 1e-7); // never active
    assert_true(bm_activation_amax(BM_ACTIVATION_ABS_MAX, magnitudes, 0, 2, NULL) == 1e-7);
}

static void weights_are_observed_by_rows_and_groups(void **state)
{
    (void)state;
    static const float weights[8] = {1, -4, 2, 3, 0, 0, -0.5f, 0.25f};
    const float scales[4] = {8, 1, 1, 2};
    float amax[4] = {0}, w[4] = {0};
    bm_weight_amax(weights, 2, 4, 4, NULL, amax);
    assert_true(amax[0] == 4 && amax[1] == 0.5f);
    bm_weight_amax(weights, 2, 4, 2, NULL, amax);
    assert_true(amax[0] == 4 && amax[1] == 3 && amax[2] == 1e-8f && amax[3] == 0.5f); // a group of zeros
    bm_weight_amax(weights, 2, 4, 2, scales, amax);
    assert_true(amax[0] == 8 && amax[1] == 6 && amax[3] == 0.5f);
    bm_column_amax_add(weights, 2, 4, w);
    assert_true(w[0] == 1 && w[1] == 4 && w[2] == 2 && w[3] == 3);
    bm_column_amax_add((const float[]){-3, 1, -2, 0}, 1, 4, w); // another linear of the group
    assert_true(w[0] == 3 && w[1] == 4 && w[2] == 2 && w[3] == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scales_are_those_of_the_paper),
        cmocka_unit_test(dead_channels_have_1),
        cmocka_unit_test(scales_are_clamped),
        cmocka_unit_test(powers_of_two_are_nearest),
        cmocka_unit_test(the_free_power_is_taken_out),
        cmocka_unit_test(what_would_overflow_is_moved_toward_1),
        cmocka_unit_test(observers_follow_scales),
        cmocka_unit_test(weights_are_observed_by_rows_and_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
