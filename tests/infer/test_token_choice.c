// Choice of tokens: the likeliest, temperature, nuclei. Expected shares are worked out by hand.
#include "support/unit.h"

#include "infer/token_choice.h"

#include <math.h>
#include <string.h>

enum { DRAWS = 20000 };

// How often each token is drawn.
static void draw(const bm_sample_params *params, const float *logits, uint32_t vocabulary, uint32_t *counts)
{
    bm_error err = {0};
    bm_sampler_state sampler;
    assert_ok(bm_sampler_create(&sampler, params, vocabulary, &err), &err);
    memset(counts, 0, vocabulary * sizeof *counts);
    for (uint32_t i = 0; i < DRAWS; i++) {
        const uint32_t token = bm_sampler_choose(&sampler, logits);
        assert_true(token < vocabulary);
        counts[token]++;
    }
    bm_sampler_destroy(&sampler);
}

// Temperature 0 takes the largest logit, of equals the smallest id, whatever the seed.
static void the_first_of_the_largest(void **state)
{
    (void)state;
    static const float logits[] = {-1, 3, 2, 3, 3};
    uint32_t counts[5];
    draw(&(bm_sample_params){.temperature = 0, .top_p = 0.5, .seed = 9}, logits, 5, counts);
    assert_int_equal(counts[1], DRAWS);
}

// Logits log 1, log 2, log 5: probabilities in proportion to those to the power of 1 / temperature. Nuclei hold whole
// tokens, the likeliest first, until they reach top_p.
static void shares_follow_temperature_and_nucleus(void **state)
{
    (void)state;
    static const struct {
        double temperature, top_p, shares[3];
    } cases[] = {
        {1, 1, {1 / 8.0, 2 / 8.0, 5 / 8.0}},
        {0.5, 1, {1 / 30.0, 4 / 30.0, 25 / 30.0}},
        {1e-3, 1, {0, 0, 1}},
        {1, 0.6, {0, 0, 1}},
        {1, 0.7, {0, 2 / 7.0, 5 / 7.0}},
        {1, 0.9, {1 / 8.0, 2 / 8.0, 5 / 8.0}},
    };
    const float logits[] = {0, logf(2), logf(5)};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const bm_sample_params params = {.temperature = cases[i].temperature, .top_p = cases[i].top_p, .seed = i};
        uint32_t counts[3];
        draw(&params, logits, 3, counts);
        for (uint32_t t = 0; t < 3; t++) {
            const double share = cases[i].shares[t], spread = sqrt(share * (1 - share) / DRAWS);
            if (!(fabs((double)counts[t] / DRAWS - share) <= 4 * spread))
                fail_msg("case %zu, token %u: %u of %d draws, expected a share of %g", i, t, counts[t], DRAWS, share);
        }
    }
}

// 100 tokens in some order, each e^0.1 times likelier than the next: the 20 likeliest hold (1 - e^-2) / (1 - e^-10) =
// 0.8647, the 19 likeliest 0.8504 of the whole.
static void a_nucleus_holds_the_likeliest(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    float logits[COUNT];
    uint32_t counts[COUNT];
    for (uint32_t i = 0; i < COUNT; i++)
        logits[i * 37 % COUNT] = -0.1f * (float)i;
    draw(&(bm_sample_params){.temperature = 1, .top_p = 0.86, .seed = 4}, logits, COUNT, counts);
    for (uint32_t i = 0; i < COUNT; i++)
        if ((counts[i * 37 % COUNT] > 0) != (i < 20))
            fail_msg("the token at place %u is drawn %u times", i, counts[i * 37 % COUNT]);
}

static void of_equal_tokens_a_nucleus_takes_the_first(void **state)
{
    (void)state;
    static const float logits[7] = {0};
    uint32_t counts[7];
    draw(&(bm_sample_params){.temperature = 1, .top_p = 0.25, .seed = 2}, logits, 7, counts);
    assert_true(counts[0] > 0 && counts[1] > 0);
    assert_int_equal(counts[0] + counts[1], DRAWS);
}

static void the_seed_decides(void **state)
{
    (void)state;
    static const float logits[] = {0, 0, 0, 0};
    bm_error err = {0};
    uint32_t differing = 0;
    bm_sampler_state a, b, c;
    assert_ok(bm_sampler_create(&a, &(bm_sample_params){1, 1, 5}, 4, &err), &err);
    assert_ok(bm_sampler_create(&b, &(bm_sample_params){1, 1, 5}, 4, &err), &err);
    assert_ok(bm_sampler_create(&c, &(bm_sample_params){1, 1, 6}, 4, &err), &err);
    for (uint32_t i = 0; i < 100; i++) {
        const uint32_t token = bm_sampler_choose(&a, logits);
        assert_int_equal(bm_sampler_choose(&b, logits), token);
        differing += bm_sampler_choose(&c, logits) != token;
    }
    assert_true(differing > 50);
    bm_sampler_destroy(&a);
    bm_sampler_destroy(&b);
    bm_sampler_destroy(&c);
}

static void senseless_params_are_refused(void **state)
{
    (void)state;
    static const bm_sample_params bad[] = {{-0.5, 1, 0}, {NAN, 1, 0}, {1, 0, 0}, {1, 1.5, 0}, {1, -1, 0}, {1, NAN, 0}};
    for (size_t i = 0; i < BM_COUNT(bad); i++) {
        bm_error err = {0};
        bm_sampler_state sampler;
        assert_int_equal(bm_sampler_create(&sampler, &bad[i], 4, &err), BM_E_ARGUMENT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_of_the_largest),
        cmocka_unit_test(shares_follow_temperature_and_nucleus),
        cmocka_unit_test(a_nucleus_holds_the_likeliest),
        cmocka_unit_test(of_equal_tokens_a_nucleus_takes_the_first),
        cmocka_unit_test(the_seed_decides),
        cmocka_unit_test(senseless_params_are_refused),
    };
    return cmocka_run_group_tests_name("token_choice", tests, NULL, NULL);
}
