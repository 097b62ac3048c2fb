// The loss over slices of a vocabulary is that of the whole, and what it says of targets and divergences.
#include "ops/fixture.h"
#include "ops/loss.h"

#include <math.h>
#include <string.h>

enum { TOKENS = 9, VOCABULARY = 100 };
static float p_logits[TOKENS * VOCABULARY], q_logits[TOKENS * VOCABULARY];
static uint32_t targets[TOKENS];
#define BOUND 4e-6 // losses are below 16: two roundings of those, and a few of the logarithm and of the sum

static void assert_near(double got, double want)
{
    if (!(fabs(got - want) <= BOUND))
        fail_msg("got %.9g, want %.9g", got, want);
}

static double log_sum(const float *logits)
{
    double sum = 0;
    for (uint32_t c = 0; c < VOCABULARY; c++)
        sum += exp((double)logits[c]);
    return log(sum);
}

// Columns first .. first + count - 1 of all tokens.
static bm_tensor slice(const float *logits, uint32_t first, uint32_t count)
{
    static float part[TOKENS * VOCABULARY];
    for (uint32_t t = 0; t < TOKENS; t++)
        memcpy(part + t * count, logits + t * VOCABULARY + first, count * sizeof *part);
    return make_tensor(TOKENS, count, part);
}

static const uint32_t cuts[] = {0, 33, 34, 64, VOCABULARY};

static bm_loss *add_all(const float *logits, bm_view wanted, bool in_slices)
{
    bm_loss *loss = NULL;
    MUST(bm_loss_create(test_device, TOKENS + 3, &loss, &failure));
    MUST(bm_loss_begin(test_device, loss, TOKENS, &failure));
    for (uint32_t i = 0; i < (in_slices ? 4 : 1); i++) {
        const uint32_t first = in_slices ? cuts[i] : 0, end = in_slices ? cuts[i + 1] : VOCABULARY;
        const bm_tensor part = slice(logits, first, end - first);
        MUST(bm_loss_add(test_device, loss, &part, wanted, first, &failure));
    }
    return loss;
}

static void slices_equal_whole(void **state)
{
    (void)state;
    const bm_view wanted = make_integers(TOKENS, targets);
    for (uint32_t in_slices = 0; in_slices < 2; in_slices++) {
        float losses[TOKENS];
        uint32_t best[TOKENS];
        bm_loss *loss = add_all(p_logits, wanted, in_slices);
        const bm_loss_result result = {.losses = losses, .best = best};
        MUST(bm_loss_finish(test_device, loss, wanted, &result, &failure));
        for (uint32_t t = 0; t < TOKENS; t++) {
            const float *x = p_logits + t * VOCABULARY;
            uint32_t want = 0;
            for (uint32_t c = 1; c < VOCABULARY; c++)
                want = x[c] > x[want] ? c : want;
            assert_int_equal(best[t], want);
            if (targets[t] == BM_LOSS_UNSCORED)
                assert_true(losses[t] == 0);
            else
                assert_near(losses[t], log_sum(x) - x[targets[t]]);
        }
        bm_loss_destroy(&loss);
    }
}

static void divergence_in_slices_equals_formula(void **state)
{
    (void)state;
    const bm_view wanted = make_integers(TOKENS, targets);
    bm_loss *p = add_all(p_logits, wanted, true), *q = add_all(q_logits, wanted, false);
    for (uint32_t i = 0; i < 4; i++) {
        const bm_tensor p_part = slice(p_logits, cuts[i], cuts[i + 1] - cuts[i]);
        const bm_tensor q_part = slice(q_logits, cuts[i], cuts[i + 1] - cuts[i]);
        MUST(bm_loss_add_divergence(test_device, p, q, &p_part, &q_part, &failure));
    }
    float divergences[TOKENS];
    const bm_loss_result result = {.divergences = divergences};
    MUST(bm_loss_finish(test_device, q, wanted, &result, &failure));
    for (uint32_t t = 0; t < TOKENS; t++) {
        const float *x = p_logits + t * VOCABULARY, *y = q_logits + t * VOCABULARY;
        const double p_sum = log_sum(x), q_sum = log_sum(y);
        double want = 0;
        for (uint32_t c = 0; c < VOCABULARY; c++)
            want += exp(x[c] - p_sum) * ((x[c] - p_sum) - (y[c] - q_sum));
        assert_near(divergences[t], want);
        assert_true(divergences[t] > 0);
    }
    bm_loss_destroy(&p);
    bm_loss_destroy(&q);
}

static void a_batch_discards_the_one_before(void **state)
{
    (void)state;
    const uint32_t none[TOKENS] = {0};
    const bm_view wanted = make_integers(TOKENS, none);
    bm_loss *loss = add_all(p_logits, wanted, true);
    const float zeros[4 * 8] = {0};
    const bm_tensor flat = make_tensor(4, 8, zeros);
    MUST(bm_loss_begin(test_device, loss, 4, &failure));
    MUST(bm_loss_add(test_device, loss, &flat, wanted, 0, &failure));
    float losses[4];
    uint32_t best[4];
    MUST(bm_loss_finish(test_device, loss, wanted, &(bm_loss_result){.losses = losses, .best = best}, &failure));
    for (uint32_t t = 0; t < 4; t++) {
        assert_near(losses[t], log(8));
        assert_int_equal(best[t], 0); // the first of equals
    }
    bm_loss_destroy(&loss);
}

// Of equal largest logits the first is the best: among neighbours, among those that different work-items look at, and among
// slices.
static void of_equal_logits_the_first_is_best(void **state)
{
    (void)state;
    static const uint32_t pairs[][2] = {{0, 99}, {5, 80}, {32, 33}, {40, 41}, {61, 64}, {70, 71}};
    static float logits[TOKENS * VOCABULARY];
    static const uint32_t none[TOKENS];
    const bm_view wanted = make_integers(TOKENS, none);
    memset(logits, 0, sizeof logits);
    for (uint32_t t = 0; t < BM_COUNT(pairs); t++)
        logits[t * VOCABULARY + pairs[t][0]] = logits[t * VOCABULARY + pairs[t][1]] = 7;
    for (uint32_t in_slices = 0; in_slices < 2; in_slices++) {
        uint32_t best[TOKENS];
        bm_loss *loss = add_all(logits, wanted, in_slices);
        MUST(bm_loss_finish(test_device, loss, wanted, &(bm_loss_result){.best = best}, &failure));
        for (uint32_t t = 0; t < TOKENS; t++)
            assert_int_equal(best[t], t < BM_COUNT(pairs) ? pairs[t][0] : 0);
        bm_loss_destroy(&loss);
    }
}

static void a_target_outside_all_slices_is_an_argument_error(void **state)
{
    (void)state;
    uint32_t far[TOKENS] = {0};
    far[5] = VOCABULARY;
    const bm_view wanted = make_integers(TOKENS, far);
    bm_loss *loss = add_all(p_logits, wanted, true);
    float losses[TOKENS];
    bm_error err = {0};
    assert_int_equal(bm_loss_finish(test_device, loss, wanted, &(bm_loss_result){.losses = losses}, &err),
                     BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "token 5"));
    assert_int_equal(bm_loss_begin(test_device, loss, TOKENS + 4, &err), BM_E_ARGUMENT);
    bm_loss_destroy(&loss);
}

static void a_logit_that_is_not_finite_is_a_numeric_error(void **state)
{
    (void)state;
    static const float values[] = {NAN, INFINITY, -INFINITY};
    float bad[TOKENS * VOCABULARY];
    for (uint32_t i = 0; i < BM_COUNT(values); i++) {
        memcpy(bad, p_logits, sizeof bad);
        bad[3 * VOCABULARY + 50] = values[i];
        const bm_view wanted = make_integers(TOKENS, targets);
        bm_loss *loss = add_all(bad, wanted, true);
        float losses[TOKENS];
        bm_error err = {0};
        assert_int_equal(bm_loss_finish(test_device, loss, wanted, &(bm_loss_result){.losses = losses}, &err),
                         BM_E_NUMERIC);
        assert_non_null(strstr(err.message, "element 3"));
        bm_loss_destroy(&loss);
    }
}

// Logits of 3e38 and -3e38 are finite, their difference is not.
static void a_result_that_overflows_is_a_numeric_error(void **state)
{
    (void)state;
    const float far[2] = {3e38f, -3e38f}, other[2] = {-3e38f, 3e38f};
    const bm_view wanted = make_integers(1, (const uint32_t[]){1});
    const bm_tensor p_logits_far = make_tensor(1, 2, far), q_logits_far = make_tensor(1, 2, other);
    bm_loss *p = NULL, *q = NULL;
    MUST(bm_loss_create(test_device, 1, &p, &failure));
    MUST(bm_loss_create(test_device, 1, &q, &failure));
    MUST(bm_loss_begin(test_device, p, 1, &failure));
    MUST(bm_loss_begin(test_device, q, 1, &failure));
    MUST(bm_loss_add(test_device, p, &p_logits_far, wanted, 0, &failure));
    MUST(bm_loss_add(test_device, q, &q_logits_far, wanted, 0, &failure));
    float value = 0;
    bm_error err = {0};
    assert_int_equal(bm_loss_finish(test_device, p, wanted, &(bm_loss_result){.losses = &value}, &err), BM_E_NUMERIC);
    assert_non_null(strstr(err.message, "token 0: the loss"));
    MUST(bm_loss_finish(test_device, q, wanted, &(bm_loss_result){.losses = &value}, &failure));
    assert_true(value == 0);
    MUST(bm_loss_add_divergence(test_device, p, q, &p_logits_far, &q_logits_far, &failure));
    assert_int_equal(bm_loss_finish(test_device, q, wanted, &(bm_loss_result){.divergences = &value}, &err),
                     BM_E_NUMERIC);
    assert_non_null(strstr(err.message, "token 0: the divergence"));
    bm_loss_destroy(&p);
    bm_loss_destroy(&q);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_equal_whole),
        cmocka_unit_test(divergence_in_slices_equals_formula),
        cmocka_unit_test(a_batch_discards_the_one_before),
        cmocka_unit_test(of_equal_logits_the_first_is_best),
        cmocka_unit_test(a_target_outside_all_slices_is_an_argument_error),
        cmocka_unit_test(a_logit_that_is_not_finite_is_a_numeric_error),
        cmocka_unit_test(a_result_that_overflows_is_a_numeric_error),
    };
    bm_random random;
    bm_random_init(&random, 3, 0);
    fill_normal(&random, BM_COUNT(p_logits), 2, p_logits);
    for (uint32_t i = 0; i < BM_COUNT(q_logits); i++)
        q_logits[i] = p_logits[i] + (float)(0.3 * bm_random_normal(&random));
    for (uint32_t t = 0; t < TOKENS; t++)
        targets[t] = t == 4   ? BM_LOSS_UNSCORED
                     : t == 6 ? 0
                     : t == 7 ? VOCABULARY - 1
                              : bm_random_below(&random, VOCABULARY);
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
