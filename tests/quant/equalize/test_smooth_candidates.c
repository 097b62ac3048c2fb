// The other candidates of piecewise search: relative ones, pieces by logarithms, powers of two; and channels that are
// all alike.
#include "quant/equalize/toy_loss.h"

static bm_error failure;

#define CHANNELS 4
static const double magnitudes[CHANNELS] = {1, 1, 16, 16};
static const float w[CHANNELS] = {1, 1, 1, 1};

static bm_smooth_record search(const double *a, const double *target, const bm_smooth_search_params *params,
                               float *scales)
{
    toy t = {.loss = toy_distance, .target = target};
    bm_smooth_problem problem = make_smooth_problem(CHANNELS, a, w, 10, toy_loss, &t);
    bm_smooth_record record;
    observe(&problem, BM_ACTIVATION_ABS_MAX, magnitudes, 1);
    t.problem = &problem;
    assert_ok(search_pieces(&problem, params, scales, &record, &failure), &failure);
    return record;
}

static bm_smooth_search_params params_of(bm_piecewise_candidates candidates, uint32_t k_piece)
{
    bm_smooth_search_params params;
    bm_smooth_search_params_init(&params);
    params.candidates = candidates;
    params.k_piece = k_piece;
    params.search_piece = true;
    return params;
}

// The best for all together is alpha 0.75, 1 and 8; the first piece then takes the factor 2^(1/4).
static void relative_candidates_move_from_the_best_of_all(void **state)
{
    (void)state;
    const double step = pow(2, 0.25), target[CHANNELS] = {step, step, 8, 8};
    const bm_smooth_search_params params = params_of(BM_PIECEWISE_RELATIVE, 2);
    float scales[CHANNELS];
    bm_smooth_record record = search(magnitudes, target, &params, scales);
    assert_close(scales[0], step, 1e-6);
    assert_close(scales[3], 8, 1e-6);
    assert_int_equal(record.moves[0].num_pieces, 0);
    assert_int_equal(record.moves[0].chosen, 56);
    assert_close(record.identity_loss, 98 + 2 * (step - 1) * (step - 1), 1e-9);
    assert_int_equal(record.first_grid.count, 70);
    assert_true(isfinite(record.losses[61]) && isnan(record.losses[62])); // a constant for all changes no code
    assert_int_equal(record.stride, 78);
    assert_int_equal(record.chosen_pieces, 2);
    assert_true(isnan(record.losses[77])); // past the first grid
    bm_smooth_record_free(&record);
}

static void what_was_best_of_all_stays_where_no_piece_is_better(void **state)
{
    (void)state;
    const bm_smooth_search_params params = params_of(BM_PIECEWISE_RELATIVE, 2);
    float scales[CHANNELS];
    bm_smooth_record record = search(magnitudes, (const double[]){1, 1, 8, 8}, &params, scales);
    assert_true(scales[0] == 1 && scales[2] == 8 && record.chosen_pieces == 0 && record.loss == 0);
    bm_smooth_record_free(&record);
}

static void check_partition(bm_piecewise_candidates candidates, const double *a, const uint32_t *expected)
{
    const bm_smooth_search_params params = params_of(candidates, 2);
    const bm_smooth_problem problem = make_smooth_problem(CHANNELS, a, w, 10, NULL, NULL);
    bm_channel_pieces pieces[2];
    uint32_t num_found = 0;
    assert_ok(bm_smooth_partition(&problem, &params, pieces, &num_found, &failure), &failure);
    assert_int_equal(num_found, 2);
    assert_memory_equal(pieces[1].piece, expected, CHANNELS * sizeof *expected);
    bm_channel_pieces_free(&pieces[0]);
    bm_channel_pieces_free(&pieces[1]);
}

static void logarithms_part_by_ratios(void **state)
{
    (void)state;
    check_partition(BM_PIECEWISE_ABSOLUTE, (const double[]){1000, 1, 100, 10}, (const uint32_t[]){1, 0, 0, 0});
    check_partition(BM_PIECEWISE_LOG, (const double[]){1000, 1, 100, 10}, (const uint32_t[]){1, 0, 1, 0});
    check_partition(BM_PIECEWISE_LOG, (const double[]){1000, 0, 100, 1}, (const uint32_t[]){1, 0, 1, 0}); // dead: below
}

// Constant inputs: one piece, whatever is asked for. Dead channels: 1, whatever wins.
static void channels_that_are_alike_are_one_piece(void **state)
{
    (void)state;
    const bm_smooth_search_params params = params_of(BM_PIECEWISE_ABSOLUTE, 8);
    const double *const target = (const double[]){3, 3, 3, 3};
    float scales[CHANNELS];
    bm_smooth_record record = search((const double[]){4, 4, 4, 4}, target, &params, scales);
    assert_true(record.asked_pieces == 8 && record.most_pieces == 1 && record.chosen_pieces == 1);
    assert_close(scales[2], pow(4, 0.79), 1e-6); // alphas alone: a constant for all changes no code
    bm_smooth_record_free(&record);
    record = search((const double[]){4, 0, 4, 4}, target, &params, scales);
    assert_true(record.most_pieces == 2 && scales[0] == 3 && scales[1] == 1 && scales[3] == 3);
    bm_smooth_record_free(&record);
    record = search((const double[]){0, 0, 0, 0}, target, &params, scales);
    assert_true(record.most_pieces == 1 && scales[0] == 1 && scales[3] == 1 && !record.nothing_finite);
    bm_smooth_record_free(&record);
    const bm_smooth_search_params by_logarithms = params_of(BM_PIECEWISE_LOG, 3);
    record = search((const double[]){0, 0, 0, 0}, target, &by_logarithms, scales);
    assert_true(record.most_pieces == 1 && scales[0] == 1);
    bm_smooth_record_free(&record);
}

static void powers_of_two_alone_are_tried(void **state)
{
    (void)state;
    bm_smooth_search_params params = params_of(BM_PIECEWISE_ABSOLUTE, 2);
    float scales[CHANNELS];
    params.pow2 = true;
    bm_smooth_record record = search(magnitudes, (const double[]){1.7, 1.7, 6.5, 6.5}, &params, scales);
    assert_true(scales[0] == 2 && scales[3] == 8);
    bm_smooth_record_free(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relative_candidates_move_from_the_best_of_all),
        cmocka_unit_test(what_was_best_of_all_stays_where_no_piece_is_better),
        cmocka_unit_test(logarithms_part_by_ratios),
        cmocka_unit_test(channels_that_are_alike_are_one_piece),
        cmocka_unit_test(powers_of_two_alone_are_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
