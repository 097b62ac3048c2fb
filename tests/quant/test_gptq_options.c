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
    static const uint32_t sizes[] = {512, 1024, 1060};
    prepared it = prepare((problem){.rows = 3, .channels = 1060, .tokens = 150, .rank = 40, .noise = 0.3}, true);
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

// What follows is of one grid a row, symmetric, with float32 steps.
static double nearest(double w, double step, uint32_t bits)
{
    const double half = ldexp(1, (int)bits - 1);
    return fmin(fmax(rint(w / step), -half), half - 1) * step;
}

// The step with the least sum of squares, each divided by that of the factor's diagonal, of all candidates one by one.
static void weighted_search_divides_by_the_factor(void **state)
{
    (void)state;
    enum { N = 60, BITS = 3 };
    prepared it = prepare((problem){.rows = 12, .channels = N, .tokens = 150}, true);
    const bm_method_params params = {
        .grid = {.bits = BITS, .group_size = N, .symmetric = true, .signed_scales = true, .scale_dtype = BM_DTYPE_F32},
        .scale_search = BM_SEARCH_WEIGHTED_MSE,
        .act_order = BM_COLUMN_ORDER_STATIC};
    result r;
    run(&it, &params, &r);
    for (uint32_t i = 0; i < it.p.rows; i++) {
        const double *w = it.p.wide + (size_t)i * N;
        double peak = 0, least = INFINITY, found = 0;
        for (uint32_t c = 0; c < N; c++)
            peak = fmax(peak, fabs(w[c]));
        for (int f = -86; f <= 86; f++) { // the step that was found, then all candidates
            const double factor = f == 0 ? 0 : (f < 0 ? -1 : 1) * (1.05 - 0.01 * (abs(f) - 1));
            const double step = f == 0 ? (double)r.step[i] : peak * factor / 3;
            double error = 0;
            for (uint32_t c = 0; c < N; c++)
                error += pow((w[c] - nearest(w[c], step, BITS)) / (double)it.factor.diagonal[c], 2);
            if (f == 0)
                found = error;
            least = fmin(least, error);
        }
        assert_true(found <= least * (1 + 1e-4));
    }
    free_result(&r);
    finish(&it);
}

// The residual (w - rounded) H of a row.
static void fill_residual(const problem *p, const float *weights, const float *rounded, double *residual)
{
    const uint32_t n = p->channels;
    for (uint32_t j = 0; j < n; j++) {
        residual[j] = 0;
        for (uint32_t i = 0; i < n; i++)
            residual[j] += ((double)weights[i] - (double)rounded[i]) * p->hessian[(size_t)i * n + j];
    }
}

// More sweeps than it takes: then no column of any block has a better code while the others stay.
static void sweeps_end_where_no_code_can_move(void **state)
{
    (void)state;
    enum { N = 150, BITS = 4 };
    if (support_is_instrumented())
        skip(); // products and column loops are long there
    prepared it = prepare((problem){.rows = 8, .channels = N, .tokens = 300}, true);
    const bm_method_params params = {
        .grid = {.bits = BITS, .group_size = N, .symmetric = true, .scale_dtype = BM_DTYPE_F32},
        .act_order = BM_COLUMN_ORDER_STATIC,
        .code_sweeps = 20};
    result r;
    run(&it, &params, &r);
    for (uint32_t i = 0; i < it.p.rows; i++) {
        double residual[N] = {0};
        fill_residual(&it.p, it.p.weights + (size_t)i * N, r.rounded + (size_t)i * N, residual);
        for (uint32_t c = 0; c < N; c++) {
            const double at = (double)r.rounded[i * N + c] + residual[c] / it.p.hessian[(size_t)c * (N + 1)];
            const double step = (double)r.step[i], scaled = at / step, distance = fabs(scaled - floor(scaled) - 0.5);
            assert_true(distance < 1e-3 || fabs(nearest(at, step, BITS) - (double)r.rounded[i * N + c]) < 1e-3 * step);
        }
    }
    free_result(&r);
    finish(&it);
}

// Group by group the step that is best for its codes, behind those of the groups before.
static void refit_is_least_squares_group_by_group(void **state)
{
    (void)state;
    enum { N = 96, SIZE = 32, GROUPS = N / SIZE };
    prepared it = prepare((problem){.rows = 10, .channels = N, .tokens = 200}, true);
    bm_method_params params = {.grid = {.bits = 3, .group_size = SIZE, .symmetric = true, .scale_dtype = BM_DTYPE_F32},
                               .act_order = BM_COLUMN_ORDER_STATIC};
    result before, after;
    run(&it, &params, &before);
    params.scale_refit = true;
    run(&it, &params, &after);
    for (uint32_t i = 0; i < it.p.rows; i++) {
        float row[N];
        memcpy(row, before.rounded + (size_t)i * N, sizeof row);
        for (uint32_t g = 0; g < GROUPS; g++) {
            double residual[N] = {0}, num = 0, den = 0;
            fill_residual(&it.p, it.p.weights + (size_t)i * N, row, residual);
            for (uint32_t c = g * SIZE; c < (g + 1) * SIZE; c++) {
                num += residual[c] * (double)row[c];
                for (uint32_t k = g * SIZE; k < (g + 1) * SIZE; k++)
                    den += (double)row[c] * it.p.hessian[(size_t)c * N + k] * (double)row[k];
            }
            const double wanted = (double)before.step[i * GROUPS + g] * (1 + num / den);
            assert_true(fabs((double)after.step[i * GROUPS + g] - wanted) <= 1e-4 * fabs(wanted));
            for (uint32_t c = g * SIZE; c < (g + 1) * SIZE; c++)
                row[c] *= (float)(1 + num / den);
        }
    }
    free_result(&before);
    free_result(&after);
    finish(&it);
}

// Inputs that are nearly one and two bits: the greedy loop pushes errors into columns that cannot take them, and rows keep plain
// rounding. check_result looks at each row.
static void no_row_is_worse_than_plain_rounding(void **state)
{
    (void)state;
    enum { N = 61 };
    prepared it = prepare((problem){.rows = 96, .channels = N, .tokens = 100, .rank = 1, .noise = 1e-3}, false);
    const bm_method_params params = {
        .grid = {.bits = 2, .group_size = N, .symmetric = true, .scale_dtype = BM_DTYPE_F32}};
    result r;
    run(&it, &params, &r);
    check_result(&it.p, &params, &it.factor, &r);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < it.p.rows; i++) {
        bool equal = true;
        for (uint32_t c = 0; c < N && equal; c++)
            equal = r.codes[i * N + c] == (int8_t)nearest((double)(it.p.weights[i * N + c] / r.step[i]), 1, 2);
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
        cmocka_unit_test(weighted_search_divides_by_the_factor),
        cmocka_unit_test(sweeps_end_where_no_code_can_move),
        cmocka_unit_test(refit_is_least_squares_group_by_group),
        cmocka_unit_test(no_row_is_worse_than_plain_rounding),
        cmocka_unit_test(repeated_runs_give_the_same_bytes),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
