// Compat against figures that the original implementation recorded: zero points, smooth scales, activation and weight
// scales, stored codes. Skipped where the data are not there.
#include "base/hash.h"
#include "quant/equalize/close.h"
#include "quant/equalize/paddleslim.h"
#include "quant/equalize/recorded_group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bm_error failure;

static void zero_points_are_the_recorded(void **state)
{
    const char *model = *state;
    static const char *const strategies[] = {"shift_none", "shift_ema"};
    group g = make_group(model);
    for (uint32_t i = 0; i < 2; i++) {
        const bm_shift_params params = {.sampler = i == 0 ? BM_SHIFT_SAMPLER_NONE : BM_SHIFT_SAMPLER_EMA,
                                        .shift_step = 8,
                                        .ptq_step = 8,
                                        .compat_paddleslim = true,
                                        .calls_a_step = 3};
        bm_json *json = recorded_read(model, strategies[i]);
        double z[MOST_CHANNELS], magnitudes[RECORDED_SEQUENCES * MOST_CHANNELS];
        float values[MOST_CHANNELS];
        bm_shift_record record;
        assert_ok(bm_shift_find(&g.stats, &params, z, &record, &failure), &failure);
        for (uint32_t c = 0; c < g.channels; c++)
            values[c] = (float)z[c];
        check_vector(recorded_find(json, "steps", "shift", "zero_point", NORM, NULL), values, g.channels, 1e-5);
        // The observer behind the shift.
        memcpy(g.stats.zero_point, z, g.channels * sizeof *z);
        bm_channel_statistics_magnitudes(&g.stats, 0, RECORDED_SEQUENCES, magnitudes);
        const double amax =
            bm_paddleslim_activation_avg(magnitudes, RECORDED_SEQUENCES, RECORDED_BATCH, g.channels, NULL);
        const double expected =
            bm_json_number(recorded_find(json, "steps", "ptq", ATTENTION "q_proj", "act_scale", NULL));
        assert_close(amax, expected, 1e-5 * expected);
        assert_close(record.amax_after, expected, 1e-5 * expected);
        bm_json_destroy(&json);
    }
    free_group(&g);
}

// Stored codes of W times scales (NULL: ones), by hash, and the rows' largest magnitudes. Under PaddleSlim as in
// memory: the weights are float32.
static void check_codes(const bm_json *linear, const float *weights, uint32_t rows, uint32_t channels,
                        const float *scales, int32_t largest)
{
    float *amax = malloc(rows * sizeof *amax);
    int8_t *codes = malloc((size_t)rows * channels);
    char hex[65];
    assert_true(amax && codes);
    bm_weight_amax(weights, rows, channels, channels, scales, amax);
    check_vector(recorded_find(linear, "weight_scale", NULL), amax, rows, 1e-6);
    for (uint32_t i = 0; i < rows * channels; i++) {
        const float weight = scales ? weights[i] * scales[i % channels] : weights[i];
        codes[i] = (int8_t)bm_paddleslim_stored_code(weight, amax[i / channels], largest);
    }
    bm_sha256_hex(codes, (size_t)rows * channels, hex);
    const char *recorded = bm_json_string(recorded_find(linear, "codes_sha256", NULL));
    assert_true(strlen(recorded) >= 16);
    assert_memory_equal(hex, recorded, strlen(recorded)); // some are recorded by their first digits
    free(amax);
    free(codes);
}

static void stored_codes_are_the_recorded(void **state)
{
    const char *model = *state;
    static const char *const strategies[] = {"a8w8", "w4"};
    for (uint32_t i = 0; i < 2; i++) {
        bm_json *json = recorded_read(model, strategies[i]);
        uint32_t num_checked = 0;
        for (const bm_json *linear = bm_json_first(recorded_find(json, "steps", "ptq", NULL)); linear;
             linear = bm_json_next(linear), num_checked++) {
            char name[128];
            uint32_t rows = 0, cols = 0;
            snprintf(name, sizeof name, "%s.weight", bm_json_key(linear));
            float *weights = recorded_tensor(model, name, &rows, &cols);
            check_codes(linear, weights, rows, cols, NULL, i == 0 ? 127 : 7);
            free(weights);
        }
        assert_true(num_checked >= 7);
        bm_json_destroy(&json);
    }
}

static void smooth_scales_are_the_recorded(void **state)
{
    const char *model = *state;
    group g = make_group(model);
    uint32_t rows = 0, cols = 0;
    float *weights = recorded_tensor(model, ATTENTION "v_proj.weight", &rows, &cols);
    bm_json *json = recorded_read(model, "smooth");
    double a[MOST_CHANNELS], magnitudes[RECORDED_SEQUENCES * MOST_CHANNELS];
    float w[MOST_CHANNELS], scales[MOST_CHANNELS], amax[MOST_CHANNELS];
    find_a_and_w(&g, weights, rows, a, w);
    for (uint32_t c = 0; c < g.channels; c++)
        scales[c] = bm_paddleslim_smooth_scale(a[c], (double)w[c], 0.5);
    check_vector(recorded_find(json, "steps", "smooth", "scale", NORM, NULL), scales, g.channels, 1e-5);
    bm_channel_statistics_magnitudes(&g.stats, 0, RECORDED_SEQUENCES, magnitudes);
    const double expected = bm_json_number(recorded_find(json, "steps", "ptq", ATTENTION "v_proj", "act_scale", NULL));
    assert_close(bm_activation_amax(BM_ACTIVATION_AVG, magnitudes, RECORDED_SEQUENCES, g.channels, scales), expected,
                 1e-5 * expected);
    bm_weight_amax(weights, rows, cols, cols, scales, amax);
    check_vector(recorded_find(json, "steps", "ptq", ATTENTION "v_proj", "weight_scale", NULL), amax, rows, 1e-5);
    bm_json_destroy(&json);
    free(weights);
    free_group(&g);
}

// Smooth of all groups of block 0 from recorded inputs' magnitudes: the last linear of each decides.
static void scales_of_all_groups_are_the_recorded(void **state)
{
    const char *model = *state;
    static const struct {
        const char *group, *decides;
    } groups[] = {{NORM, ATTENTION "v_proj.weight"},
                  {ATTENTION "o_proj", ATTENTION "o_proj.weight"},
                  {"model.layers.0.post_attention_layernorm", "model.layers.0.mlp.up_proj.weight"},
                  {"model.layers.0.mlp.down_proj", "model.layers.0.mlp.down_proj.weight"}};
    bm_json *json = recorded_read(model, "smooth_all");
    for (uint32_t i = 0; i < BM_COUNT(groups); i++) {
        float a[MOST_CHANNELS], w[MOST_CHANNELS] = {0}, scales[MOST_CHANNELS];
        uint32_t rows = 0, cols = 0;
        float *weights = recorded_tensor(model, groups[i].decides, &rows, &cols);
        const uint32_t count = recorded_values(
            recorded_find(json, "steps", "smooth", "act_stat", groups[i].group, NULL), a, MOST_CHANNELS);
        bm_column_amax_add(weights, rows, cols, w);
        for (uint32_t c = 0; c < count; c++)
            scales[c] = bm_paddleslim_smooth_scale((double)a[c], (double)w[c], 0.5);
        check_vector(recorded_find(json, "steps", "smooth", "scale", groups[i].group, NULL), scales, count, 1e-5);
        free(weights);
    }
    bm_json_destroy(&json);
}

int main(void)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_points_are_the_recorded),
        cmocka_unit_test(stored_codes_are_the_recorded),
        cmocka_unit_test(smooth_scales_are_the_recorded),
        cmocka_unit_test(scales_of_all_groups_are_the_recorded),
    };
    return run_on_recorded_models(tests, BM_COUNT(tests));
}
