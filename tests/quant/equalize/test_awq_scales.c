// AWQ's candidates: both grids, scales worked by hand, dead channels, the floors.
#include "quant/equalize/awq_scales.h"
#include "quant/equalize/close.h"

#include <math.h>

static void grids_are_the_published_one_and_ours(void **state)
{
    (void)state;
    bm_smooth_grid grid = {0};
    bm_error err;
    assert_int_equal(bm_awq_grid_create(20, false, &grid, &err), BM_OK);
    assert_int_equal(grid.count, 20);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(grid.candidates[i].kind, BM_SMOOTH_AWQ);
        assert_close(grid.candidates[i].value, 0.05 * i, 1e-15);
    }
    bm_smooth_grid_free(&grid);
    assert_int_equal(bm_awq_grid_create(4, true, &grid, &err), BM_OK);
    assert_int_equal(grid.count, 9);
    for (uint32_t i = 0; i < 9; i++) {
        assert_int_equal(grid.candidates[i].kind, i < 5 ? BM_SMOOTH_AWQ : BM_SMOOTH_AWQ_DUO);
        assert_close(grid.candidates[i].value, 0.25 * (i % 5), 0);
    }
    bm_smooth_grid_free(&grid);
}

// No scales are in a grid twice: which of the two loses less would be chance.
static void candidates_of_a_grid_differ(void **state)
{
    (void)state;
    static const double m[] = {1, 4, 16, 0.25}, w[] = {0.25, 1, 0.5, 0.0625};
    float scales[9][4];
    bm_smooth_grid grid = {0};
    bm_error err;
    assert_int_equal(bm_awq_grid_create(4, true, &grid, &err), BM_OK);
    for (uint32_t i = 0; i < grid.count; i++) {
        bm_awq_scales(&grid.candidates[i], 4, m, w, scales[i]);
        for (uint32_t k = 0; k < i; k++) {
            float farthest = 0;
            for (uint32_t c = 0; c < 4; c++)
                farthest = fmaxf(farthest, fabsf(scales[i][c] / scales[k][c] - 1));
            assert_true(farthest > 0.01f);
        }
    }
    bm_smooth_grid_free(&grid);
}

static void near_losses_take_the_earlier_candidate(void **state)
{
    (void)state;
    assert_int_equal(bm_awq_best((const double[]){3, 2, 1, 2}, 4), 2);
    assert_int_equal(bm_awq_best((const double[]){1, 1 - 9e-6, 1}, 3), 0);
    assert_int_equal(bm_awq_best((const double[]){1, 1 - 1.1e-5, 1 - 1.9e-5}, 3), 1);
    assert_int_equal(bm_awq_best((const double[]){0, 0}, 2), 0);
    assert_int_equal(bm_awq_best((const double[]){(double)INFINITY, (double)NAN, 7, 8}, 4), 2);
    assert_int_equal(bm_awq_best((const double[]){(double)NAN, (double)INFINITY}, 2), 0);
}

static void check(bm_smooth_candidate_kind kind, double ratio, const double *m, const double *w, const double *expected)
{
    float scales[4];
    const bm_smooth_candidate candidate = {kind, ratio};
    bm_awq_scales(&candidate, 4, m, w, scales);
    for (uint32_t c = 0; c < 4; c++)
        assert_close(scales[c], expected[c], 1e-6 * expected[c]);
}

static void scales_are_those_worked_by_hand(void **state)
{
    (void)state;
    static const double m[] = {1, 4, 16, 0.25}, w[] = {0.25, 1, 0.25, 0.0625};
    check(BM_SMOOTH_AWQ, 0, m, w, (const double[]){1, 1, 1, 1});
    // 1, 2, 4, 0.5 over sqrt(4 * 0.5)
    check(BM_SMOOTH_AWQ, 0.5, m, w, (const double[]){0.70710678, 1.41421356, 2.82842712, 0.35355339});
    // 1, 4, 16, 0.25 over sqrt(16 / 4)
    check(BM_SMOOTH_AWQ, 1, m, w, (const double[]){0.5, 2, 8, 0.125});
    // 1 / 0.5001, 2 / 1.0001, 4 / 0.5001, 0.5 / 0.2501 over sqrt(7.9984003 * 1.9992003) = 3.9987999
    check(BM_SMOOTH_AWQ_DUO, 0.5, m, w, (const double[]){0.50004999, 0.50010003, 2.00019997, 0.49995003});
    // 1 / 1.0001, 4 / 1.0001, ..: the weights do not count
    check(BM_SMOOTH_AWQ_DUO, 1, m, w, (const double[]){0.5, 2, 8, 0.125});
}

// One dead channel must not decide what the others are divided by.
static void dead_channels_have_1_and_do_not_count(void **state)
{
    (void)state;
    static const double m[] = {1, 0, 16, 1e6}, w[] = {0.25, 1, 0.25, 0};
    check(BM_SMOOTH_AWQ, 0.5, m, w, (const double[]){0.5, 1, 2, 1});
    check(BM_SMOOTH_AWQ_DUO, 0.5, m, w, (const double[]){0.5, 1, 2, 1});
    static const double none[4];
    check(BM_SMOOTH_AWQ, 0.5, none, none, (const double[]){1, 1, 1, 1});
}

static void scales_are_at_least_a_ten_thousandth(void **state)
{
    (void)state;
    static const double m[] = {1, 1e-9, 1, 1}, w[] = {1, 1, 1, 1};
    check(BM_SMOOTH_AWQ, 1, m, w, (const double[]){100, 0.01, 100, 100}); // over sqrt(1 * 1e-4)
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grids_are_the_published_one_and_ours),
        cmocka_unit_test(candidates_of_a_grid_differ),
        cmocka_unit_test(near_losses_take_the_earlier_candidate),
        cmocka_unit_test(scales_are_those_worked_by_hand),
        cmocka_unit_test(dead_channels_have_1_and_do_not_count),
        cmocka_unit_test(scales_are_at_least_a_ten_thousandth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
