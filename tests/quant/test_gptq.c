// GPTQ against its definition in float64: Hessians, factors, codes up to the first that lies at a rounding boundary, and
// errors; and what must hold of any result.
#include "quant/gptq_reference.h"
#include "quant/problem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// How all rows came out.
typedef struct tally {
    uint32_t rows, diverged, guarded; // diverged: at a boundary; guarded: plain rounding was better than the definition
    double worst;                     // of the errors' relative differences, problem by problem
} tally;

// The nearest points of the row's grid.
static void round_plainly(const gptq_reference *g, uint32_t row, const double *target, const uint32_t *order,
                          double *out)
{
    const uint32_t groups = (g->channels + g->group_size - 1) / g->group_size;
    const double half = ldexp(1, (int)g->bits - 1);
    for (uint32_t i = 0; i < g->channels; i++) {
        const uint32_t c = order[i];
        const size_t k = (size_t)row * groups + (g->ordered && g->dynamic_groups ? i : c) / g->group_size;
        const double step = (double)g->step[k], zero = g->zero_point[k];
        out[c] = (fmin(fmax(rint(target[c] / step) + zero, -half), half - 1) - zero) * step;
    }
}

// Codes of the program and of the reference, row by row up to the first difference, which must lie at a boundary.
static void compare(const problem *p, const gptq_reference *g, const bm_inverse_factor *factor, const result *r,
                    tally *sum)
{
    const uint32_t n = p->channels;
    uint32_t *order = gptq_reference_order(g), num_diverged = 0, num_guarded = 0;
    double ours = 0, theirs = 0;
    for (uint32_t i = 0; i < p->rows; i++) {
        double *row = allocate(n, sizeof *row), *target = allocate(n, sizeof *target),
               *plain = allocate(n, sizeof *plain);
        for (uint32_t c = 0; c < n; c++) {
            row[c] = (double)r->rounded[(size_t)i * n + c];
            target[c] = factor->dead[c] ? 0 : p->wide[(size_t)i * n + c];
        }
        round_plainly(g, i, target, order, plain);
        const double *defined = g->rounded + (size_t)i * n;
        const double error = gptq_reference_error(target, defined, p->hessian, n);
        const double rounding = gptq_reference_error(target, plain, p->hessian, n);
        const bool is_guarded = rounding < error;
        for (uint32_t k = 0; k < n && !is_guarded; k++) {
            const double distance = g->distance[(size_t)i * n + order[k]];
            if (fabs(row[order[k]] - defined[order[k]]) > 1e-3 * fabs(defined[order[k]])) {
                if (distance > 2e-3)
                    fail_msg("row %u, column %u of the loop: %g, expected %g, %g steps from a boundary", i, k,
                             row[order[k]], defined[order[k]], distance);
                num_diverged++;
                break;
            }
        }
        num_guarded += is_guarded;
        ours += gptq_reference_error(target, row, p->hessian, n);
        theirs += fmin(error, rounding);
        free(row);
        free(target);
        free(plain);
    }
    printf("    [%u, %u] groups of %u: %u rows diverged at a boundary, %u guarded, error %.5g, in float64 %.5g\n",
           p->rows, n, g->group_size, num_diverged, num_guarded, ours, theirs);
    assert_true(num_diverged <= 1 + p->rows / 4);
    assert_true(fabs(ours - theirs) <= 0.01 * theirs + 1e-10);
    sum->rows += p->rows;
    sum->diverged += num_diverged;
    sum->guarded += num_guarded;
    sum->worst = fmax(sum->worst, fabs(ours - theirs) / (theirs + 1e-10));
    free(order);
}

static const struct {
    uint32_t rows, channels, tokens, group_size, bits, num_dead, rank;
    bool symmetric;
    double noise;
} shapes[] = {
    {9, 77, 300, 77, 4, 0, 0, true, 0},    {7, 96, 400, 32, 3, 2, 0, true, 0},
    {5, 160, 200, 64, 4, 0, 0, false, 0},  {3, 132, 64, 132, 8, 1, 0, true, 0},
    {6, 256, 100, 128, 2, 3, 0, true, 0},  {4, 128, 50, 32, 4, 0, 3, true, 0},
    {16, 520, 300, 64, 4, 0, 0, true, 0},  {33, 1, 9, 1, 4, 0, 0, true, 0},
    {2, 5, 40, 5, 4, 0, 0, false, 0},      {21, 97, 300, 97, 4, 3, 4, true, 1e-2},
    {8, 224, 90, 32, 3, 0, 7, true, 1e-3}, {12, 61, 500, 61, 2, 1, 1, true, 1e-3},
};

// is_split: all products in parts of 16 bits, as large ones are on matrix units; through the generic kernel where there are none.
static void check_codes(bool is_split)
{
    static const bm_gemm_choice generic = {.group = 64, .slice = 8, .gflops = 1, .reason = "test"};
    if (support_is_instrumented())
        skip(); // products and column loops are long there
    tally sum = {0};
    for (size_t s = 0; s < BM_COUNT(shapes); s++)
        for (uint32_t order = BM_COLUMN_ORDER_NONE; order <= BM_COLUMN_ORDER_DYNAMIC; order++) {
            problem p = {.rows = shapes[s].rows,
                         .channels = shapes[s].channels,
                         .tokens = shapes[s].tokens,
                         .num_dead = shapes[s].num_dead,
                         .rank = shapes[s].rank,
                         .noise = shapes[s].noise};
            const bool grouped = shapes[s].group_size < shapes[s].channels;
            if (grouped && order != BM_COLUMN_ORDER_STATIC && !shapes[s].symmetric)
                continue; // the reference has no zero points of groups that are entered
            make_problem(&p, 100 + s);
            bm_multiplier m;
            bm_multiplier_init(&m, test_device);
            if (is_split) {
                m.split.min_rows = m.split.min_columns = m.split.min_multiplications = 0;
                if (m.split.choice.gflops == 0)
                    m.split.choice = m.split.few = generic;
            }
            bm_gram gram = {0};
            bm_inverse_factor factor = {0};
            watch_problem(&m, &p, &gram);
            MUST(bm_inverse_factor_create(&m, &gram, 0.01, order != BM_COLUMN_ORDER_NONE, &factor, &failure));
            assert_int_equal(factor.num_raised, 0);
            // Matrix units may cut their sums: inputs of nearly one direction leave a Hessian that is told within 0.7 % then.
            p.told_within = is_split && m.split.choice.gflops > 1 ? 2e-2 : 0;
            assert_true(factor.residual < 2e-3);
            bm_method_params params = {.grid = {.bits = shapes[s].bits,
                                                .group_size = shapes[s].group_size,
                                                .symmetric = shapes[s].symmetric,
                                                .scale_dtype = BM_DTYPE_F32},
                                       .act_order = (bm_column_order)order};
            if (order == BM_COLUMN_ORDER_STATIC) { // grids are found before the loop, so any will do
                params.scale_search = BM_SEARCH_WEIGHTED_MSE;
                params.grid.signed_scales = true;
            }
            result r;
            solve_problem(&m, &p, &gram, &factor, &params, &r);
            check_result(&p, &params, &factor, &r);
            const size_t count = (size_t)p.rows * p.channels;
            gptq_reference g = {.rows = p.rows,
                                .channels = p.channels,
                                .group_size = shapes[s].group_size,
                                .bits = shapes[s].bits,
                                .symmetric = shapes[s].symmetric,
                                .ordered = order != BM_COLUMN_ORDER_NONE,
                                .dynamic_groups = grouped && order != BM_COLUMN_ORDER_STATIC,
                                .damping = factor.damping,
                                .hessian = p.hessian,
                                .weights = p.wide,
                                .step = r.step,
                                .zero_point = r.zero_point,
                                .rounded = allocate(count, sizeof(double)),
                                .distance = allocate(count, sizeof(double))};
            gptq_reference_solve(&g);
            compare(&p, &g, &factor, &r, &sum);
            free(g.rounded);
            free(g.distance);
            free_result(&r);
            bm_inverse_factor_destroy(&factor);
            bm_gram_destroy(&gram);
            bm_multiplier_free(&m);
            destroy_tensors();
            free_problem(&p);
        }
    printf("    of %u rows %u diverged, %u are better rounded plainly; errors differ by at most %.2g\n", sum.rows,
           sum.diverged, sum.guarded, sum.worst);
}

static void codes_are_those_of_the_definition(void **state)
{
    (void)state;
    check_codes(false);
}

static void codes_by_products_in_parts_are_those_of_the_definition(void **state)
{
    (void)state;
    check_codes(true);
}

// Every option lowers the error of the step before, as coordinate descent and least squares must.
static void refinement_lowers_the_error(void **state)
{
    (void)state;
    if (support_is_instrumented())
        skip(); // products and column loops are long there
    problem p = {.rows = 24, .channels = 256, .tokens = 600};
    make_problem(&p, 7);
    bm_multiplier m;
    bm_multiplier_init(&m, test_device);
    bm_gram gram = {0};
    bm_inverse_factor factor = {0};
    watch_problem(&m, &p, &gram);
    MUST(bm_inverse_factor_create(&m, &gram, 0, true, &factor, &failure));
    bm_method_params params = {.grid = {.bits = 3, .group_size = 64, .symmetric = true, .scale_dtype = BM_DTYPE_F16},
                               .act_order = BM_COLUMN_ORDER_STATIC};
    double errors[6] = {0};
    for (uint32_t i = 0; i < 6; i++) {
        result r;
        params.scale_search = i > 0 ? BM_SEARCH_WEIGHTED_MSE : BM_SEARCH_ABS_MAX;
        params.grid.signed_scales = i > 1;
        params.code_sweeps = i > 3 ? i - 3 : i > 2;
        params.scale_refit = i > 3;
        solve_problem(&m, &p, &gram, &factor, &params, &r);
        check_result(&p, &params, &factor, &r);
        errors[i] = r.error;
        free_result(&r);
        destroy_tensors();
    }
    printf("    abs-max %.4g, searched %.4g, signed %.4g, one sweep %.4g, with refit %.4g, two sweeps %.4g\n",
           errors[0], errors[1], errors[2], errors[3], errors[4], errors[5]);
    assert_true(errors[1] < errors[0] && errors[2] < errors[1] && errors[3] < errors[2] && errors[4] < errors[3] &&
                errors[5] <= errors[4]);
    bm_inverse_factor_destroy(&factor);
    bm_gram_destroy(&gram);
    bm_multiplier_free(&m);
    free_problem(&p);
}

static void groups_that_straddle_are_refused(void **state)
{
    (void)state;
    problem p = {.rows = 2, .channels = 96, .tokens = 200};
    make_problem(&p, 4);
    bm_multiplier m;
    bm_multiplier_init(&m, test_device);
    bm_gram gram = {0};
    bm_inverse_factor factor = {0};
    bm_codes codes = {0};
    bm_error err = {0};
    watch_problem(&m, &p, &gram);
    MUST(bm_inverse_factor_create(&m, &gram, 0.01, true, &factor, &failure));
    const bm_method_params params = {
        .grid = {.bits = 4, .group_size = 48, .symmetric = true, .scale_dtype = BM_DTYPE_F32}};
    const bm_tensor weights = make_tensor(p.rows, p.channels, p.weights);
    MUST(bm_codes_create(test_device, p.rows, p.channels, &params.grid, &codes, &failure));
    bm_row_errors *errors = calloc(p.rows, sizeof *errors);
    const bm_method_rows rows = {.weights = &weights, .codes = &codes, .errors = errors};
    assert_int_equal(bm_gptq_rows_solve(&m, &gram, &factor, &params, &rows, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "groups of 48"));
    free(errors);
    bm_codes_destroy(&codes);
    bm_inverse_factor_destroy(&factor);
    bm_gram_destroy(&gram);
    bm_multiplier_free(&m);
    free_problem(&p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_those_of_the_definition),
        cmocka_unit_test(codes_by_products_in_parts_are_those_of_the_definition),
        cmocka_unit_test(refinement_lowers_the_error),
        cmocka_unit_test(groups_that_straddle_are_refused),
    };
    return run_on_device(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
