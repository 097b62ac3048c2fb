// bm_evaluate_model: model, tokenizer and data from their paths, then bm_evaluate.
#include "infer/evaluate.h"

#include "base/progress.h"
#include "ops/variants.h"

void bm_evaluate_model_params_init(bm_evaluate_model_params *params)
{
    *params = (bm_evaluate_model_params){.size = sizeof *params, .src_length = 1024, .max_length = 2048};
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
    data->max_length = (uint32_t)bm_min_u64(p->max_length, limit);
    data->src_length = (uint32_t)bm_max_u64(2, bm_min_u64(p->src_length, data->max_length / 2));
    data->context = p->context > 0 ? p->context : (uint32_t)bm_min_u64(2048, limit);
    if (data->context > limit)
        return bm_fail(err, BM_E_ARGUMENT, "context %u, the %s takes at most %u", data->context,
                       limit < own ? "reference" : "model", limit);
    return BM_OK;
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
    const bm_evaluate_params params = {.model = model,
                                       .reference = reference,
                                       .device = device,
                                       .dtype = p->dtype,
                                       .dataset = dataset,
                                       .progress = p->progress};
    BM_TRY(bm_evaluate(&params, out, err));
    out->context = data.context;
done:
    bm_dataset_destroy(&dataset);
    bm_tokenizer_close(&tokenizer);
    bm_model_close(&reference);
    bm_model_close(&model);
    return status;
}
