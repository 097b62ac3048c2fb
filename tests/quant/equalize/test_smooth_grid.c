// Candidates of piecewise search: which, in which order, and what they make of scales.
#include "quant/equalize/close.h"
#include "quant/equalize/smooth_grid.h"

static bm_error failure;

static bm_smooth_grid_params defaults(void)
{
    bm_smooth_grid_params params;
    bm_smooth_grid_params_init(&params);
    return params;
}

static void check(const bm_smooth_grid *grid, uint32_t i, bm_smooth_candidate_kind kind, double value)
{
    assert_true(i < grid->count);
    assert_int_equal(grid->candidates[i].kind, kind);
    assert_close(grid->candidates[i].value, value, 1e-12);
}

static void the_published_grid_has_70(void **state)
{
    (void)state;
    const bm_smooth_grid_params params = defaults();
    bm_smooth_grid grid;
    assert_ok(bm_smooth_grid_create_absolute(&params, &grid, &failure), &failure);
    assert_int_equal(grid.count, 70);
    check(&grid, 0, BM_SMOOTH_CONSTANT, 1);
    check(&grid, 1, BM_SMOOTH_ALPHA, 0.2);
    check(&grid, 2, BM_SMOOTH_ALPHA, 0.21);
    check(&grid, 61, BM_SMOOTH_ALPHA, 0.8);
    check(&grid, 62, BM_SMOOTH_CONSTANT, 1.5);
    check(&grid, 69, BM_SMOOTH_CONSTANT, 5);
    bm_smooth_grid_free(&grid);
}

static void the_identity_needs_no_constants(void **state)
{
    (void)state;
    bm_smooth_grid_params params = defaults();
    bm_smooth_grid grid;
    params.has_constants = false;
    assert_ok(bm_smooth_grid_create_absolute(&params, &grid, &failure), &failure);
    assert_int_equal(grid.count, 62);
    check(&grid, 0, BM_SMOOTH_CONSTANT, 1);
    bm_smooth_grid_free(&grid);
    params.has_constants = true;
    params.scale_min = 2;
    assert_ok(bm_smooth_grid_create_absolute(&params, &grid, &failure), &failure);
    assert_int_equal(grid.count, 69);
    check(&grid, 0, BM_SMOOTH_CONSTANT, 1);
    check(&grid, 62, BM_SMOOTH_CONSTANT, 2);
    bm_smooth_grid_free(&grid);
}

static void relative_candidates_begin_with_what_is_there(void **state)
{
    (void)state;
    const bm_smooth_grid_params params = defaults();
    bm_smooth_grid grid;
    assert_ok(bm_smooth_grid_create_relative(&params, &grid, &failure), &failure);
    assert_int_equal(grid.count, 1 + 61 + 16);
    check(&grid, 0, BM_SMOOTH_FACTOR, 1);
    check(&grid, 1, BM_SMOOTH_RESCALED, 0.2);
    check(&grid, 61, BM_SMOOTH_RESCALED, 0.8);
    check(&grid, 62, BM_SMOOTH_FACTOR, 0.25);
    check(&grid, 69, BM_SMOOTH_FACTOR, 0.840896415253715);
    check(&grid, 70, BM_SMOOTH_FACTOR, 1.189207115002721);
    check(&grid, 77, BM_SMOOTH_FACTOR, 4);
    bm_smooth_grid_free(&grid);
}

// 59 alphas and 10 constants.
static void the_grid_of_paddleslim_has_69(void **state)
{
    (void)state;
    const bm_smooth_grid_params params = defaults();
    bm_smooth_grid grid;
    assert_ok(bm_smooth_grid_create_paddleslim(&params, &grid, &failure), &failure);
    assert_int_equal(grid.count, 69);
    check(&grid, 0, BM_SMOOTH_ALPHA, 0.21);
    check(&grid, 58, BM_SMOOTH_ALPHA, 0.79);
    check(&grid, 59, BM_SMOOTH_CONSTANT, 1);
    check(&grid, 68, BM_SMOOTH_CONSTANT, 5.5);
    bm_smooth_grid_free(&grid);
}

static void sizes_count_both_ends(void **state)
{
    (void)state;
    assert_int_equal(bm_smooth_grid_size(0.2, 0.8, 0.01), 61);
    assert_int_equal(bm_smooth_grid_size(0, 1, 0.1), 11);
    assert_int_equal(bm_smooth_grid_size(1, 5, 0.5), 9);
    assert_int_equal(bm_smooth_grid_size(0.2, 0.8, 0.23), 3); // 0.2, 0.43, 0.66
    assert_int_equal(bm_smooth_grid_size(1, 1, 0.5), 1);
}

static void crossed_bounds_are_refused(void **state)
{
    (void)state;
    static const struct {
        bm_smooth_grid_params params;
        const char *words;
    } cases[] = {
        {{0.8, 0.2, 0.01, false, 0, 0, 0}, "search_alpha_min 0.8, search_alpha_max 0.2: expected 0 <= min < max <= 1"},
        {{0.5, 0.5, 0.01, false, 0, 0, 0}, "search_alpha_min 0.5, search_alpha_max 0.5: expected 0 <= min < max <= 1"},
        {{-0.1, 0.5, 0.01, false, 0, 0, 0},
         "search_alpha_min -0.1, search_alpha_max 0.5: expected 0 <= min < max <= 1"},
        {{0.2, 1.1, 0.01, false, 0, 0, 0}, "search_alpha_min 0.2, search_alpha_max 1.1: expected 0 <= min < max <= 1"},
        {{(double)NAN, 1, 0.01, false, 0, 0, 0},
         "search_alpha_min nan, search_alpha_max 1: expected 0 <= min < max <= 1"},
        {{0.2, 0.8, 0, false, 0, 0, 0}, "search_alpha_step 0: expected 0.0001 or more"},
        {{0.2, 0.8, 0.01, true, 0.5, 5, 0.5},
         "search_scale_min 0.5, search_scale_max 5: expected 1 <= min <= max <= 100000"},
        {{0.2, 0.8, 0.01, true, 3, 2, 0.5},
         "search_scale_min 3, search_scale_max 2: expected 1 <= min <= max <= 100000"},
        {{0.2, 0.8, 0.01, true, 1, 5, -1},
         "search_scale_step -1: expected 0.0001 or more, and 10000 constants at most"},
        {{0.2, 0.8, 0.01, true, 1, 1e5, 1e-3},
         "search_scale_step 0.001: expected 0.0001 or more, and 10000 constants at most"},
    };
    for (uint32_t i = 0; i < BM_COUNT(cases); i++) {
        bm_smooth_grid grid;
        assert_int_equal(bm_smooth_grid_create_absolute(&cases[i].params, &grid, &failure), BM_E_ARGUMENT);
        assert_string_equal(failure.message, cases[i].words);
        assert_int_equal(bm_smooth_grid_create_relative(&cases[i].params, &grid, &failure), BM_E_ARGUMENT);
        assert_int_equal(bm_smooth_grid_create_paddleslim(&cases[i].params, &grid, &failure), BM_E_ARGUMENT);
    }
}

// Channels of inputs 1, 4, 16, a dead one, and one that is in another piece; weights 1.
static void apply(bm_smooth_candidate_kind kind, double value, bool pow2, const float *expected)
{
    static const double a[5] = {1, 4, 16, 0, 9};
    static const float w[5] = {1, 1, 1, 1, 1};
    const bm_smooth_candidate candidate = {kind, value};
    float scales[5] = {2, 2, 2, 3, 7};
    bm_smooth_candidate_apply(&candidate, (const uint32_t[]){0, 1, 2, 3}, 4, a, w, pow2, scales);
    for (uint32_t c = 0; c < 5; c++)
        assert_close(scales[c], expected[c], 1e-6 * (double)expected[c]);
}

static void candidates_change_their_piece_alone(void **state)
{
    (void)state;
    apply(BM_SMOOTH_CONSTANT, 1.5, false, (const float[]){1.5f, 1.5f, 1.5f, 1, 7});
    apply(BM_SMOOTH_ALPHA, 0.5, false, (const float[]){1, 2, 4, 1, 7});
    apply(BM_SMOOTH_FACTOR, 0.25, false, (const float[]){0.5f, 0.5f, 0.5f, 1, 7});
    apply(BM_SMOOTH_RESCALED, 0.5, false, (const float[]){1, 2, 4, 1, 7}); // the geometric mean 2 it has already
    apply(BM_SMOOTH_RESCALED, 1, false, (const float[]){0.5f, 2, 8, 1, 7});
    apply(BM_SMOOTH_CONSTANT, 3, true, (const float[]){4, 4, 4, 1, 7});
    apply(BM_SMOOTH_FACTOR, 1e6, false, (const float[]){1e5f, 1e5f, 1e5f, 1, 7});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_grid_has_70),
        cmocka_unit_test(the_identity_needs_no_constants),
        cmocka_unit_test(relative_candidates_begin_with_what_is_there),
        cmocka_unit_test(the_grid_of_paddleslim_has_69),
        cmocka_unit_test(sizes_count_both_ends),
        cmocka_unit_test(crossed_bounds_are_refused),
        cmocka_unit_test(candidates_change_their_piece_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
