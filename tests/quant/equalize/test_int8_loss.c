// The loss of 8-bit codes: worked by hand, and against its formula in float64.
#include "base/random.h"
#include "quant/equalize/close.h"
#include "quant/equalize/int8_loss.h"
#include "quant/equalize/smooth_problem.h"
#include "quant/equalize/smooth_scales.h"

#include <stdlib.h>

static bm_error failure;

static double loss_of(const bm_int8_loss_params *params, const float *scales, double act_amax, uint32_t token_share)
{
    bm_int8_loss loss;
    double result = -1;
    const bm_smooth_batch batch = {1, scales, &act_amax, token_share, BM_SMOOTH_WHOLE};
    assert_ok(bm_int8_loss_init(&loss, params, &failure), &failure);
    assert_ok(bm_int8_loss_run(&loss, &batch, &result, &failure), &failure);
    bm_int8_loss_free(&loss);
    return result;
}

// x = (1.27, 0.5), S = 1.27: codes 127, 50. w = (1, 0.3): 127, 38 (38.1). Y = 1.42, Yq = 1.27 + 0.5 * 38 / 127
// = 1.419606. With s = (1, 2): x' codes 127, 25; w' = (1, 0.6): 127, 76: the same. With s = (1, 0.5): x' 127, 100; w' =
// 0.15: 19 (19.05): the same.
static void codes_are_those_worked_by_hand(void **state)
{
    (void)state;
    const bm_int8_loss_params params = {.inputs = (const float[]){1.27f, 0.5f},
                                        .weights = (const float[]){1, 0.3f},
                                        .tokens = 1,
                                        .rows = 1,
                                        .channels = 2,
                                        .linear_rows = (const uint64_t[]){1},
                                        .num_linears = 1,
                                        .group_size = 2};
    const double error = 0.5 * (0.3 - 38.0 / 127);
    assert_close(loss_of(&params, (const float[]){1, 1}, 1.27, 1), error * error, 1e-10);
    assert_close(loss_of(&params, (const float[]){1, 2}, 1.27, 1), error * error, 1e-10);
    assert_close(loss_of(&params, (const float[]){1, 0.5f}, 1.27, 1), error * error, 1e-10);
    // An observer of 0.635: 1.27 saturates at 127, which is 0.635; 0.5 has the code 100.
    const double saturated = 1.42 - (0.635 + 0.5 * 38 / 127);
    assert_close(loss_of(&params, (const float[]){1, 1}, 0.635, 1), saturated * saturated, 1e-7);
}

// Ties: x = 0.5 steps go to even, weights and inputs alike; PaddleSlim's away from zero. S = 127: the step is 1.
static void ties_go_to_even(void **state)
{
    (void)state;
    bm_int8_loss_params params = {.inputs = (const float[]){127, 0.5f, 1.5f, 2.5f},
                                  .weights = (const float[]){0, 127, 127, 127},
                                  .tokens = 1,
                                  .rows = 1,
                                  .channels = 4,
                                  .linear_rows = (const uint64_t[]){1},
                                  .num_linears = 1,
                                  .group_size = 4};
    const float ones[4] = {1, 1, 1, 1};
    assert_close(loss_of(&params, ones, 127, 1), pow(127 * (4.5 - (0 + 2 + 2)), 2), 1e-6);
    params.compat_paddleslim = true;
    assert_close(loss_of(&params, ones, 127, 1), pow(127 * (4.5 - (1 + 2 + 3)), 2), 1e-6);
}

#define TOKENS 21
#define ROWS 10
#define CHANNELS 24
static const uint64_t linear_rows[2] = {4, 6};

static double code(double x, double amax)
{
    return fmin(fmax(rint(x * 127 / amax), -128), 127) * amax / 127;
}

static double largest(const double *values, uint32_t count)
{
    double most = 0;
    for (uint32_t i = 0; i < count; i++)
        most = fmax(most, fabs(values[i]));
    return most;
}

// The formula as it stands, in float64.
static double expected_loss(const bm_int8_loss_params *p, const float *s, double act_amax, uint32_t share)
{
    double error[2] = {0}, square[2] = {0};
    uint32_t counted = 0;
    for (uint32_t t = 0; t < TOKENS; t++)
        for (uint32_t r = 0; r < ROWS; r++) {
            double x[CHANNELS], w[CHANNELS], y = 0, q = 0;
            for (uint32_t c = 0; c < CHANNELS; c++) {
                x[c] = (double)p->inputs[t * CHANNELS + c] / (double)s[c];
                w[c] = (double)p->weights[r * CHANNELS + c] * (double)s[c];
                y += x[c] * w[c];
            }
            const double amax = p->per_token ? largest(x, CHANNELS) : act_amax;
            for (uint32_t c = 0; c < CHANNELS; c++)
                q += code(x[c], amax) * code(w[c], largest(w + c / p->group_size * p->group_size, p->group_size));
            square[r >= 4] += y * y; // of all tokens
            error[r >= 4] += t % share == 0 ? (y - q) * (y - q) : 0;
            counted += t % share == 0;
        }
    if (!p->nmse)
        return (error[0] + error[1]) / counted;
    return (error[0] / (square[0] / (TOKENS * 4)) + error[1] / (square[1] / (TOKENS * 6))) / counted;
}

static void losses_are_those_of_the_formula(void **state)
{
    (void)state;
    bm_random random;
    float *inputs = malloc(TOKENS * CHANNELS * sizeof *inputs), *weights = malloc(ROWS * CHANNELS * sizeof *weights);
    float scales[CHANNELS];
    bm_random_init(&random, 3, 0);
    assert_true(inputs && weights);
    for (uint32_t i = 0; i < TOKENS * CHANNELS; i++)
        inputs[i] = (float)(bm_random_normal(&random) * (i % CHANNELS == 3 ? 20 : 1));
    for (uint32_t i = 0; i < ROWS * CHANNELS; i++)
        weights[i] = (float)(bm_random_normal(&random) * (i < 4 * CHANNELS ? 5 : 1));
    for (uint32_t c = 0; c < CHANNELS; c++)
        scales[c] = (float)exp(bm_random_normal(&random));
    for (uint32_t i = 0; i < 24; i++) {
        const bm_int8_loss_params params = {.inputs = inputs,
                                            .weights = weights,
                                            .tokens = TOKENS,
                                            .rows = ROWS,
                                            .channels = CHANNELS,
                                            .linear_rows = linear_rows,
                                            .num_linears = 2,
                                            .group_size = i % 3 == 0   ? CHANNELS
                                                          : i % 3 == 1 ? 8
                                                                       : 1,
                                            .per_token = i & 1,
                                            .nmse = i / 3 % 2,
                                            .compat_paddleslim = i >= 12};
        const uint32_t share = i % 4 == 3 ? 8 : 1;
        const double expected = expected_loss(&params, scales, 3, share);
        assert_close(loss_of(&params, scales, 3, share), expected, 1e-5 * expected);
    }
    free(inputs);
    free(weights);
}

static void zeros_lose_nothing(void **state)
{
    (void)state;
    const float ones[2] = {1, 1};
    bm_int8_loss_params params = {.inputs = (const float[]){0, 0},
                                  .weights = (const float[]){1, 2},
                                  .tokens = 1,
                                  .rows = 1,
                                  .channels = 2,
                                  .linear_rows = (const uint64_t[]){1},
                                  .num_linears = 1,
                                  .group_size = 2,
                                  .nmse = true};
    for (uint32_t i = 0; i < 4; i++) {
        params.per_token = i & 1;
        params.compat_paddleslim = i & 2;
        assert_true(loss_of(&params, ones, 1e-7, 1) == 0);
    }
    params.inputs = (const float[]){1, 2};
    params.weights = (const float[]){0, 0};
    assert_true(loss_of(&params, ones, 2, 1) == 0);
}

static void shapes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    bm_int8_loss_params params = {
        .rows = 3, .channels = 8, .linear_rows = (const uint64_t[]){1}, .num_linears = 1, .group_size = 3};
    bm_int8_loss loss;
    assert_int_equal(bm_int8_loss_init(&loss, &params, &failure), BM_E_ARGUMENT);
    assert_string_equal(failure.message, "group_size 3: expected a divisor of 8 channels");
    bm_int8_loss_free(&loss);
    params.group_size = 8;
    assert_int_equal(bm_int8_loss_init(&loss, &params, &failure), BM_E_ARGUMENT);
    assert_string_equal(failure.message, "linears have 1 rows together, expected 3");
    bm_int8_loss_free(&loss);
}

// A planted outlier channel: the search with this loss beats no scales and plain Smooth.
static void the_search_beats_plain_scales(void **state)
{
    (void)state;
    enum { TOKENS_HERE = 64, ROWS_HERE = 8, WIDTH = 12 };
    bm_random random;
    float *inputs = malloc(TOKENS_HERE * WIDTH * sizeof *inputs),
          *weights = malloc(ROWS_HERE * WIDTH * sizeof *weights);
    float w[WIDTH] = {0}, scales[WIDTH], smooth[WIDTH];
    double a[WIDTH] = {0};
    bm_random_init(&random, 4, 0);
    assert_true(inputs && weights);
    for (uint32_t i = 0; i < TOKENS_HERE * WIDTH; i++) {
        inputs[i] = (float)(bm_random_normal(&random) * (i % WIDTH == 5 ? 60 : 1));
        a[i % WIDTH] = fmax(a[i % WIDTH], fabs((double)inputs[i]));
    }
    for (uint32_t i = 0; i < ROWS_HERE * WIDTH; i++)
        weights[i] = (float)bm_random_normal(&random);
    bm_column_amax_add(weights, ROWS_HERE, WIDTH, w);
    const bm_int8_loss_params params = {.inputs = inputs,
                                        .weights = weights,
                                        .tokens = TOKENS_HERE,
                                        .rows = ROWS_HERE,
                                        .channels = WIDTH,
                                        .linear_rows = (const uint64_t[]){ROWS_HERE},
                                        .num_linears = 1,
                                        .group_size = WIDTH};
    bm_int8_loss loss;
    assert_ok(bm_int8_loss_init(&loss, &params, &failure), &failure);
    const bm_smooth_problem problem = make_smooth_problem(WIDTH, a, w, TOKENS_HERE, bm_int8_loss_run, &loss);
    bm_smooth_search_params search;
    bm_smooth_search_params_init(&search);
    search.search_piece = true;
    search.prune = false;
    bm_smooth_record record;
    assert_ok(search_pieces(&problem, &search, scales, &record, &failure), &failure);
    for (uint32_t c = 0; c < WIDTH; c++)
        smooth[c] = bm_smooth_scale(a[c], (double)w[c], 0.5);
    const double plain = loss_of(&params, smooth, bm_activation_amax(BM_ACTIVATION_ABS_MAX, a, 1, WIDTH, smooth), 1);
    assert_true(record.loss < plain && plain < record.identity_loss);
    assert_close(loss_of(&params, scales, bm_activation_amax(BM_ACTIVATION_ABS_MAX, a, 1, WIDTH, scales), 1),
                 record.loss, 0);
    assert_true(record.identity_loss == record.losses[0]);
    bm_smooth_record_free(&record);
    bm_int8_loss_free(&loss);
    free(inputs);
    free(weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_those_worked_by_hand),     cmocka_unit_test(ties_go_to_even),
        cmocka_unit_test(losses_are_those_of_the_formula),    cmocka_unit_test(zeros_lose_nothing),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused), cmocka_unit_test(the_search_beats_plain_scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
