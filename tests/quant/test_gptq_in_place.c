// A Hessian in a file and its factor in the place of it: what the factor with memory of its own is, and the same codes.
#include "quant/problem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHANNELS = 2 * BM_GRAM_ROWS + 72, TOKENS = 300, ROWS = 40 };

static void watch(bm_multiplier *m, const problem *p, const char *folder, bm_gram *gram)
{
    const bm_tensor all = make_tensor(p->tokens, p->channels, p->inputs);
    MUST(bm_gram_create(test_device, p->channels, false, gram, &failure));
    MUST(bm_gram_add(m, gram, &all, NULL, &failure));
    MUST(bm_gram_finish(test_device, gram, folder, &failure));
}

// Elements of U and U^T that differ by more than share of the largest.
static void compare_factors(const bm_inverse_factor *own, const bm_inverse_factor *in_place)
{
    const size_t n = own->channels;
    float *a = allocate(n * n, sizeof *a), *u = allocate(n * n, sizeof *u);
    double largest = 0, off = 0;
    read_tensor(&own->upper, a);
    read_tensor(&in_place->upper, u);
    assert_ptr_equal(in_place->upper.view.buffer, in_place->transposed.view.buffer);
    assert_memory_equal(own->order, in_place->order, n * sizeof *own->order);
    for (size_t i = 0; i < n; i++)
        for (size_t k = i; k < n; k++) {
            largest = fmax(largest, fabs((double)a[i * n + k]));
            off = fmax(off, fabs((double)(a[i * n + k] - u[i * n + k])));
            assert_true(u[k * n + i] == u[i * n + k]);
        }
    printf("    off by %.3g of the largest, residuals %.3g and %.3g\n", off / largest, own->residual,
           in_place->residual);
    assert_true(off < 1e-3 * largest);
    assert_true(in_place->damping == own->damping && in_place->residual < 2e-3);
    free(a);
    free(u);
}

static void one_square_is_enough(void **state)
{
    (void)state;
    if (support_is_instrumented())
        skip(); // as large as it is for the sake of its parts
    problem p = {.rows = ROWS, .channels = CHANNELS, .tokens = TOKENS, .num_dead = 3};
    make_problem(&p, 7);
    const bm_method_params params = {
        .grid = {.bits = 4, .group_size = 8, .symmetric = true, .scale_dtype = BM_DTYPE_F32},
        .act_order = BM_COLUMN_ORDER_STATIC,
        .scale_search = BM_SEARCH_WEIGHTED_MSE};
    bm_gram grams[2] = {{0}};
    bm_inverse_factor factors[2] = {{0}};
    result results[2];
    bm_multiplier m;
    uint32_t same = 0;
    bm_multiplier_init(&m, test_device);
    for (uint32_t i = 0; i < 2; i++) {
        watch(&m, &p, i == 0 ? NULL : ".", &grams[i]);
        MUST(bm_inverse_factor_create(&m, &grams[i], 0.01, true, &factors[i], &failure));
    }
    compare_factors(&factors[0], &factors[1]);
    for (uint32_t i = 0; i < 2; i++) {
        MUST(bm_gram_damp(test_device, &grams[i], 0.5, &failure));
        solve_problem(&m, &p, &grams[i], &factors[i], &params, &results[i]);
        check_result(&p, &params, &factors[i], &results[i]);
    }
    for (uint32_t k = 0; k < ROWS * CHANNELS; k++)
        same += results[0].codes[k] == results[1].codes[k];
    printf("    %u of %u codes are the same, errors %.6g and %.6g\n", same, ROWS * CHANNELS, results[0].error,
           results[1].error);
    assert_true(same > ROWS * CHANNELS / 100 * 99);
    assert_true(fabs(results[0].error - results[1].error) < 1e-2 * results[0].error);
    for (uint32_t i = 0; i < 2; i++) {
        free_result(&results[i]);
        bm_inverse_factor_destroy(&factors[i]);
        bm_gram_destroy(&grams[i]);
    }
    bm_multiplier_free(&m);
    destroy_tensors();
    free_problem(&p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_square_is_enough)};
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
