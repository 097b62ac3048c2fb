// Losses from float16 beside those of float32: near enough to rank candidates, whatever channels are large or dead; the best and the
// first are of float32; cuts of rows and candidates; what is not finite.
#include "quant/candidate_losses.h"
#include "device/backend.h"
#include "ops/fixture.h"
#include "quant/gram_rough.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 80, MAX_CHANNELS = 600, MAX_ROWS = 70, CANDIDATES = 21, LINEARS = 2 };

static struct {
    uint32_t channels, rows[LINEARS];
    float inputs[TOKENS * MAX_CHANNELS], weights[LINEARS][MAX_ROWS * MAX_CHANNELS], magnitudes[MAX_CHANNELS];
    bm_tensor gram;
    bm_weights *linears[LINEARS];
    bm_grid_params grids[LINEARS];
    bm_multiplier multiplier;
    bm_gram_loss_params params;
} g;

// Channels of many magnitudes with a common direction, one of them dead, one that outweighs all others.
static void make(uint32_t channels, uint32_t first_rows, uint32_t second_rows, uint32_t group_size, bool symmetric)
{
    static const bm_gemm_choice plain = {.name = "masters", .form = BM_GEMM_ROWS, .group = 64, .slice = 8, .gflops = 1};
    bm_random random;
    bm_random_init(&random, 15, channels);
    g.channels = channels, g.rows[0] = first_rows, g.rows[1] = second_rows;
    fill_normal(&random, (uint64_t)TOKENS * channels, 1, g.inputs);
    for (uint32_t c = 0; c < channels; c++) {
        const float size = c == 5 ? 0.0f : c == 3 ? 900.0f : expf((float)bm_random_normal(&random));
        g.magnitudes[c] = 0;
        for (uint32_t t = 0; t < TOKENS; t++) {
            float *x = &g.inputs[t * channels + c];
            *x = (*x + 0.5f) * size;
            g.magnitudes[c] += fabsf(*x) / TOKENS;
        }
    }
    float *gram = calloc((size_t)channels * channels, sizeof *gram);
    assert_non_null(gram);
    for (uint32_t i = 0; i < channels; i++)
        for (uint32_t j = 0; j < channels; j++) {
            double sum = 0;
            for (uint32_t t = 0; t < TOKENS; t++)
                sum += (double)g.inputs[t * channels + i] * (double)g.inputs[t * channels + j];
            gram[i * channels + j] = (float)sum;
        }
    g.gram = make_tensor(channels, channels, gram);
    free(gram);
    for (uint32_t l = 0; l < LINEARS; l++) {
        fill_normal(&random, (uint64_t)g.rows[l] * channels, l == 0 ? 0.02 : 0.005, g.weights[l]);
        const bm_tensor staged = make_tensor(g.rows[l], channels, g.weights[l]);
        MUST(bm_weights_create(test_device, g.rows[l], channels, BM_DTYPE_F32, "linear", &plain, &g.linears[l],
                               &failure));
        MUST(bm_weights_set_rows(test_device, g.linears[l], 0, &staged, &failure));
    }
    for (uint32_t l = 0; l < LINEARS; l++)
        g.grids[l] = (bm_grid_params){.bits = 4,
                                      .group_size = group_size ? group_size : channels,
                                      .symmetric = symmetric,
                                      .scale_dtype = BM_DTYPE_F32};
    g.params = (bm_gram_loss_params){
        .gram = &g.gram, .linears = (const bm_weights *const *)g.linears, .num_linears = LINEARS, .grids = g.grids};
    bm_multiplier_init(&g.multiplier, test_device);
}

static void destroy(void)
{
    for (uint32_t l = 0; l < LINEARS; l++)
        bm_weights_destroy(&g.linears[l]);
    bm_multiplier_free(&g.multiplier);
    destroy_tensors();
}

// The device's own products of 16 bits, or the generic kernel, which takes them everywhere.
static void use_16_bits(bool use)
{
    static const bm_gemm_choice generic = {.group = 64, .slice = 8, .gflops = 1, .reason = "test"};
    bm_split_product *split = &g.multiplier.split;
    if (split->choice.gflops == 0)
        split->choice = split->few = generic;
    split->is_off = !use;
    split->min_columns = 1;
    split->min_rows = UINT64_MAX; // products of float32 stay plain
}

static void make_scales(const void *context, uint32_t candidate, float *out)
{
    (void)context;
    for (uint32_t c = 0; c < g.channels; c++)
        out[c] = powf(fmaxf(g.magnitudes[c], 1e-3f), (float)candidate / (CANDIDATES - 1));
}

static const bm_candidate_source source = {make_scales, NULL};

// The largest share that rough losses are off by.
static double check(void)
{
    double exact[CANDIDATES], rough[CANDIDATES], told[CANDIDATES], off = 0, least = INFINITY;
    float *scales = malloc(sizeof(float) * CANDIDATES * g.channels);
    bm_rough_gram gram = {0};
    assert_non_null(scales);
    for (uint32_t i = 0; i < CANDIDATES; i++)
        make_scales(NULL, i, scales + (size_t)i * g.channels);
    use_16_bits(false);
    assert_false(bm_rough_gram_pays(&g.multiplier, g.channels));
    MUST(bm_candidate_losses(&g.multiplier, &g.params, &source, CANDIDATES, exact, &failure));
    use_16_bits(true);
    assert_true(bm_rough_gram_pays(&g.multiplier, g.channels));
    MUST(bm_rough_gram_create(test_device, &g.gram, &gram, &failure));
    MUST(bm_rough_losses(&g.multiplier, &gram, &g.params, scales, CANDIDATES, rough, &failure));
    bm_rough_gram_destroy(&gram);
    MUST(bm_candidate_losses(&g.multiplier, &g.params, &source, CANDIDATES, told, &failure));
    for (uint32_t i = 0; i < CANDIDATES; i++)
        least = fmin(least, exact[i]);
    for (uint32_t i = 0; i < CANDIDATES; i++) {
        off = fmax(off, fabs(rough[i] / exact[i] - 1));
        const bool is_near = i == 0 || exact[i] <= least * (1 + BM_ROUGH_SHARE / 2);
        if (!(fabs(told[i] - exact[i]) <= (is_near ? 1e-6 : 3e-4) * exact[i]))
            fail_msg("candidate %u: %.9g, of float32 %.9g", i, told[i], exact[i]);
        for (uint32_t k = 0; k < i; k++)
            assert_true(fabs(exact[i] / exact[k] - 1) < 6e-4 || (exact[i] < exact[k]) == (rough[i] < rough[k]));
    }
    free(scales);
    return off;
}

static void candidates_keep_their_ranks(void **state)
{
    (void)state;
    static const struct {
        uint32_t channels, first_rows, second_rows, group_size;
        bool symmetric;
    } cases[] = {{600, 40, 9, 0, true}, {600, 33, 70, 120, false}, {130, 66, 7, 32, true}, {97, 45, 11, 0, false}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        if (cases[i].channels > 200 && support_is_instrumented())
            continue;
        make(cases[i].channels, cases[i].first_rows, cases[i].second_rows, cases[i].group_size, cases[i].symmetric);
        const double off = check();
        printf("    %u channels, groups of %u: off by %.2g at most\n", cases[i].channels, cases[i].group_size, off);
        assert_true(off <= 3e-4);
        // On grids of their own, which losses of one for both are far from.
        g.grids[1] = (bm_grid_params){
            .bits = 3, .group_size = 16, .symmetric = !cases[i].symmetric, .scale_dtype = BM_DTYPE_F16};
        assert_true(check() <= 3e-4);
        destroy();
    }
}

// Buffers of 24 rows: rows of a linear in cuts, of the other one several candidates at once.
static void cuts_lose_the_same(void **state)
{
    (void)state;
    make(64, 30, 7, 32, true);
    const bm_device_limits limits = test_device->info.limits;
    test_device->info.limits.max_allocation_bytes = 24 * bm_tensor_stride(BM_DTYPE_F32, 64) * sizeof(float);
    use_16_bits(true);
    float scales[5 * 64];
    double whole[5], cut[5];
    bm_rough_gram gram = {0};
    for (uint32_t i = 0; i < 5; i++)
        make_scales(NULL, 4 * i, scales + (size_t)i * 64);
    test_device->info.limits = limits;
    MUST(bm_rough_gram_create(test_device, &g.gram, &gram, &failure));
    MUST(bm_rough_losses(&g.multiplier, &gram, &g.params, scales, 5, whole, &failure));
    test_device->info.limits.max_allocation_bytes = 24 * bm_tensor_stride(BM_DTYPE_F32, 64) * sizeof(float);
    MUST(bm_rough_losses(&g.multiplier, &gram, &g.params, scales, 5, cut, &failure));
    test_device->info.limits = limits;
    for (uint32_t i = 0; i < 5; i++)
        assert_true(fabs(cut[i] - whole[i]) <= 1e-6 * whole[i]);
    MUST(bm_rough_losses(&g.multiplier, &gram, &g.params, scales, 5, cut, &failure));
    assert_memory_equal(cut, whole, sizeof cut); // the same calls, the same bytes
    bm_rough_gram_destroy(&gram);
    destroy();
}

static void zeros_lose_nothing_and_infinities_all(void **state)
{
    (void)state;
    make(64, 4, 4, 32, true);
    float rows[4 * 64] = {0};
    double losses[CANDIDATES];
    use_16_bits(true);
    const bm_tensor zeros = make_tensor(4, 64, rows);
    for (uint32_t l = 0; l < LINEARS; l++)
        MUST(bm_weights_set_rows(test_device, g.linears[l], 0, &zeros, &failure));
    MUST(bm_candidate_losses(&g.multiplier, &g.params, &source, CANDIDATES, losses, &failure));
    for (uint32_t i = 0; i < CANDIDATES; i++)
        assert_true(losses[i] == 0);
    rows[3] = 3e38f; // of the channel whose scale is large
    const bm_tensor large = make_tensor(4, 64, rows);
    MUST(bm_weights_set_rows(test_device, g.linears[0], 0, &large, &failure));
    MUST(bm_candidate_losses(&g.multiplier, &g.params, &source, CANDIDATES, losses, &failure));
    assert_false(isfinite(losses[CANDIDATES - 1]));
    destroy();
}

static void other_shapes_are_refused(void **state)
{
    (void)state;
    bm_error err;
    double losses[1];
    make(64, 4, 4, 32, true);
    const bm_tensor other = make_tensor(32, 32, NULL);
    g.params.gram = &other;
    use_16_bits(true);
    assert_int_equal(bm_candidate_losses(&g.multiplier, &g.params, &source, 1, losses, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "64 inputs, expected 32"));
    destroy();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(candidates_keep_their_ranks),
        cmocka_unit_test(cuts_lose_the_same),
        cmocka_unit_test(zeros_lose_nothing_and_infinities_all),
        cmocka_unit_test(other_shapes_are_refused),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
