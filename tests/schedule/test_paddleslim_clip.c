// Thresholds of clipping beside those that the original implementation recorded, of the first block, on the tokens that it drew: its
// thresholds are those of clipping worked out in double, and the search for steps loses less. On the device that the argument
// names; skipped where the data are not there.
#include "ops/gram_search.h"
#include "quant/equalize/recorded_figures.h"
#include "schedule/awq_run.h"
#include "support/folders.h"
#include "support/support.h"
#include "support/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MODEL "babyllama-tok105"
enum { TOKENS = RECORDED_SEQUENCES * RECORDED_LENGTH, DRAWN = 512, GROUP = 32, THRESHOLDS = 10, FIRST = 128 };

static bm_error failure;

#define MUST(call) assert_ok(call, &failure)

// X^T X of every so many tokens.
static float *make_gram(const float *inputs, uint32_t channels, uint32_t stride)
{
    float *gram = malloc((size_t)channels * channels * sizeof *gram);
    assert_non_null(gram);
    for (uint32_t i = 0; i < channels; i++)
        for (uint32_t j = 0; j < channels; j++) {
            double sum = 0;
            for (uint32_t t = 0; t < TOKENS; t += stride)
                sum += (double)inputs[(size_t)t * channels + i] * (double)inputs[(size_t)t * channels + j];
            gram[(size_t)i * channels + j] = (float)sum;
        }
    return gram;
}

static float range_of(const float *w)
{
    float range = 0;
    for (uint32_t c = 0; c < GROUP; c++)
        range = fmaxf(range, fabsf(w[c]));
    return range;
}

// Which threshold each row and group got: [rows, channels / GROUP].
static void find_thresholds(const float *w, const float *gram, uint32_t rows, uint32_t channels, uint32_t *out)
{
    const bm_grid_params grid = {.bits = 4,
                                 .group_size = GROUP,
                                 .symmetric = true,
                                 .scale_dtype = BM_DTYPE_F32,
                                 .search = true,
                                 .clip_n_grid = 20,
                                 .clip_max_shrink = 0.5f};
    const uint32_t groups = channels / GROUP;
    bm_tensor weights, matrix, step, zero_point;
    bm_multiplier m;
    float *steps = malloc((size_t)rows * groups * sizeof *steps);
    MUST(bm_tensor_create(awq_device, BM_DTYPE_F32, rows, channels, "w", &weights, &failure));
    MUST(bm_tensor_create(awq_device, BM_DTYPE_F32, channels, channels, "g", &matrix, &failure));
    MUST(bm_tensor_create(awq_device, BM_DTYPE_F32, rows, groups, "s", &step, &failure));
    MUST(bm_tensor_create(awq_device, BM_DTYPE_I32, rows, groups, "z", &zero_point, &failure));
    MUST(bm_tensor_upload(awq_device, &weights, w, &failure));
    MUST(bm_tensor_upload(awq_device, &matrix, gram, &failure));
    bm_multiplier_init(&m, awq_device);
    MUST(bm_gram_search(&m, &weights, &matrix, &grid, &step, &zero_point, &failure));
    MUST(bm_tensor_download(awq_device, &step, steps, &failure));
    MUST(bm_device_wait(awq_device, &failure));
    for (uint32_t k = 0; k < rows * groups; k++) {
        const double shrink = 20 * (1 - (double)steps[k] * 7 / (double)range_of(w + (size_t)k * GROUP));
        out[k] = (uint32_t)lrint(shrink);
        assert_true(fabs(shrink - out[k]) < 1e-4 && out[k] < THRESHOLDS);
    }
    bm_multiplier_free(&m);
    bm_tensor_destroy(&weights);
    bm_tensor_destroy(&matrix);
    bm_tensor_destroy(&step);
    bm_tensor_destroy(&zero_point);
    free(steps);
}

// What a group loses at a threshold: there weights are clipped, so that codes end at -7 too. A search for steps has the code -8
// beside it.
static double loss_at(const float *w, const float *gram, uint32_t channels, double step, double least_code)
{
    double off[GROUP], loss = 0;
    for (uint32_t c = 0; c < GROUP; c++)
        off[c] = (double)w[c] - fmin(fmax(rint((double)w[c] / step), least_code), 7) * step;
    for (uint32_t i = 0; i < GROUP; i++)
        for (uint32_t j = 0; j < GROUP; j++)
            loss += off[i] * (double)gram[(size_t)i * channels + j] * off[j];
    return loss;
}

typedef struct comparison {
    uint32_t differing, of_histogram; // of the first groups; of all
    double own, recorded;             // losses of all groups: of what was found, and of clipping
} comparison;

static double step_of(const float *w, uint32_t threshold)
{
    return (double)range_of(w) * (1 - threshold / 20.0) / 7;
}

// The recorded thresholds beside those of clipping in double, and what found loses beside them.
static comparison compare(const bm_json *recorded, const float *w, const float *gram, uint32_t channels, uint32_t count,
                          const uint32_t *found)
{
    comparison all = {0};
    int64_t histogram[THRESHOLDS] = {0};
    const bm_json *v = bm_json_first(recorded_find(recorded, "shrink_first128", NULL));
    for (uint32_t k = 0; k < count; k++) {
        const float *group = w + (size_t)k * GROUP;
        const uint32_t first = k * GROUP % channels;
        const float *block = gram + (size_t)first * channels + first;
        double least = INFINITY;
        uint32_t best = 0;
        for (uint32_t i = 0; i < THRESHOLDS; i++) {
            const double loss = loss_at(group, block, channels, step_of(group, i), -7);
            if (loss < least) {
                least = loss;
                best = i;
            }
        }
        histogram[best]++;
        const double own = loss_at(group, block, channels, step_of(group, found[k]), -8);
        all.own += own;
        all.recorded += least;
        if (k >= FIRST)
            continue;
        all.differing += (uint32_t)bm_json_number(v) != best;
        v = bm_json_next(v);
    }
    assert_null(v);
    v = bm_json_first(recorded_find(recorded, "shrink_hist", NULL));
    for (uint32_t i = 0; i < THRESHOLDS; i++, v = bm_json_next(v))
        all.of_histogram += (uint32_t)llabs((int64_t)bm_json_number(v) - histogram[i]);
    all.of_histogram /= 2;
    return all;
}

// The recorded calibration's first block; what the data hold stays until free_block.
typedef struct recorded_block {
    bm_model *model;
    uint32_t *ids;
    bm_plan plan; // its calibration data
    awq_block block;
} recorded_block;

static void read_block(recorded_block *out)
{
    char *folder = support_data_find(MODEL), *path = support_data_find("paddleslim/calib_" MODEL ".json");
    bm_calibration_data *data = &out->plan.calibration;
    bm_json *json = NULL;
    uint32_t n = 0;
    *out = (recorded_block){.ids = bm_alloc(TOKENS, sizeof(uint32_t))};
    assert_true(folder && path);
    MUST(bm_json_read_file(&json, path, 1 << 24, &failure));
    for (const bm_json *row = bm_json_first(recorded_find(json, "ids", NULL)); row; row = bm_json_next(row))
        for (const bm_json *id = bm_json_first(row); id && n < TOKENS; id = bm_json_next(id))
            out->ids[n++] = (uint32_t)bm_json_number(id);
    assert_int_equal(n, TOKENS);
    data->segments = bm_alloc(RECORDED_SEQUENCES, sizeof *data->segments);
    data->num_segments = RECORDED_SEQUENCES;
    for (uint32_t i = 0; i < RECORDED_SEQUENCES; i++)
        data->segments[i] = (bm_batch_sequence){out->ids + i * RECORDED_LENGTH, RECORDED_LENGTH};
    MUST(bm_model_open(&out->model, folder, &failure));
    awq_blocks_read(&(awq_run){.model = out->model, .plan = &out->plan}, &out->block, 1);
    bm_json_destroy(&json);
    bm_free(folder);
    bm_free(path);
}

static void free_block(recorded_block *b)
{
    awq_block_free(&b->block);
    bm_calibration_data_free(&b->plan.calibration);
    bm_model_close(&b->model);
    bm_free(b->ids);
}

static void thresholds_are_the_recorded(void **state)
{
    (void)state;
    recorded_block recorded = {0};
    const awq_block *block = &recorded.block;
    bm_json *json = recorded_read(MODEL, "clip_block0");
    read_block(&recorded);
    for (bm_linear_id l = 0; l < BM_NUM_LINEARS; l++) {
        const uint32_t rows = block->rows[l], channels = block->channels[bm_linear_stage(l)];
        char name[BM_TENSOR_NAME_SIZE];
        if (rows == 0)
            continue;
        bm_linear_tensor_name(recorded.model->family, 0, l, "", name);
        float *gram = make_gram(block->inputs[bm_linear_stage(l)], channels, TOKENS / DRAWN);
        const float *w = block->weights[l];
        const uint32_t count = rows * channels / GROUP;
        uint32_t *found = malloc(count * sizeof *found);
        find_thresholds(w, gram, rows, channels, found);
        const comparison c =
            compare(recorded_find(json, "steps", "auto_clip", "clipped", name, NULL), w, gram, channels, count, found);
        print_message("%s: %u of %u recorded thresholds are others, %u of %u by the histogram; steps lose %.4f of it\n",
                      name, c.differing, FIRST, c.of_histogram, count, c.own / c.recorded);
        assert_true(c.differing <= 1 && c.of_histogram * 100 <= count && c.own < c.recorded);
        free(found);
        free(gram);
    }
    bm_json_destroy(&json);
    free_block(&recorded);
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(thresholds_are_the_recorded)};
    return recorded_is_here(MODEL) ? cmocka_run_group_tests_name(name, tests, NULL, NULL) : SUPPORT_SKIP;
}

int main(int argc, char **argv)
{
    return awq_main(argc, argv, "paddleslim_clip", run);
}
