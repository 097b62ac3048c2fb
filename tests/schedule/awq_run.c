// Runs of small models, and reading beside them.
#include "schedule/awq_run.h"

#include "support/unit.h"

#include "base/half.h"
#include "base/str.h"
#include "infer/evaluate.h"
#include "infer/stream.h"
#include "model/masters.h"
#include "support/edits.h"
#include "support/folders.h"
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bm_device *awq_device;
static bm_error failure;

#define MUST(call) assert_ok(call, &failure)

model_maker_params awq_model(void)
{
    model_maker_params p;
    model_maker_params_init(&p);
    p.intermediate_size = 96;
    p.vocab_size = 260;
    p.num_outlier_channels = 2;
    p.outlier_scale = 12;
    return p;
}

char *awq_model_write(const model_maker_params *params)
{
    static const uint32_t lengths[] = {22, 20, 7, 26, 13, 24, 9}, few[] = {40, 40};
    char *folder = support_folder_create();
    MUST(model_maker_write(params, folder, &failure));
    model_maker_ids_write(folder, "ids.jsonl", lengths, BM_COUNT(lengths));
    model_maker_ids_write(folder, "evaluation.jsonl", few, BM_COUNT(few));
    return folder;
}

static void gather(void *user, bm_log_level level, const char *message)
{
    (void)level;
    (void)bm_string_append_format(user, "%s\n", message);
}

bm_status awq_run_plan(awq_run *r, bm_error *err)
{
    bm_status status = BM_OK;
    r->parent = support_folder_create();
    r->output = bm_path_join(r->parent, "out");
    r->log = (bm_string)BM_STRING_INIT;
    r->result = (bm_quantize_result){0};
    char *text = bm_format("{\"model_name_or_path\":\"%s\",\"output_dir\":\"%s\",\"dataset_name_or_path\":\"%s/%s\","
                           "\"per_device_train_batch_size\":2,\"max_length\":64,\"src_length\":32,%s}",
                           r->folder, r->output, r->folder, r->data ? r->data : "ids.jsonl", r->keys);
    BM_TRY(bm_arguments_read_text(&r->arguments, text, strlen(text), "test", NULL, err));
    if (r->arguments->compute_dtype == BM_DTYPE_NONE)
        r->arguments->compute_dtype = BM_DTYPE_F32;
    BM_TRY(bm_model_open(&r->model, r->folder, err));
    BM_TRY(bm_plan_create(r->arguments, r->model, &r->plan, err));
    if (r->method)
        r->plan->method = r->method;
    BM_TRY(bm_plan_load_data(r->plan, r->arguments, r->model, NULL, err));
done:
    bm_free(text);
    return status;
}

bm_status awq_run_quantize(awq_run *r, bm_error *err)
{
    const bm_log log = {.level = BM_LOG_WARNING, .write = gather, .user = &r->log};
    bm_status status = BM_OK;
    BM_TRY(awq_run_plan(r, err));
    const bm_quantize_run_params params = {.arguments = r->arguments,
                                           .plan = r->plan,
                                           .model = r->model,
                                           .device = r->device ? r->device : awq_device,
                                           .log = &log};
    status = bm_quantize_run(&params, &r->result, err);
done:
    return status;
}

void awq_run_must(awq_run *r)
{
    if (awq_run_quantize(r, &failure) != BM_OK)
        fail_msg("%s: %s", r->keys, failure.message);
}

void awq_run_end(awq_run *r)
{
    bm_quantize_result_free(&r->result);
    bm_plan_destroy(&r->plan);
    bm_model_close(&r->model);
    bm_arguments_destroy(&r->arguments);
    bm_string_free(&r->log);
    bm_free(r->output);
    support_folder_remove(&r->parent);
}

const bm_stage_record *awq_run_stage(const awq_run *r, uint32_t block, bm_stage stage)
{
    for (uint32_t i = 0; i < r->result.num_stages; i++)
        if (r->result.stages[i].block == block && r->result.stages[i].stage == stage)
            return &r->result.stages[i];
    fail_msg("block %u, stage %d: no record", block, (int)stage);
    return NULL;
}

bool awq_run_notes(const awq_run *r, const char *words)
{
    const bm_notes *both[] = {&r->arguments->notes, &r->plan->notes};
    for (size_t n = 0; n < BM_COUNT(both); n++)
        for (uint32_t i = 0; i < both[n]->count; i++)
            if (strstr(both[n]->items[i].text, words))
                return true;
    return false;
}

uint64_t awq_run_tokens(const awq_run *r, int64_t steps)
{
    const bm_calibration_data *data = &r->plan->calibration;
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < data->num_segments; i++)
        tokens += data->segment_sequences[i] / 2 < steps ? data->segments[i].count : 0;
    return tokens;
}

static float *read_floats(const bm_model *model, const char *name, uint64_t *count)
{
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, name);
    *count = 0;
    if (!info) {
        fail_msg("no tensor %s", name);
        return NULL;
    }
    uint8_t *bytes = bm_alloc(info->size_bytes, 1);
    *count = info->size_bytes / bm_dtype_size(info->dtype);
    float *values = bm_alloc(*count, sizeof *values);
    MUST(bm_checkpoint_read(model->checkpoint, info, 0, bytes, info->size_bytes, &failure));
    for (uint64_t i = 0; i < *count; i++)
        values[i] = bm_load_real(bytes, info->dtype, i);
    bm_free(bytes);
    return values;
}

float *awq_read(const char *folder, const char *name, uint64_t *count)
{
    bm_model *model = NULL;
    MUST(bm_model_open(&model, folder, &failure));
    float *values = read_floats(model, name, count);
    bm_model_close(&model);
    return values;
}

void awq_scale_tensor(const char *folder, const char *name, int64_t row, int64_t col, uint64_t cols, float factor)
{
    uint64_t count;
    float *values = awq_read(folder, name, &count);
    for (uint64_t i = 0; i < count; i++)
        if ((row < 0 || (int64_t)(i / cols) == row) && (col < 0 || (int64_t)(i % cols) == col))
            values[i] *= factor;
    support_tensor_write(folder, name, values, count * sizeof *values);
    bm_free(values);
}

void awq_set_element(const char *folder, const char *name, uint64_t index, float value)
{
    uint64_t count;
    float *values = awq_read(folder, name, &count);
    values[index] = value;
    support_tensor_write(folder, name, values, count * sizeof *values);
    bm_free(values);
}

double awq_divergence(const char *reference_folder, const char *folder)
{
    bm_model *reference = NULL, *model = NULL;
    bm_tokenizer *tokenizer = NULL;
    bm_dataset *dataset = NULL;
    bm_dataset_params data;
    bm_evaluation evaluation;
    char *path = bm_path_join(reference_folder, "evaluation.jsonl");
    MUST(bm_model_open(&reference, reference_folder, &failure));
    MUST(bm_model_open(&model, folder, &failure));
    MUST(bm_tokenizer_open(&tokenizer, reference_folder, &failure));
    bm_dataset_params_init(&data);
    data.path = path;
    data.purpose = BM_DATASET_EVALUATION;
    data.src_length = 32;
    data.max_length = 64;
    data.context = 64;
    MUST(bm_dataset_load(&dataset, &data, tokenizer, NULL, &failure));
    const bm_evaluate_params params = {
        .model = model, .reference = reference, .device = awq_device, .dtype = BM_DTYPE_F32, .dataset = dataset};
    MUST(bm_evaluate(&params, &evaluation, &failure));
    assert_true(isfinite(evaluation.loss) && isfinite(evaluation.kl_divergence));
    bm_dataset_destroy(&dataset);
    bm_tokenizer_close(&tokenizer);
    bm_model_close(&model);
    bm_model_close(&reference);
    bm_free(path);
    return evaluation.kl_divergence;
}

uint64_t awq_differing_codes(const char *a, const char *b, uint64_t *codes)
{
    bm_model *models[2] = {NULL, NULL};
    uint64_t differing = 0;
    *codes = 0;
    MUST(bm_model_open(&models[0], a, &failure));
    MUST(bm_model_open(&models[1], b, &failure));
    for (uint32_t i = 0; i < bm_checkpoint_count(models[0]->checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(models[0]->checkpoint, i);
        if (!strstr(info->name, "weight_packed"))
            continue;
        const bm_tensor_info *other = bm_checkpoint_find(models[1]->checkpoint, info->name);
        uint8_t *x = bm_alloc(info->size_bytes, 1), *y = bm_alloc(info->size_bytes, 1);
        MUST(bm_checkpoint_read(models[0]->checkpoint, info, 0, x, info->size_bytes, &failure));
        MUST(bm_checkpoint_read(models[1]->checkpoint, other, 0, y, info->size_bytes, &failure));
        for (uint64_t e = 0; e < info->size_bytes; e++)
            differing += ((x[e] ^ y[e]) & 15 ? 1 : 0) + ((x[e] ^ y[e]) >> 4 ? 1 : 0);
        *codes += 2 * info->size_bytes;
        bm_free(x);
        bm_free(y);
    }
    bm_model_close(&models[0]);
    bm_model_close(&models[1]);
    return differing;
}

// ---- blocks

void awq_block_read_weights(const bm_model *model, uint32_t index, awq_block *out)
{
    bm_block block = {0};
    *out = (awq_block){.model = model, .index = index};
    MUST(bm_masters_load(model, awq_device, index, BM_DTYPE_F32, &block, &failure));
    for (bm_linear_id i = 0; i < BM_NUM_LINEARS; i++) {
        const bm_weights *w = block.linears[i];
        if (!w)
            continue;
        out->rows[i] = (uint32_t)w->out_features;
        out->channels[bm_linear_stage(i)] = (uint32_t)w->in_features;
        out->weights[i] = bm_alloc(w->out_features * w->in_features, sizeof(float));
        for (uint32_t p = 0; p < w->num_parts; p++)
            MUST(bm_tensor_download(awq_device, &w->parts[p],
                                    out->weights[i] + (uint64_t)p * w->rows_per_part * w->in_features, &failure));
    }
    MUST(bm_device_wait(awq_device, &failure));
    bm_block_destroy(&block);
}

static void pass_batch(bm_stream *stream, const bm_block *block, uint32_t batch, awq_block *out)
{
    const bm_stream_batch *b = &stream->batches[batch];
    bm_tensor hidden, input;
    MUST(bm_stream_acquire(stream, batch, &hidden, &failure));
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        MUST(bm_block_stage_input(awq_device, block, stage, &b->batch, &stream->workspace, &hidden, &input, &failure));
        MUST(bm_tensor_download(awq_device, &input, out->inputs[stage] + b->first_token * out->channels[stage],
                                &failure));
        MUST(bm_block_stage_output(awq_device, block, stage, &b->batch, &stream->workspace, NULL, &input, &hidden,
                                   &failure));
        MUST(bm_device_wait(awq_device, &failure));
    }
    MUST(bm_stream_release(stream, batch, &hidden, true, &failure));
}

void awq_blocks_read(const awq_run *r, awq_block *out, uint32_t count)
{
    const bm_calibration_data *data = &r->plan->calibration;
    bm_stream *stream = NULL;
    MUST(bm_stream_create(&(bm_stream_params){.model = r->model,
                                              .device = awq_device,
                                              .dtype = BM_DTYPE_F32,
                                              .sequences = data->segments,
                                              .num_sequences = data->num_segments},
                          &stream, &failure));
    for (uint32_t i = 0; i < count; i++) {
        bm_block block = {0};
        awq_block_read_weights(r->model, i, &out[i]);
        out[i].tokens = stream->num_tokens;
        for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
            out[i].inputs[stage] = bm_alloc(stream->num_tokens * out[i].channels[stage], sizeof(float));
        MUST(bm_block_load(r->model, awq_device, i, BM_DTYPE_F32, &block, &failure));
        for (uint32_t b = 0; b < stream->num_batches; b++)
            pass_batch(stream, &block, b, &out[i]);
        bm_block_destroy(&block);
    }
    bm_stream_destroy(&stream);
}

void awq_block_free(awq_block *block)
{
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
        bm_free(block->inputs[stage]);
    for (bm_linear_id i = 0; i < BM_NUM_LINEARS; i++)
        bm_free(block->weights[i]);
    *block = (awq_block){0};
}

int awq_main(int argc, char **argv, const char *name, int (*run)(const char *name))
{
    support_log log;
    bm_error err = {0};
    const char *spec = argc > 1 ? argv[1] : "host";
    support_log_init(&log);
    if (support_device_open(spec, &log, &awq_device, &err) != BM_OK) {
        fprintf(stderr, "%s: %s\n", spec, err.message);
        return 1;
    }
    if (awq_device && support_is_instrumented()) // its loops are long
        bm_device_close(&awq_device);
    if (!awq_device)
        return SUPPORT_SKIP;
    int failures = run(name);
    bm_device_close(&awq_device);
    if (log.num_complaints > 0) {
        printf("%u complaints of validation\n", log.num_complaints);
        failures++;
    }
    return failures;
}
