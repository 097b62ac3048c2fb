// What PaddleSlim computes, worked by hand from its formulas.
#include "quant/equalize/paddleslim.h"
#include "quant/equalize/toy_loss.h"

static bm_error failure;

// Values 0, then 8: three calls a step (q, k, v) give 4, 6, 7; two (gate, up) 6; one 4.
static void halving_prefers_the_last_step(void **state)
{
    (void)state;
    static const double expected[] = {4, 6, 7};
    for (uint32_t calls = 1; calls <= 3; calls++) {
        double average = -1;
        uint64_t num_calls = 0;
        for (uint32_t i = 0; i < calls; i++)
            bm_paddleslim_halve_add(&average, (const double[]){0}, 1, num_calls++);
        for (uint32_t i = 0; i < calls; i++)
            bm_paddleslim_halve_add(&average, (const double[]){8}, 1, num_calls++);
        assert_true(average == expected[calls - 1]);
    }
}

// Fed 10, 1, 2, 3: 10; then 0.02 * 1; then (0.98 * 0.02 + 0.04) / 0.02 = 2.98; then (0.98 * 0.0596 + 0.06) / 0.0396
// = 2.990101.
static void averages_are_corrected_one_call_late(void **state)
{
    (void)state;
    static const double values[] = {10, 1, 2, 3}, expected[] = {10, 0.02, 2.98, 2.990101};
    double sum = 0, out = 0;
    for (uint64_t i = 0; i < 4; i++) {
        bm_paddleslim_ema_add(&sum, &values[i], 1, i, &out);
        assert_close(out, expected[i], 1e-6);
    }
}

// Steps of one sequence with midranges 100 (not sampled), 0, 8, and means 100, 1, 2.
static void zero_points_leave_the_first_step_out(void **state)
{
    (void)state;
    bm_channel_statistics stats;
    bm_shift_params params = {.shift_step = -1, .ptq_step = -1, .compat_paddleslim = true, .calls_a_step = 3};
    bm_shift_record record;
    double z = 0;
    assert_ok(bm_channel_statistics_init(&stats, 1, 1, true, false, &failure), &failure);
    assert_ok(bm_channel_statistics_add(&stats, 3, (const float[]){90, -1, -2}, (const float[]){110, 1, 18},
                                        (const float[]){100, 1, 2}, NULL, (const uint64_t[]){1, 1, 1}, &failure),
              &failure);
    assert_ok(bm_shift_find(&stats, &params, &z, &record, &failure), &failure);
    assert_true(z == 7);
    params.calls_a_step = 2;
    assert_ok(bm_shift_find(&stats, &params, &z, &record, &failure), &failure);
    assert_true(z == 6);
    params.sampler = BM_SHIFT_SAMPLER_EMA; // of means, two calls: 1; 0.02; (0.98 * 0.02 + 0.04) / 0.02 = 2.98; 2.4841..
    assert_ok(bm_shift_find(&stats, &params, &z, &record, &failure), &failure);
    assert_close(z, (0.98 * 0.0596 + 0.04) / 0.0396, 1e-6);
    params.shift_step = 1;
    assert_int_equal(bm_shift_find(&stats, &params, &z, &record, &failure), BM_E_ARGUMENT);
    assert_string_equal(failure.message,
                        "shift_step: found 1 step, expected 2 or more: compat takes none of the first");
    bm_channel_statistics_destroy(&stats);
}

// A zero point of 0.00025 for a range of 2 is small, and takes the magnitude 1 to 1.00025: applied all the same.
static void zero_points_are_applied_whatever_they_do(void **state)
{
    (void)state;
    static const float low[3] = {-1, -1, -1}, high[3] = {1, 1, 1.001f};
    bm_channel_statistics stats;
    const bm_shift_params params = {.shift_step = -1, .ptq_step = 2, .compat_paddleslim = true, .calls_a_step = 1};
    bm_shift_record record;
    double z = 0;
    assert_ok(bm_channel_statistics_init(&stats, 1, 1, false, false, &failure), &failure);
    assert_ok(bm_channel_statistics_add(&stats, 3, low, high, NULL, NULL, (const uint64_t[]){1, 1, 1}, &failure),
              &failure);
    assert_ok(bm_shift_find(&stats, &params, &z, &record, &failure), &failure);
    assert_close(z, 0.00025, 1e-7);
    assert_true(record.amax_after > record.amax_before && !record.enlarges && record.num_small == 0);
    bm_channel_statistics_destroy(&stats);
}

// Steps {3, 5} and {10}: the mean of means 4 and 10.
static void a_short_step_weighs_as_a_whole_one(void **state)
{
    (void)state;
    static const double magnitudes[3] = {3, 5, 10};
    assert_true(bm_paddleslim_activation_avg(magnitudes, 3, 2, 1, NULL) == 7);
    assert_true(bm_paddleslim_activation_avg(magnitudes, 3, 2, 1, (const float[]){2}) == 3.5);
    assert_true(bm_paddleslim_activation_avg(magnitudes, 0, 2, 1, NULL) == 1e-7);
}

static void scales_have_a_floor_alone(void **state)
{
    (void)state;
    assert_true(bm_paddleslim_smooth_scale(16, 4, 0.5) == 2);
    assert_true(bm_paddleslim_smooth_scale(0, 4, 0.5) == 1e-5f);
    assert_true(isinf(bm_paddleslim_smooth_scale(16, 0, 0.5)));
    assert_true(bm_paddleslim_smooth_scale(1e30, 1e-30, 0.5) > 1e29f);
}

// Inputs 0.5, 1.5, 2.5, -0.5, -2.5 steps: away from zero 1, 2, 3, -1, -3; to even 0, 2, 2, 0, -2.
static void codes_of_searches_go_away_from_zero(void **state)
{
    (void)state;
    static const float values[] = {0.5f, 1.5f, 2.5f, -0.5f, -2.5f, 1000, -1000};
    static const int32_t away[] = {1, 2, 3, -1, -3, 127, -128}, even[] = {0, 2, 2, 0, -2, 127, -128};
    for (uint32_t i = 0; i < BM_COUNT(values); i++) {
        assert_int_equal(bm_paddleslim_search_code(values[i], 127), away[i]);
        assert_int_equal(bm_paddleslim_stored_code(values[i], 127, 127), even[i]);
    }
    assert_int_equal(bm_paddleslim_stored_code(-100, 7, 7), -8);
    // In float32 127 * (1 / 0.003) is 42333.336, 127 / 0.003 is 42333.332: half-way between 20 and 21 lies between.
    assert_int_equal(bm_paddleslim_stored_code(0x1.fbc666p-12f, 0.003f, 127), 21);
    assert_int_equal(rintf(0x1.fbc666p-12f * (127.0f / 0.003f)), 20);
}

// Two channels of inputs 1 and 16, weights 1: alphas leave the first at 1.
static bm_smooth_record search(toy *t, const bm_smooth_search_params *params, float *scales)
{
    static const double a[2] = {1, 16};
    static const float w[2] = {1, 1};
    bm_smooth_problem problem = make_smooth_problem(2, a, w, 100, toy_loss, t);
    bm_smooth_record record;
    observe(&problem, BM_ACTIVATION_AVG, a, 1);
    t->problem = &problem;
    assert_ok(search_pieces(&problem, params, scales, &record, &failure), &failure);
    return record;
}

static bm_smooth_search_params compat_params(void)
{
    bm_smooth_search_params params;
    bm_smooth_search_params_init(&params);
    params.k_piece = 2;
    params.search_piece = true;
    params.compat_paddleslim = true;
    return params;
}

// Target 3, 7. One piece: alpha 0.7 gives 1, 6.9644, loss 4.00127. Two pieces go on from there: the first adds 2 (1 + 2
// = 3), the second must add something and adds the least, 1 (alphas add 1.79 and more): 3, 7.9644, loss 0.93.
static void what_is_found_is_added(void **state)
{
    (void)state;
    toy t = {.loss = toy_distance, .target = (const double[]){3, 7}};
    const bm_smooth_search_params params = compat_params();
    float scales[2];
    bm_smooth_record record = search(&t, &params, scales);
    const double first = pow(16, 0.7);
    assert_int_equal(record.num_moves, 3);
    assert_close(record.grid.candidates[record.moves[0].chosen].value, 0.7, 1e-12);
    assert_close(record.moves[0].loss, 4 + (first - 7) * (first - 7), 1e-6);
    assert_close(record.grid.candidates[record.moves[1].chosen].value, 2, 1e-12);
    assert_close(record.grid.candidates[record.moves[2].chosen].value, 1, 1e-12);
    assert_close(scales[0], 3, 1e-6);
    assert_close(scales[1], first + 1, 1e-6);
    assert_int_equal(record.chosen_pieces, 2);
    assert_close(record.loss, (first - 6) * (first - 6), 1e-5);
    bm_smooth_record_free(&record);
}

// Two pieces at once begin from nothing: channels not found yet count as 1. Target 3, 7: 3, then 6.9644.
static void one_number_of_pieces_begins_from_nothing(void **state)
{
    (void)state;
    toy t = {.loss = toy_distance, .target = (const double[]){3, 7}};
    bm_smooth_search_params params = compat_params();
    float scales[2];
    params.search_piece = false;
    bm_smooth_record record = search(&t, &params, scales);
    assert_close(record.moves[0].loss, 36, 1e-9); // the second still 1
    assert_close(scales[0], 3, 0);
    assert_close(scales[1], pow(16, 0.7), 1e-6);
    bm_smooth_record_free(&record);
}

static double no_number(const toy *t, const float *scales, uint32_t i)
{
    (void)t, (void)scales, (void)i;
    return (double)NAN;
}

static void among_equals_the_last_wins(void **state)
{
    (void)state;
    const bm_smooth_search_params params = compat_params();
    float scales[2];
    toy t = {.loss = toy_constant};
    bm_smooth_record record = search(&t, &params, scales);
    assert_true(scales[0] == 5.5f && scales[1] == 5.5f && record.chosen_pieces == 1);
    bm_smooth_record_free(&record);
    t.loss = no_number;
    record = search(&t, &params, scales);
    assert_true(scales[0] == 1 && scales[1] == 1 && record.nothing_finite);
    bm_smooth_record_free(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halving_prefers_the_last_step),
        cmocka_unit_test(averages_are_corrected_one_call_late),
        cmocka_unit_test(zero_points_leave_the_first_step_out),
        cmocka_unit_test(zero_points_are_applied_whatever_they_do),
        cmocka_unit_test(a_short_step_weighs_as_a_whole_one),
        cmocka_unit_test(scales_have_a_floor_alone),
        cmocka_unit_test(codes_of_searches_go_away_from_zero),
        cmocka_unit_test(what_is_found_is_added),
        cmocka_unit_test(one_number_of_pieces_begins_from_nothing),
        cmocka_unit_test(among_equals_the_last_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
