// Every option of GPTQ: bits, grids, groups narrower and wider than a super-block, searches and orders give codes, steps, zero
// points and errors that belong together; refinement, the guard of rows and repetition.
#include "quant/problem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A problem with its Hessian's factor.
typedef struct prepared {
    problem p;
    bm_multiplier m;
    bm_gram gram;
    bm_inverse_factor factor;
} prepared;

static prepared prepare(problem p, bool ordered)
{
    prepared it = {.p = p};
    make_problem(&it.p, p.rows + p.channels);
    bm_multiplier_init(&it.m, test_device);
    watch_problem(&it.m, &it.p, &it.gram);
    MUST(bm_inverse_factor_create(&it.m, &it.gram, 0, ordered, &it.factor, &failure));
    return it;
}

static void finish(prepared *it)
{
    bm_inverse_factor_destroy(&it->factor);
    bm_gram_destroy(&it->gram);
    bm_multiplier_free(&it->m);
    free_problem(&it->p);
}

static void run(prepared *it, const bm_method_params *params, result *out)
{
    solve_problem(&it->m, &it->p, &it->gram, &it->factor, params, out);
    destroy_tensors();
}

// Codes lie in their range and use both ends of it somewhere; signs and zero points are what the grid says.
static void check_grid(const problem *p, const bm_grid_params *grid, const result *r)
{
    const int half = 1 << (grid->bits - 1);
    int lowest = 0, highest = 0;
    uint32_t negative = 0, moved = 0;
    for (size_t k = 0; k < (size_t)p->rows * p->channels; k++) {
        lowest = r->codes[k] < lowest ? r->codes[k] : lowest;
        highest = r->codes[k] > highest ? r->codes[k] : highest;
    }
    for (uint32_t k = 0; k < p->rows * r->groups; k++) {
        negative += r->step[k] < 0;
        moved += r->zero_point[k] != 0;
        assert_true(r->zero_point[k] >= -half && r->zero_point[k] < half);
    }
    assert_true(lowest >= -half && highest < half);
    assert_true(highest == half - 1 || grid->bits == 8);
    assert_true(lowest <= -half + 1 || grid->bits == 8);
    assert_true(grid->symmetric ? moved == 0 : moved > 0);
    if (grid->symmetric && grid->signed_scales)
        assert_true(negative > 0 || p->rows * r->groups < 8);
    else
        assert_true(negative == 0);
}

static void every_option_gives_what_belongs_together(void **state)
{
    (void)state;
    if (support_is_instrumented())
        skip(); // products and column loops are long there
    static const uint32_t bits[] = {2, 3, 4, 8}, sizes[] = {32, 64, 256, 320};
    static const bm_search searches[] = {BM_SEARCH_MSE, BM_SEARCH_WEIGHTED_MSE, BM_SEARCH_GRAM};
    for (uint32_t order = BM_COLUMN_ORDER_NONE; order <= BM_COLUMN_ORDER_DYNAMIC; order++) {
        prepared it = prepare((problem){.rows = 6, .channels = 320, .tokens = 500, .num_dead = 1}, order > 0);
        for (uint32_t i = 0; i < 12; i++) {
            const bm_method_params params = {.grid = {.bits = bits[i % 4],
                                                      .group_size = sizes[(i + order) % 4],
                                                      .symmetric = i % 3 > 0,
                                                      .signed_scales = i % 3 > 1,
                                                      .scale_dtype = i % 2 ? BM_DTYPE_F16 : BM_DTYPE_BF16},
                                             .scale_search = searches[i / 4],
                                             .act_order = (bm_column_order)order,
                                             .code_sweeps = i % 2,
                                             .scale_refit = i / 2 % 2};
            result r;
            run(&it, &params, &r);
            check_result(&it.p, &params, &it.factor, &r);
            check_grid(&it.p, &params.grid, &r);
            free_result(&r);
        }
        finish(&it);
    }
}

// Groups wider than the columns whose errors are applied together, and rows of one group: a refit's changes have no memory of
// their own there.
static void refit_of_wide_groups_lowers_the_error(void **state)
{
    (void)state;
    if (support_is_instrumented())
        skip(); // products and column loops are long there
    static const uint32_t sizes[] = {512, 1024, 1100};
    prepared it = prepare((problem){.rows = 5, .channels = 1100, .tokens = 400, .rank = 40, .noise = 0.3}, true);
    for (uint32_t i = 0; i < BM_COUNT(sizes); i++) {
        bm_method_params params = {
            .grid = {.bits = 3, .group_size = sizes[i], .symmetric = true, .scale_dtype = BM_DTYPE_F32},
            .scale_search = i == 2 ? BM_SEARCH_GRAM : BM_SEARCH_WEIGHTED_MSE,
            .act_order = i == 1 ? BM_COLUMN_ORDER_DYNAMIC : BM_COLUMN_ORDER_STATIC};
        result before, after;
        run(&it, &params, &before);
        params.scale_refit = true;
        run(&it, &params, &after);
        check_result(&it.p, &params, &it.factor, &after);
        printf("    groups of %u: error %.4g, with refit %.4g\n", sizes[i], before.error, after.error);
        assert_true(after.error < before.error);
        // Every group's step moved in some row: the last, short one too.
        for (uint32_t g = 0; g < after.groups; g++) {
            uint32_t moved = 0;
            for (uint32_t r = 0; r < it.p.rows; r++)
                moved += before.step[r * before.groups + g] != after.step[r * after.groups + g];
            assert_true(moved > 0);
        }
        free_result(&before);
        free_result(&after);
    }
    finish(&it);
}

// Grids so coarse that most columns round to 0, inputs that are nearly one: the greedy loop pushes errors into columns that cannot
// take them, and rows keep plain rounding.
static void no_row_is_worse_than_plain_rounding(void **state)
{
    (void)state;
    prepared it = prepare((problem){.rows = 96, .channels = 24, .tokens = 40, .rank = 2, .noise = 0.01}, true);
    const bm_method_params params = {
        .grid = {.bits = 2, .group_size = 24, .symmetric = true, .scale_dtype = BM_DTYPE_F32},
        .act_order = BM_COLUMN_ORDER_STATIC};
    result r;
    run(&it, &params, &r);
    check_result(&it.p, &params, &it.factor, &r); // row by row
    uint32_t kept = 0;
    for (uint32_t i = 0; i < it.p.rows; i++) {
        bool equal = true;
        for (uint32_t c = 0; c < it.p.channels && equal; c++) {
            const float w = it.p.weights[i * it.p.channels + c], step = r.step[i];
            equal = r.codes[i * it.p.channels + c] == (int8_t)fminf(fmaxf(rintf(w / step), -2), 1);
        }
        kept += equal;
    }
    printf("    %u of %u rows keep plain rounding\n", kept, it.p.rows);
    assert_true(kept > 0 && kept < it.p.rows);
    free_result(&r);
    finish(&it);
}

static void repeated_runs_give_the_same_bytes(void **state)
{
    (void)state;
    const bm_method_params params = {
        .grid = {.bits = 4, .group_size = 32, .symmetric = true, .signed_scales = true, .scale_dtype = BM_DTYPE_F16},
        .scale_search = BM_SEARCH_WEIGHTED_MSE,
        .act_order = BM_COLUMN_ORDER_STATIC,
        .code_sweeps = 2,
        .scale_refit = true};
    result r[2];
    for (uint32_t i = 0; i < 2; i++) {
        prepared it = prepare((problem){.rows = 19, .channels = 96, .tokens = 150}, true);
        run(&it, &params, &r[i]);
        finish(&it);
    }
    assert_memory_equal(r[0].codes, r[1].codes, 19 * 96);
    assert_memory_equal(r[0].step, r[1].step, 19 * 3 * sizeof(float));
    assert_memory_equal(r[0].rounded, r[1].rounded, 19 * 96 * sizeof(float));
    assert_true(r[0].error == r[1].error && r[0].rounding == r[1].rounding);
    free_result(&r[0]);
    free_result(&r[1]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_option_gives_what_belongs_together),
        cmocka_unit_test(refit_of_wide_groups_lowers_the_error),
        cmocka_unit_test(no_row_is_worse_than_plain_rounding),
        cmocka_unit_test(repeated_runs_give_the_same_bytes),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
