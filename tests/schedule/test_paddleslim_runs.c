// Whole runs under "compat": "paddleslim" against what the original implementation recorded on its own calibration ids:
// activation scales of every linear, weight scales of the first block, through the scale files that a run writes. So statistics,
// shifts, scales, folds and observers of the driver are right on every block, on the device that the argument names. Skipped where
// the data are not there.
#include "quant/equalize/recorded_figures.h"
#include "schedule/calibrate.h"
#include "schedule/on_device.h"
#include "support/folders.h"

#include "base/str.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_opencl; // the device

// The ids of the recorded calibration as what a plan feeds; free what is returned behind it.
static uint32_t *take_recorded_ids(const char *model, bm_calibration_data *data)
{
    bm_error err = {0};
    char name[128];
    bm_json *json = NULL;
    snprintf(name, sizeof name, "paddleslim/calib_%s.json", model);
    char *path = support_data_find(name);
    assert_non_null(path);
    assert_ok(bm_json_read_file(&json, path, 1 << 24, &err), &err);
    const uint32_t count = RECORDED_SEQUENCES, length = RECORDED_LENGTH;
    uint32_t *ids = malloc(count * length * sizeof *ids), n = 0;
    *data = (bm_calibration_data){.segments = bm_alloc(count, sizeof *data->segments),
                                  .segment_sequences = bm_alloc(count, sizeof *data->segment_sequences),
                                  .num_segments = count,
                                  .num_sequences = count,
                                  .step_sequences = RECORDED_BATCH,
                                  .num_tokens = count * length};
    for (const bm_json *row = bm_json_first(recorded_find(json, "ids", NULL)); row; row = bm_json_next(row)) {
        for (const bm_json *id = bm_json_first(row); id; id = bm_json_next(id))
            ids[n++] = (uint32_t)bm_json_number(id);
        assert_int_equal(n % length, 0);
    }
    assert_int_equal(n, count * length);
    for (uint32_t s = 0; s < count; s++) {
        data->segments[s] = (bm_batch_sequence){ids + s * length, length};
        data->segment_sequences[s] = s;
    }
    bm_json_destroy(&json);
    bm_free(path);
    return ids;
}

static void run(const char *folder, const char *keys, const char *output, const char *model)
{
    bm_error err = {0};
    bm_arguments *arguments = NULL;
    bm_model *opened = NULL;
    bm_plan *plan = NULL;
    bm_quantize_result result = {0};
    bm_phase phase = {0};
    char *text = bm_format("{\"model_name_or_path\":\"%s\",\"output_dir\":\"%s\",\"dataset_name_or_path\":\"d\","
                           "\"do_ptq\":true,\"quant_type\":\"a8w8\",\"compat\":\"paddleslim\",\"dtype\":\"float32\","
                           "\"compute_dtype\":\"float32\",\"per_device_train_batch_size\":4,\"ptq_step\":8%s}",
                           folder, output, keys);
    assert_ok(bm_arguments_read_text(&arguments, text, strlen(text), "test", NULL, &err), &err);
    assert_ok(bm_model_open(&opened, folder, &err), &err);
    assert_ok(bm_plan_create(arguments, opened, &plan, &err), &err);
    uint32_t *ids = take_recorded_ids(model, &plan->calibration);
    bm_emit_context emit = {.model = opened, .device = device, .plan = plan, .arguments = arguments, .phase = &phase};
    result.linears = bm_alloc_zero(plan->num_linears, sizeof *result.linears);
    result.stages = bm_alloc_zero((uint64_t)opened->config.num_hidden_layers * BM_NUM_STAGES, sizeof *result.stages);
    assert_ok(bm_checkpoint_writer_create(&emit.writer, output, BM_DEFAULT_SHARD_BYTES, &err), &err);
    assert_ok(bm_emit_declare(opened, plan, emit.writer, &err), &err);
    assert_ok(bm_checkpoint_writer_begin(emit.writer, &err), &err);
    assert_ok(bm_worker_create(&emit.writing, 0, BM_EMIT_THREADS, NULL, BM_TRACK_WRITING, &err), &err);
    assert_ok(bm_emit_float_tensors(&emit, &err), &err);
    assert_ok(bm_scale_files_create(&emit.scale_files, output, "llama", &err), &err);
    phase = (bm_phase){0};
    const bm_calibrate_params params = {.emit = &emit, .folder = output};
    assert_ok(bm_calibrate(&params, &result, &err), &err);
    assert_ok(bm_worker_finish(emit.writing, &err), &err);
    bm_worker_destroy(&emit.writing);
    assert_ok(bm_scale_files_finish(&emit.scale_files, &err), &err);
    assert_ok(bm_checkpoint_writer_finish(&emit.writer, &err), &err);
    assert_int_equal(result.num_linears, plan->num_linears);
    bm_quantize_result_free(&result);
    bm_plan_destroy(&plan);
    free(ids);
    bm_model_close(&opened);
    bm_arguments_destroy(&arguments);
    bm_free(text);
}

static const bm_json *entry(const bm_json *file, const char *linear, const char *suffix)
{
    char name[160];
    snprintf(name, sizeof name, "llama%s.%s", linear + strlen("model"), suffix);
    return recorded_find(file, name, NULL);
}

static void assert_relative(double found, double expected, double most, const char *what)
{
    if (fabs(found - expected) > most * fabs(expected))
        fail_msg("%s: found %.9g, expected %.9g", what, found, expected);
}

static bm_json *read_output(const char *folder, const char *name)
{
    bm_error err = {0};
    bm_json *json = NULL;
    char *path = bm_path_join(folder, name);
    assert_ok(bm_json_read_file(&json, path, 1 << 26, &err), &err);
    bm_free(path);
    return json;
}

static void check(const char *model, const char *strategy, const char *keys)
{
    char *folder = support_data_find(model), *output = support_folder_create();
    bm_json *recorded = recorded_read(model, strategy);
    uint32_t num_inputs = 0, num_weights = 0;
    print_message("%s, %s\n", model, strategy);
    run(folder, keys, output, model);
    bm_json *inputs = read_output(output, "act_scales.json"), *weights = read_output(output, "weight_scales.json");
    for (const bm_json *linear = bm_json_first(recorded_find(recorded, "steps", "ptq", NULL)); linear;
         linear = bm_json_next(linear)) {
        const char *name = bm_json_key(linear);
        const bm_json *vector = bm_json_find(linear, "weight_scale");
        assert_relative(bm_json_number(entry(inputs, name, "activation_quanter")),
                        bm_json_number(recorded_find(linear, "act_scale", NULL)), 1e-5, name);
        num_inputs++;
        float expected[4096];
        const uint32_t count = vector ? recorded_values(vector, expected, BM_COUNT(expected)) : 0;
        const bm_json *found = vector ? bm_json_first(entry(weights, name, "weight_quanter")) : NULL;
        for (uint32_t r = 0; r < count; r++, found = bm_json_next(found))
            assert_relative(bm_json_number(found), (double)expected[r], 1e-5, name);
        num_weights += count;
    }
    assert_true(num_inputs >= 28 && num_weights >= 7 * 8);
    bm_json_destroy(&recorded);
    bm_json_destroy(&inputs);
    bm_json_destroy(&weights);
    support_folder_remove(&output);
    bm_free(folder);
}

#define SHIFT ",\"shift\":true,\"shift_step\":8"
#define SMOOTH ",\"smooth\":true,\"smooth_step\":8"
#define SHIFT_ALL SHIFT ",\"shift_all_linears\":true"
#define SMOOTH_ALL SMOOTH ",\"smooth_all_linears\":true"

// All on OpenCL; on the others, which are slow, one that shifts all linears and one that searches: what is decided is the same code.
static void scales_are_the_recorded(void **state)
{
    const char *model = *state;
    static const char *const strategies[][2] = {
        {"a8w8", ""},
        {"shift_none", SHIFT ",\"shift_sampler\":\"none\""},
        {"shift_ema", SHIFT ",\"shift_sampler\":\"ema\""},
        {"shift_none_all", SHIFT_ALL ",\"shift_sampler\":\"none\""},
        {"smooth", SMOOTH},
        {"smooth_all", SMOOTH_ALL},
    };
    for (size_t i = 0; i < BM_COUNT(strategies) && is_opencl; i++)
        check(model, strategies[i][0], strategies[i][1]);
    if (strcmp(model, "stories260K") != 0)
        return;
    if (is_opencl)
        check(model, "a8w8_absmax", ",\"act_quant_method\":\"abs_max\"");
    else
        check(model, strategies[3][0], strategies[3][1]);
    // One piece needs no k-means: every decision follows, on every block.
    check(model, "pss_k1_all", SMOOTH_ALL ",\"smooth_piecewise_search\":true,\"smooth_k_piece\":1");
}

int main(int argc, char **argv)
{
    static const char *const models[] = {"stories260K", "babyllama-tok105", "prose-8m"};
    int failed = 0;
    uint32_t num_models = 0;
    const int status = open_device(argc, argv, LONG_LOOPS);
    if (status != 0)
        return status;
    is_opencl = strncmp(spec, "opencl", 6) == 0;
    for (size_t i = 0; i < BM_COUNT(models); i++) {
        char model[32];
        snprintf(model, sizeof model, "%s", models[i]);
        if (!recorded_is_here(model) || (!is_opencl && i > 0)) // the others are slow
            continue;
        const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(scales_are_the_recorded, model)};
        num_models++;
        failed += cmocka_run_group_tests_name(model, tests, NULL, NULL);
    }
    if (!close_device())
        failed++;
    if (num_models == 0)
        puts("no recorded figures here: skipped");
    return failed ? 1 : num_models ? 0 : SUPPORT_SKIP;
}
