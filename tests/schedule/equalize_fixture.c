#include "schedule/equalize_fixture.h"

#include "base/half.h"
#include "base/str.h"
#include "infer/evaluate.h"
#include "support/edits.h"
#include "support/folders.h"

#include <math.h>
#include <string.h>

// ---- models and data

model_maker_params small_model(void)
{
    model_maker_params p;
    model_maker_params_init(&p);
    p.hidden_size = 32;
    p.intermediate_size = 64;
    p.vocab_size = 260;
    return p;
}

char *made_model(const model_maker_params *p)
{
    static const uint32_t lengths[] = {12, 20, 7, 16, 3, 24}, few[] = {40, 40};
    bm_error err = {0};
    char *folder = support_folder_create();
    assert_ok(model_maker_write(p, folder, &err), &err);
    model_maker_ids_write(folder, "ids.jsonl", lengths, BM_COUNT(lengths));
    model_maker_ids_write(folder, "evaluation.jsonl", few, BM_COUNT(few));
    return folder;
}

float *read_floats(const bm_model *model, const char *name, uint64_t *count)
{
    bm_error err = {0};
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, name);
    *count = 0;
    if (!info) {
        fail_msg("no tensor %s", name);
        return NULL;
    }
    uint8_t *bytes = bm_alloc(info->size_bytes, 1);
    *count = info->size_bytes / bm_dtype_size(info->dtype);
    float *values = bm_alloc(*count, sizeof *values);
    assert_ok(bm_checkpoint_read(model->checkpoint, info, 0, bytes, info->size_bytes, &err), &err);
    for (uint64_t i = 0; i < *count; i++)
        values[i] = bm_load_real(bytes, info->dtype, i);
    bm_free(bytes);
    return values;
}

float *read_from(const char *folder, const char *name, uint64_t *count)
{
    bm_error err = {0};
    bm_model *model = NULL;
    assert_ok(bm_model_open(&model, folder, &err), &err);
    float *values = read_floats(model, name, count);
    bm_model_close(&model);
    return values;
}

void scale_tensor(const char *folder, const char *name, int64_t row, int64_t col, uint64_t cols, float factor)
{
    uint64_t count;
    float *values = read_from(folder, name, &count);
    for (uint64_t i = 0; i < count; i++)
        if ((row < 0 || (int64_t)(i / cols) == row) && (col < 0 || (int64_t)(i % cols) == col))
            values[i] *= factor;
    support_tensor_write(folder, name, values, count * sizeof *values);
    bm_free(values);
}

void set_element(const char *folder, const char *name, uint64_t index, float value)
{
    uint64_t count;
    float *values = read_from(folder, name, &count);
    values[index] = value;
    support_tensor_write(folder, name, values, count * sizeof *values);
    bm_free(values);
}

// ---- runs

static void gather(void *user, bm_log_level level, const char *message)
{
    (void)level;
    (void)bm_string_append_format(user, "%s\n", message);
}

bm_status quantize(run *r, bm_error *err)
{
    bm_arguments *arguments = NULL;
    bm_model *model = NULL;
    bm_plan *plan = NULL;
    bm_status status = BM_OK;
    bm_device *on = r->device ? r->device : device;
    char *text =
        bm_format("{\"model_name_or_path\":\"%s\",\"output_dir\":\"%s/out\",\"dataset_name_or_path\":\"%s/%s\","
                  "\"do_ptq\":true,\"per_device_train_batch_size\":2,\"max_length\":64,\"src_length\":32,%s}",
                  r->folder, r->output = support_folder_create(), r->folder, r->data ? r->data : "ids.jsonl", r->keys);
    const bm_log log = {.level = BM_LOG_WARNING, .write = gather, .user = &r->log};
    r->log = (bm_string)BM_STRING_INIT;
    r->result = (bm_quantize_result){0};
    BM_TRY(bm_arguments_read_text(&arguments, text, strlen(text), "test", NULL, err));
    if (arguments->compute_dtype == BM_DTYPE_NONE)
        arguments->compute_dtype = BM_DTYPE_F32;
    BM_TRY(bm_model_open(&model, r->folder, err));
    BM_TRY(bm_plan_create(arguments, model, &plan, err));
    BM_TRY(bm_plan_load_data(plan, arguments, model, NULL, err));
    const bm_quantize_run_params params = {
        .arguments = arguments, .plan = plan, .model = model, .device = on, .log = &log};
    status = bm_quantize_run(&params, &r->result, err);
done:
    bm_plan_destroy(&plan);
    bm_model_close(&model);
    bm_arguments_destroy(&arguments);
    bm_free(text);
    return status;
}

void end_run(run *r)
{
    bm_quantize_result_free(&r->result);
    bm_string_free(&r->log);
    support_folder_remove(&r->output);
}

char *output_of(const run *r)
{
    return bm_path_join(r->output, "out");
}

double divergence(run *r)
{
    bm_error err = {0};
    bm_model *reference = NULL, *model = NULL;
    bm_tokenizer *tokenizer = NULL;
    bm_dataset *dataset = NULL;
    bm_dataset_params data;
    bm_evaluation evaluation;
    char *output = output_of(r), *path = bm_path_join(r->folder, "evaluation.jsonl");
    assert_ok(bm_model_open(&reference, r->folder, &err), &err);
    assert_ok(bm_model_open(&model, output, &err), &err);
    assert_ok(bm_tokenizer_open(&tokenizer, r->folder, &err), &err);
    bm_dataset_params_init(&data);
    data.path = path;
    data.purpose = BM_DATASET_EVALUATION;
    data.src_length = 32;
    data.max_length = 64;
    data.context = 64;
    assert_ok(bm_dataset_load(&dataset, &data, tokenizer, NULL, &err), &err);
    const bm_evaluate_params params = {
        .model = model, .reference = reference, .device = device, .dtype = BM_DTYPE_F32, .dataset = dataset};
    assert_ok(bm_evaluate(&params, &evaluation, &err), &err);
    assert_true(isfinite(evaluation.loss) && evaluation.kl_divergence >= 0);
    bm_dataset_destroy(&dataset);
    bm_tokenizer_close(&tokenizer);
    bm_model_close(&model);
    bm_model_close(&reference);
    bm_free(output);
    bm_free(path);
    return evaluation.kl_divergence;
}

double run_and_compare(const char *folder, const char *keys)
{
    bm_error err = {0};
    run r = {.folder = folder, .keys = keys};
    if (quantize(&r, &err) != BM_OK)
        fail_msg("%s: %s", keys, err.message);
    const double nats = divergence(&r);
    end_run(&r);
    return nats;
}

const bm_stage_record *stage_of(const run *r, uint32_t block, bm_stage stage)
{
    for (uint32_t i = 0; i < r->result.num_stages; i++)
        if (r->result.stages[i].block == block && r->result.stages[i].stage == stage)
            return &r->result.stages[i];
    fail_msg("block %u, stage %d: no record", block, (int)stage);
    return NULL;
}

void quantize_well(run *r)
{
    bm_error err = {0};
    if (quantize(r, &err) != BM_OK)
        fail_msg("%s: %s", r->keys, err.message);
    (void)divergence(r); // it can be read back, and gives finite logits
}

// ---- numbers

void assert_near(double found, double expected, const char *what)
{
    if (!(fabs(found - expected) <= 1e-5 * fabs(expected)))
        fail_msg("%s: found %.9g, expected %.9g", what, found, expected);
}
