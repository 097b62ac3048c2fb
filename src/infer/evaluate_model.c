// bm_evaluate_model: model, tokenizer and data from their paths, then bm_evaluate.
#include "infer/evaluate.h"

#include "base/progress.h"
#include "ops/variants.h"

void bm_evaluate_model_params_init(bm_evaluate_model_params *params)
{
    *params = (bm_evaluate_model_params){.size = sizeof *params};
}

// Models with a short context get shorter slices, prompts and answers: both read the same tokens. reference may be NULL.
static bm_status fit_data(const bm_evaluate_model_params *p, const bm_model *model, const bm_model *reference,
                          bm_dataset_params *data, bm_error *err)
{
    const uint32_t own = model->config.max_position_embeddings;
    const uint32_t other = reference ? reference->config.max_position_embeddings : own;
    const uint32_t limit = other < own ? other : own;
    bm_dataset_params_init(data);
    data->path = p->data;
    data->purpose = BM_DATASET_EVALUATION;
    data->drop_last = p->drop_last;
    data->max_sequences = p->max_sequences;
    data->max_tokens = p->max_tokens;
    data->max_length = (uint32_t)bm_min_u64(p->max_length > 0 ? p->max_length : data->max_length, limit);
    data->src_length = p->src_length > 0 ? p->src_length : data->src_length;
    if (data->src_length >= data->max_length)
        data->src_length = (uint32_t)bm_max_u64(2, data->max_length / 2);
    data->context = p->context > 0 ? p->context : (uint32_t)bm_min_u64(2048, limit);
    if (data->context > limit)
        return bm_fail(err, BM_E_ARGUMENT, "--context %u: expected at most %u tokens, the context of the %s",
                       data->context, limit, limit < own ? "reference" : "model");
    return BM_OK;
}

// What was given and does nothing, or less than it says, for data of this kind.
static void note_lengths(const bm_evaluate_model_params *p, const bm_dataset_params *data, const bm_dataset *dataset,
                         const bm_log *log)
{
    const bool is_plain_text = bm_dataset_is_plain_text(dataset), is_token_ids = bm_dataset_is_token_ids(dataset);
    if (is_plain_text && (p->src_length > 0 || p->max_length > 0))
        bm_log_write(log, BM_LOG_INFO, "note: plain text: src_length and max_length have no effect, context cuts it");
    if (!is_plain_text && (p->context > 0 || p->drop_last))
        bm_log_write(log, BM_LOG_INFO, "note: %s lines: context and drop_last have no effect, a line is a sequence",
                     is_token_ids ? "input_ids" : "src and tgt");
    if (is_token_ids && p->src_length > 0)
        bm_log_write(log, BM_LOG_INFO, "note: input_ids lines: src_length has no effect, max_length cuts them");
    if (!is_plain_text && (p->src_length > data->src_length || p->max_length > data->max_length))
        bm_log_write(log, BM_LOG_INFO, "note: src_length %u and max_length %u: what the model's context allows",
                     data->src_length, data->max_length);
}

// A large text takes seconds.
static bm_status report_reading(const bm_progress *progress, bm_error *err)
{
    const bm_progress_report r = {.phase = "read the data", .seconds_left = -1};
    return bm_progress_tell(progress, &r, err);
}

bm_status bm_evaluate_model(const bm_evaluate_model_params *p, bm_device *device, bm_evaluation *out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_model *model = NULL, *reference = NULL;
    bm_tokenizer *tokenizer = NULL;
    bm_dataset *dataset = NULL;
    bm_dataset_params data;
    BM_TRY(bm_variants_resolve(device, err));
    BM_TRY(bm_model_open(&model, p->model, err));
    if (p->reference)
        BM_TRY(bm_model_open(&reference, p->reference, err));
    BM_TRY(bm_tokenizer_open(&tokenizer, p->model, err));
    BM_TRY(fit_data(p, model, reference, &data, err));
    BM_TRY(report_reading(p->progress, err));
    BM_TRY(bm_dataset_load(&dataset, &data, tokenizer, bm_device_log(device), err));
    note_lengths(p, &data, dataset, bm_device_log(device));
    const bm_evaluate_params params = {.model = model,
                                       .reference = reference,
                                       .device = device,
                                       .dtype = p->dtype,
                                       .dataset = dataset,
                                       .progress = p->progress};
    BM_TRY(bm_evaluate(&params, out, err));
    out->context = bm_dataset_is_plain_text(dataset) ? data.context : 0;
done:
    bm_dataset_destroy(&dataset);
    bm_tokenizer_close(&tokenizer);
    bm_model_close(&reference);
    bm_model_close(&model);
    return status;
}
