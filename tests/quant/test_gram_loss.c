// Losses by a Gram matrix beside the same in double, token by token: several linears, parts, groups with tails, grids of all kinds,
// candidates that do not fit at once; what is not finite, and the arguments that are refused.
#include "quant/gram_loss.h"
#include "device/backend.h"
#include "ops/fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 60, MAX_CHANNELS = 600, MAX_ROWS = 220, CANDIDATES = 5, LINEARS = 2 };

static struct {
    uint32_t channels, rows[LINEARS];
    float inputs[TOKENS * MAX_CHANNELS], weights[LINEARS][MAX_ROWS * MAX_CHANNELS], scales[CANDIDATES * MAX_CHANNELS];
    bm_tensor gram;
    bm_weights *linears[LINEARS];
    bm_grid_params grids[LINEARS];
    bm_multiplier multiplier;
} g;

// rows_a_part: 0: a linear is one part.
static void make(uint32_t channels, uint32_t first_rows, uint32_t second_rows, uint32_t rows_a_part)
{
    static const bm_gemm_choice plain = {.name = "masters", .form = BM_GEMM_ROWS, .group = 64, .slice = 8, .gflops = 1};
    bm_random random;
    bm_random_init(&random, 5, channels);
    g.channels = channels, g.rows[0] = first_rows, g.rows[1] = second_rows;
    fill_normal(&random, (uint64_t)TOKENS * channels, 1, g.inputs);
    for (uint32_t t = 0; t < TOKENS; t++) { // one channel is large, one dead, two are alike
        g.inputs[t * channels + 3] *= 40;
        g.inputs[t * channels + 5] = 0;
        g.inputs[t * channels + 7] = g.inputs[t * channels + 6];
    }
    float *gram = calloc((size_t)channels * channels, sizeof *gram);
    for (uint32_t i = 0; i < channels; i++)
        for (uint32_t j = 0; j < channels; j++) {
            double sum = 0;
            for (uint32_t t = 0; t < TOKENS; t++)
                sum += (double)g.inputs[t * channels + i] * (double)g.inputs[t * channels + j];
            gram[i * channels + j] = (float)sum;
        }
    g.gram = make_tensor(channels, channels, gram);
    free(gram);
    const uint64_t limit = test_device->info.limits.max_allocation_bytes;
    for (uint32_t l = 0; l < LINEARS; l++) {
        fill_normal(&random, (uint64_t)g.rows[l] * channels, l == 0 ? 1 : 0.2, g.weights[l]);
        const bm_tensor staged = make_tensor(g.rows[l], channels, g.weights[l]);
        if (rows_a_part)
            test_device->info.limits.max_allocation_bytes = rows_a_part * bm_tensor_stride(BM_DTYPE_F32, channels) * 4;
        MUST(bm_weights_create(test_device, g.rows[l], channels, BM_DTYPE_F32, "linear", &plain, &g.linears[l],
                               &failure));
        test_device->info.limits.max_allocation_bytes = limit;
        MUST(bm_weights_set_rows(test_device, g.linears[l], 0, &staged, &failure));
    }
    for (uint32_t i = 0; i < CANDIDATES * channels; i++)
        g.scales[i] = i < channels ? 1 : (float)exp(bm_random_normal(&random) / 2);
    bm_multiplier_init(&g.multiplier, test_device);
}

static void destroy(void)
{
    for (uint32_t l = 0; l < LINEARS; l++)
        bm_weights_destroy(&g.linears[l]);
    bm_multiplier_free(&g.multiplier);
    destroy_tensors();
}

// group_size 0: one step a row.
static bm_grid_params grid_of(uint32_t bits, uint32_t group_size, bool symmetric)
{
    return (bm_grid_params){.bits = bits,
                            .group_size = group_size ? group_size : g.channels,
                            .symmetric = symmetric,
                            .scale_dtype = BM_DTYPE_F32,
                            .search = true}; // not looked at
}

static bm_gram_loss_params params_on(bm_grid_params first, bm_grid_params second)
{
    g.grids[0] = first, g.grids[1] = second;
    return (bm_gram_loss_params){
        .gram = &g.gram, .linears = (const bm_weights *const *)g.linears, .num_linears = LINEARS, .grids = g.grids};
}

// Of linears on one grid.
static bm_gram_loss_params params_of(uint32_t bits, uint32_t group_size, bool symmetric)
{
    const bm_grid_params grid = grid_of(bits, group_size, symmetric);
    return params_on(grid, grid);
}

static void round_group(double *w, uint32_t count, const bm_grid_params *grid)
{
    const double half = ldexp(1, (int)grid->bits - 1);
    double low = 0, high = 0, zero = 0;
    for (uint32_t i = 0; i < count; i++) {
        low = fmin(low, w[i]);
        high = fmax(high, w[i]);
    }
    const double step =
        (double)(float)(grid->symmetric ? fmax(-low, high) / (half - 1) : (high - low) / (2 * half - 1));
    if (!grid->symmetric)
        zero = fmin(fmax(rint(-low / step) - half, -half), half - 1);
    for (uint32_t i = 0; i < count; i++)
        w[i] = (fmin(fmax(rint((double)((float)w[i] / (float)step)) + zero, -half), half - 1) - zero) * step;
}

// sum over tokens and outputs of (x W^T - (x / s) Q(W s)^T)^2.
static double by_tokens(const bm_gram_loss_params *p, uint32_t candidate)
{
    const float *s = g.scales + (size_t)candidate * g.channels;
    double loss = 0;
    for (uint32_t l = 0; l < LINEARS; l++)
        for (uint32_t r = 0; r < g.rows[l]; r++) {
            const bm_grid_params *grid = &p->grids[l];
            const float *w = g.weights[l] + (size_t)r * g.channels;
            double q[MAX_CHANNELS];
            for (uint32_t c = 0; c < g.channels; c++)
                q[c] = (double)(w[c] * s[c]);
            for (uint32_t c = 0; c < g.channels; c += grid->group_size)
                round_group(q + c, (uint32_t)bm_min_u64(grid->group_size, g.channels - c), grid);
            for (uint32_t t = 0; t < TOKENS; t++) {
                double error = 0;
                for (uint32_t c = 0; c < g.channels; c++) {
                    const double x = (double)g.inputs[t * g.channels + c];
                    error += x * (double)w[c] - x / (double)s[c] * q[c];
                }
                loss += error * error;
            }
        }
    return loss;
}

static void check(const bm_gram_loss_params *params)
{
    double losses[CANDIDATES];
    MUST(bm_gram_losses(&g.multiplier, params, g.scales, CANDIDATES, losses, &failure));
    for (uint32_t i = 0; i < CANDIDATES; i++) {
        const double expected = by_tokens(params, i);
        if (!(fabs(losses[i] - expected) <= 2e-5 * expected))
            fail_msg("%u bits, groups of %u, and %u bits, groups of %u, candidate %u: found %.10g, expected %.10g",
                     params->grids[0].bits, params->grids[0].group_size, params->grids[1].bits,
                     params->grids[1].group_size, i, losses[i], expected);
    }
}

static void losses_are_those_of_the_tokens(void **state)
{
    (void)state;
    static const uint32_t shapes[][3] = {{160, 200, 31}, {97, 65, 1}, {32, 7, 220}, {600, 9, 4}};
    for (uint32_t i = 0; i < BM_COUNT(shapes); i++) {
        if (shapes[i][0] > 200 && support_is_instrumented())
            continue; // loops of its products grow too long for the driver
        make(shapes[i][0], shapes[i][1], shapes[i][2], i == 0 ? 64 : 0);
        for (uint32_t bits = 2; bits <= 8; bits += bits == 4 ? 4 : 1)
            for (uint32_t symmetric = 0; symmetric < 2; symmetric++) {
                const bm_gram_loss_params grouped = params_of(bits, 32, symmetric);
                check(&grouped);
                const bm_gram_loss_params rows = params_of(bits, 0, symmetric);
                check(&rows);
            }
        destroy();
    }
}

// Few groups and many, few bits and many, with zero points and without, in either order.
static void each_linear_is_rounded_on_its_own_grid(void **state)
{
    (void)state;
    make(160, 200, 31, 64);
    const bm_grid_params pairs[][2] = {{grid_of(4, 32, false), grid_of(6, 16, true)},
                                       {grid_of(5, 32, true), grid_of(8, 32, true)},
                                       {grid_of(3, 0, true), grid_of(3, 4, false)}};
    for (size_t i = 0; i < BM_COUNT(pairs); i++) {
        const bm_gram_loss_params params = params_on(pairs[i][0], pairs[i][1]);
        check(&params);
        const bm_gram_loss_params turned = params_on(pairs[i][1], pairs[i][0]);
        check(&turned);
    }
    destroy();
}

static void one_candidate_loses_what_it_does_among_others(void **state)
{
    (void)state;
    make(64, 130, 40, 0);
    const bm_gram_loss_params params = params_of(4, 32, true);
    double all[CANDIDATES], one;
    MUST(bm_gram_losses(&g.multiplier, &params, g.scales, CANDIDATES, all, &failure));
    for (uint32_t i = 0; i < CANDIDATES; i++) {
        MUST(bm_gram_losses(&g.multiplier, &params, g.scales + (size_t)i * g.channels, 1, &one, &failure));
        if (!(fabs(one - all[i]) <= 1e-6 * one))
            fail_msg("candidate %u: %.10g alone, %.10g among others", i, one, all[i]);
    }
    destroy();
}

// Buffers of 90 rows take the first linear in two cuts, a candidate at a time, and two candidates of the second.
static void cuts_of_rows_and_candidates_lose_what_all_do(void **state)
{
    (void)state;
    make(64, 130, 40, 0);
    const bm_gram_loss_params params = params_of(4, 32, true);
    const uint64_t limit = test_device->info.limits.max_allocation_bytes;
    test_device->info.limits.max_allocation_bytes = 90 * bm_tensor_stride(BM_DTYPE_F32, 64) * sizeof(float);
    check(&params);
    test_device->info.limits.max_allocation_bytes = limit;
    destroy();
}

static void zeros_lose_nothing_and_infinities_all(void **state)
{
    (void)state;
    make(64, 4, 4, 0);
    const bm_gram_loss_params params = params_of(4, 32, true);
    double losses[2];
    float rows[4 * 64] = {0};
    const bm_tensor zeros = make_tensor(4, 64, rows);
    for (uint32_t l = 0; l < LINEARS; l++)
        MUST(bm_weights_set_rows(test_device, g.linears[l], 0, &zeros, &failure));
    MUST(bm_gram_losses(&g.multiplier, &params, g.scales, 2, losses, &failure));
    assert_true(losses[0] == 0 && losses[1] == 0);
    rows[0] = 3e38f; // behind a scale above 1.2: infinite
    g.scales[64] = 4;
    const bm_tensor large = make_tensor(4, 64, rows);
    MUST(bm_weights_set_rows(test_device, g.linears[0], 0, &large, &failure));
    MUST(bm_gram_losses(&g.multiplier, &params, g.scales, 2, losses, &failure));
    assert_false(isfinite(losses[1]));
    destroy();
}

static void other_shapes_are_refused(void **state)
{
    (void)state;
    bm_error err;
    double losses[1];
    make(64, 4, 4, 0);
    bm_gram_loss_params params = params_of(4, 32, true);
    const bm_tensor other = make_tensor(32, 32, NULL);
    params.gram = &other;
    assert_int_equal(bm_gram_losses(&g.multiplier, &params, g.scales, 1, losses, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "64 inputs, expected 32"));
    destroy();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_those_of_the_tokens),
        cmocka_unit_test(each_linear_is_rounded_on_its_own_grid),
        cmocka_unit_test(one_candidate_loses_what_it_does_among_others),
        cmocka_unit_test(cuts_of_rows_and_candidates_lose_what_all_do),
        cmocka_unit_test(zeros_lose_nothing_and_infinities_all),
        cmocka_unit_test(other_shapes_are_refused),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
