// Statistics of recorded inputs.
#include "quant/equalize/recorded_group.h"

#include "quant/equalize/close.h"
#include "quant/equalize/observers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bm_error failure;

group make_group(const char *model)
{
    group g = {0};
    g.inputs = recorded_inputs(model, &g.channels);
    assert_ok(bm_channel_statistics_init(&g.stats, g.channels, RECORDED_BATCH, true, false, &failure), &failure);
    for (uint32_t n = 0; n < RECORDED_SEQUENCES; n++) {
        float low[MOST_CHANNELS], high[MOST_CHANNELS], mean[MOST_CHANNELS];
        for (uint32_t c = 0; c < g.channels; c++) {
            double sum = 0;
            low[c] = INFINITY;
            high[c] = -INFINITY;
            for (uint32_t t = 0; t < RECORDED_LENGTH; t++) {
                const float x = g.inputs[((size_t)n * RECORDED_LENGTH + t) * g.channels + c];
                low[c] = fminf(low[c], x);
                high[c] = fmaxf(high[c], x);
                sum += (double)x / RECORDED_LENGTH;
            }
            mean[c] = (float)sum;
        }
        assert_ok(bm_channel_statistics_add(&g.stats, 1, low, high, mean, NULL, (const uint64_t[]){RECORDED_LENGTH},
                                            &failure),
                  &failure);
    }
    return g;
}

void free_group(group *g)
{
    bm_channel_statistics_destroy(&g->stats);
    free(g->inputs);
}

void check_vector(const bm_json *recorded, const float *values, uint32_t count, double most)
{
    float expected[MOST_CHANNELS];
    const uint32_t num_recorded = recorded_values(recorded, expected, MOST_CHANNELS);
    for (uint32_t c = 0; c < count && c < num_recorded; c++)
        assert_close(values[c], expected[c], most * fmax(1, fabs((double)expected[c])));
}

void find_a_and_w(const group *g, const float *weights, uint32_t rows, double *a, float *w)
{
    memset(w, 0, g->channels * sizeof *w);
    bm_channel_statistics_amax(&g->stats, RECORDED_BATCH, RECORDED_SEQUENCES, a);
    bm_column_amax_add(weights, rows, g->channels, w);
}

int run_on_recorded_models(struct CMUnitTest *tests, size_t num_tests)
{
    static const char *const models[] = {"stories260K", "babyllama-tok105", "prose-8m"};
    uint32_t num_models = 0;
    int failed = 0;
    for (uint32_t m = 0; m < BM_COUNT(models); m++) {
        char model[32];
        snprintf(model, sizeof model, "%s", models[m]);
        if (!recorded_is_here(model))
            continue;
        for (size_t i = 0; i < num_tests; i++)
            tests[i].initial_state = model;
        num_models++;
        failed += _cmocka_run_group_tests(model, tests, num_tests, NULL, NULL);
    }
    if (num_models == 0)
        puts("no recorded figures here: skipped");
    return failed ? 1 : num_models ? 0 : 77;
}
