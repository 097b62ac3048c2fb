// The factor against its definition in float64: U is upper, and U^T U inverts the damped, ordered Hessian; order, damping, dead
// channels and the measured residual.
#include "quant/gptq_reference.h"
#include "quant/problem.h"
#include "support/listener.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct factored {
    bm_multiplier m;
    bm_gram gram;
    bm_inverse_factor factor;
} factored;

static factored factor_problem(const problem *p, double damping, bool ordered)
{
    factored it = {0};
    bm_multiplier_init(&it.m, test_device);
    watch_problem(&it.m, p, &it.gram);
    MUST(bm_inverse_factor_create(&it.m, &it.gram, damping, ordered, &it.factor, &failure));
    return it;
}

static void free_factored(factored *it)
{
    bm_inverse_factor_destroy(&it->factor);
    bm_gram_destroy(&it->gram);
    bm_multiplier_free(&it->m);
    destroy_tensors();
}

// H' + d I in the order of the factor.
static double *damped_hessian(const problem *p, const bm_inverse_factor *f)
{
    const uint32_t n = p->channels;
    double *h = allocate((size_t)n * n, sizeof *h), mean = 0;
    for (uint32_t i = 0; i < n; i++)
        mean += p->hessian[(size_t)i * (n + 1)] / (n - f->num_dead);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++)
            h[(size_t)i * n + j] = p->hessian[(size_t)f->order[i] * n + f->order[j]];
    for (uint32_t i = 0; i < n; i++)
        h[(size_t)i * (n + 1)] += mean * (f->damping + (f->dead[f->order[i]] ? 1 : 0));
    return h;
}

// Largest deviation of U^T U from the inverse, relative to the largest element of that; U is upper and U^T its transpose.
static double deviation(const problem *p, const bm_inverse_factor *f)
{
    const uint32_t n = p->channels;
    double *h = damped_hessian(p, f), *inverse = allocate((size_t)n * n, sizeof *inverse), largest = 0, off = 0;
    float *upper = allocate((size_t)n * n, sizeof *upper), *transposed = allocate((size_t)n * n, sizeof *transposed);
    gptq_reference_invert(h, inverse, n);
    read_tensor(&f->upper, upper);
    read_tensor(&f->transposed, transposed);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            double product = 0;
            for (uint32_t k = 0; k <= i && k <= j; k++)
                product += (double)upper[(size_t)k * n + i] * (double)upper[(size_t)k * n + j];
            off = fmax(off, fabs(product - inverse[(size_t)i * n + j]));
            largest = fmax(largest, fabs(inverse[(size_t)i * n + j]));
            assert_true(upper[(size_t)i * n + j] == transposed[(size_t)j * n + i]);
            assert_true(j >= i || upper[(size_t)i * n + j] == 0);
        }
    for (uint32_t i = 0; i < n; i++)
        assert_true(f->diagonal[f->order[i]] == upper[(size_t)i * (n + 1)]);
    free(h);
    free(inverse);
    free(upper);
    free(transposed);
    return off / largest;
}

static void factor_is_that_of_float64(void **state)
{
    (void)state;
    static const struct {
        uint32_t channels, tokens, num_dead, rank;
        double noise, damping;
        bool is_long;
    } cases[] = {
        {1, 9, 0, 0, 0, 0.01, false},    {2, 9, 0, 0, 0, 0.01, false},    {63, 200, 0, 0, 0, 0.01, false},
        {64, 200, 2, 0, 0, 0.01, false}, {65, 200, 0, 0, 0, 0.01, false}, {131, 90, 3, 5, 1e-3, 0.01, false},
        {96, 30, 0, 1, 0, 0.01, false},  {257, 300, 1, 0, 0, 0, true},    {300, 40, 0, 3, 1e-4, 0.001, true},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++)
        for (uint32_t ordered = 0; ordered < 2; ordered++) {
            if (cases[i].is_long && support_is_instrumented())
                continue;
            problem p = {.rows = 1,
                         .channels = cases[i].channels,
                         .tokens = cases[i].tokens,
                         .num_dead = cases[i].num_dead,
                         .rank = cases[i].rank,
                         .noise = cases[i].noise};
            make_problem(&p, 20 + i);
            factored it = factor_problem(&p, cases[i].damping, ordered);
            const double off = deviation(&p, &it.factor);
            printf("    %u channels, rank %u: off by %.2g, residual %.2g\n", p.channels, p.rank, off,
                   it.factor.residual);
            // The condition is at most that of rank 1: all channels' diagonal beside the damping's.
            const double bound = 4 * 0x1p-24 * (1 + p.channels / it.factor.damping);
            assert_true(off <= bound && it.factor.residual <= bound);
            assert_int_equal(it.factor.num_dead, p.num_dead);
            assert_int_equal(it.factor.num_raised, 0);
            assert_true(!it.factor.by_host);
            free_factored(&it);
            free_problem(&p);
        }
}

// By falling diagonal of H, of equal ones the first; place is the inverse.
static void order_is_by_falling_diagonal(void **state)
{
    (void)state;
    problem p = {.rows = 1, .channels = 45, .tokens = 60, .num_dead = 2};
    make_problem(&p, 31);
    for (uint32_t t = 0; t < p.tokens; t++) // the same numbers, so the same sums
        p.inputs[t * 45 + 20] = p.inputs[t * 45 + 30] = p.inputs[t * 45 + 10];
    factored it = factor_problem(&p, 0.01, true);
    const bm_inverse_factor *f = &it.factor;
    for (uint32_t i = 0; i < 45; i++) {
        double here = 0, next = 0;
        assert_int_equal(f->place[f->order[i]], i);
        for (uint32_t t = 0; t < p.tokens && i + 1 < 45; t++) {
            here += pow((double)p.inputs[t * 45 + f->order[i]], 2);
            next += pow((double)p.inputs[t * 45 + f->order[i + 1]], 2);
        }
        assert_true(here >= next * (1 - 1e-5));
    }
    assert_int_equal(f->place[20], f->place[10] + 1);
    assert_int_equal(f->place[30], f->place[10] + 2);
    free_factored(&it);
    it = factor_problem(&p, 0.01, false);
    for (uint32_t i = 0; i < 45; i++)
        assert_true(it.factor.order[i] == i && it.factor.place[i] == i);
    free_factored(&it);
    free_problem(&p);
}

// Few tokens want more: the larger of 0.01 and channels / (2 tokens).
static void automatic_damping_follows_the_tokens(void **state)
{
    (void)state;
    static const uint32_t tokens[] = {3, 50, 300};
    for (size_t i = 0; i < BM_COUNT(tokens); i++) {
        problem p = {.rows = 1, .channels = 4, .tokens = tokens[i]};
        make_problem(&p, 40 + i);
        factored it = factor_problem(&p, 0, true);
        assert_true(fabs(it.factor.damping - fmax(0.01, 4 / (2.0 * tokens[i]))) < 1e-12);
        free_factored(&it);
        it = factor_problem(&p, 0.02, true); // as given
        assert_true(it.factor.damping == 0.02);
        free_factored(&it);
        free_problem(&p);
    }
}

// Next to no damping: float32 meets bad pivots or a bad residual, and the damping that goes by the tokens takes its place.
static void damping_that_is_too_small_becomes_the_automatic_one(void **state)
{
    (void)state;
    static const struct {
        uint32_t channels, tokens;
        double damping;
    } cases[] = {{100, 40, 1e-8}, {100, 40, 1e-30}, {100, 2000, 1e-30}, {512, 40, 1e-8}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        if (support_is_instrumented() && (cases[i].channels > 100 || cases[i].tokens > 100))
            skip(); // long products
        problem p = {.rows = 8, .channels = cases[i].channels, .tokens = cases[i].tokens, .rank = 4};
        make_problem(&p, 3 + i);
        factored it = factor_problem(&p, cases[i].damping, true);
        assert_int_equal(it.factor.num_raised, 1);
        assert_true(it.factor.damping == fmax(0.01, p.channels / (2.0 * p.tokens)));
        assert_true(it.factor.residual <= 1e-3 && deviation(&p, &it.factor) <= 1e-3);
        free_factored(&it);
        free_problem(&p);
    }
}

// A Hessian that is not positive definite by more than the automatic damping: from there on by tens.
static void damping_is_raised_until_a_factor_is_found(void **state)
{
    (void)state;
    static const struct {
        double damping;
        uint32_t num_raised;
    } cases[] = {{0, 1}, {1e-30, 2}, {0.001, 2}, {0.005, 2}, {0.02, 1}};
    static const float square[] = {1, 1.05f, 1.05f, 1}; // eigenvalues 2.05 and -0.05
    static const bm_gemm_choice generic = {.group = 64, .slice = 8, .gflops = 1, .reason = "test"};
    for (size_t i = 0; i < 2 * BM_COUNT(cases); i++) {
        const double given = cases[i / 2].damping;
        factored it = {0};
        bm_multiplier_init(&it.m, test_device);
        if (i % 2 == 1) { // products in parts are tried first, and change nothing
            it.m.split.choice = it.m.split.few = generic;
            it.m.split.min_rows = it.m.split.min_columns = it.m.split.min_multiplications = 0;
        }
        MUST(bm_gram_create(test_device, 2, false, &it.gram, &failure));
        it.gram.tokens = 100;
        MUST(bm_tensor_upload(test_device, &it.gram.hessian, square, &failure));
        MUST(bm_inverse_factor_create(&it.m, &it.gram, given, true, &it.factor, &failure));
        assert_int_equal(it.factor.num_raised, cases[i / 2].num_raised);
        assert_true(fabs(it.factor.damping - (given == 0.02 ? 0.2 : 0.1)) < 1e-12);
        assert_false(it.m.split.is_off); // for those that come
        assert_int_equal(it.m.split.columns, BM_SPLIT_COLUMNS);
        free_factored(&it);
    }
}

// That of few tokens is above 1, where damping that is raised ends otherwise: a given one of 1 is raised to it too.
static void automatic_damping_may_be_above_1(void **state)
{
    (void)state;
    enum { N = 8 };
    static const double dampings[] = {0, 0.5, 1};
    float square[N * N] = {0};
    for (uint32_t i = 0; i < N; i++)
        square[i * (N + 1)] = 1;
    square[1] = square[N] = 3; // an eigenvalue of -2
    for (size_t i = 0; i < BM_COUNT(dampings); i++) {
        factored it = {0};
        bm_multiplier_init(&it.m, test_device);
        MUST(bm_gram_create(test_device, N, false, &it.gram, &failure));
        it.gram.tokens = 1;
        MUST(bm_tensor_upload(test_device, &it.gram.hessian, square, &failure));
        MUST(bm_inverse_factor_create(&it.m, &it.gram, dampings[i], true, &it.factor, &failure));
        assert_int_equal(it.factor.num_raised, dampings[i] > 0 ? 1 : 0);
        assert_true(it.factor.damping == 4); // channels / (2 tokens)
        free_factored(&it);
    }
}

// Anywhere in it: then nothing is left, and the Hessian can be factored as before.
static void factoring_can_be_stopped(void **state)
{
    (void)state;
    if (support_is_instrumented())
        skip(); // long products
    problem p = {.rows = 1, .channels = 300, .tokens = 90};
    listener l = {0, 0};
    const bm_progress progress = {hear, &l};
    bm_phase phase = {.progress = &progress};
    bm_multiplier m;
    bm_gram gram = {0};
    bm_inverse_factor factor = {0};
    make_problem(&p, 50);
    bm_multiplier_init(&m, test_device);
    watch_problem(&m, &p, &gram);
    m.phase = &phase;
    MUST(bm_inverse_factor_create(&m, &gram, 0.01, true, &factor, &failure));
    const uint32_t all = l.reports;
    const double residual = factor.residual;
    assert_true(all >= 3 + 4); // probes, and at least one recursion
    bm_inverse_factor_destroy(&factor);
    MUST(bm_device_wait(test_device, &failure));
    const uint64_t live = bm_device_live_bytes(test_device);
    for (uint32_t stop = 1; stop <= all; stop += 3) {
        bm_error err = {0};
        l = (listener){0, stop};
        assert_int_equal(bm_inverse_factor_create(&m, &gram, 0.01, true, &factor, &err), BM_E_CANCELLED);
        assert_int_equal(l.reports, stop);
        assert_null(factor.order);
        MUST(bm_device_wait(test_device, &failure));
        assert_int_equal(bm_device_live_bytes(test_device), live);
    }
    l = (listener){0, 0};
    MUST(bm_inverse_factor_create(&m, &gram, 0.01, true, &factor, &failure));
    assert_true(factor.residual == residual);
    bm_inverse_factor_destroy(&factor);
    bm_gram_destroy(&gram);
    bm_multiplier_free(&m);
    free_problem(&p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factor_is_that_of_float64),
        cmocka_unit_test(factoring_can_be_stopped),
        cmocka_unit_test(order_is_by_falling_diagonal),
        cmocka_unit_test(automatic_damping_follows_the_tokens),
        cmocka_unit_test(damping_that_is_too_small_becomes_the_automatic_one),
        cmocka_unit_test(damping_is_raised_until_a_factor_is_found),
        cmocka_unit_test(automatic_damping_may_be_above_1),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
