// Warming up.
#include "infer/warm_up.h"

#include "base/progress.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/loss.h"
#include "infer/stream.h"

// Enough tokens for the kernels of many rows; few, then one go through others. A cache is long enough for kernels of one token.
enum { MANY_TOKENS = 64, FEW_TOKENS = 8, CACHED_KEYS = 1024, HEAD_ROWS = 64, METHOD_ROWS = 32, NUM_STEPS = 3 };

static bm_status report(const bm_progress *progress, uint64_t done, uint64_t total, bm_error *err)
{
    const bm_progress_report r = {
        .phase = "compile kernels", .done = done, .total = total, .unit = "steps", .seconds_left = -1};
    return bm_progress_tell(progress, &r, err);
}

typedef enum last_step { END_WITH_LOGITS, END_WITH_LOSS, END_WITH_DIVERGENCE } last_step;

// Final norm and logits of the tokens of a stream over a few rows of the head, then what the last step asks for.
static bm_status score(const bm_model *model, bm_device *device, bm_dtype dtype, last_step last, bm_stream *stream,
                       bm_error *err)
{
    const uint32_t rows = model->config.vocab_size < HEAD_ROWS ? model->config.vocab_size : HEAD_ROWS;
    const uint32_t tokens = stream->max_tokens;
    bm_status status = BM_OK;
    bm_norm norm = {0};
    bm_tensor hidden, normed = {0}, logits = {0};
    bm_weights *head = NULL;
    bm_loss *loss = NULL;
    BM_TRY(bm_stream_acquire(stream, 0, &hidden, err));
    BM_TRY(
        bm_norm_load(model, device, model->family->layout->final_norm, model->config.hidden_size, dtype, &norm, err));
    BM_TRY(bm_tensor_create(device, dtype, tokens, model->config.hidden_size, "normed", &normed, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, tokens, rows, "logits", &logits, err));
    BM_TRY(bm_model_load_head_rows(model, device, 0, rows, dtype, &head, err));
    BM_TRY(bm_loss_create(device, tokens, &loss, err));
    BM_TRY(bm_norm_apply(device, &norm, &hidden, &normed, err));
    BM_TRY(bm_gemm(device, &normed, head, NULL, &logits, err));
    BM_TRY(bm_model_cap_logits(model, device, &logits, err));
    if (last != END_WITH_LOGITS) {
        BM_TRY(bm_loss_begin(device, loss, tokens, err));
        BM_TRY(bm_loss_add(device, loss, &logits, stream->batches[0].batch.positions, 0, err));
    }
    if (last == END_WITH_DIVERGENCE)
        BM_TRY(bm_loss_add_divergence(device, loss, loss, &logits, &logits, err));
    BM_TRY(bm_device_wait(device, err));
done:
    bm_loss_destroy(&loss);
    bm_weights_destroy(&head);
    bm_norm_destroy(&norm);
    bm_tensor_destroy(&normed);
    bm_tensor_destroy(&logits);
    return status;
}

static bm_status run_tokens(const bm_model *model, bm_device *device, bm_dtype dtype, last_step last,
                            const bm_block *block, uint32_t count, bm_error *err)
{
    static const uint32_t zeros[MANY_TOKENS];
    const bm_batch_sequence sequence = {zeros, count};
    const bm_stream_params params = {
        .model = model, .device = device, .dtype = dtype, .sequences = &sequence, .num_sequences = 1};
    bm_status status = BM_OK;
    bm_stream *stream = NULL;
    bm_tensor hidden;
    BM_TRY(bm_stream_create(&params, &stream, err));
    BM_TRY(bm_stream_acquire(stream, 0, &hidden, err));
    BM_TRY(bm_block_forward(device, block, &stream->batches[0].batch, &stream->workspace, NULL, &hidden, err));
    BM_TRY(bm_stream_release(stream, 0, &hidden, true, err));
    BM_TRY(score(model, device, dtype, last, stream, err));
done:
    bm_stream_destroy(&stream);
    if (status != BM_E_NUMERIC)
        return status;
    // Numbers that overflow are met again by what is warmed up for, which says where.
    bm_error met = {0};
    status = bm_device_wait(device, &met);
    return status == BM_OK || status == BM_E_NUMERIC ? BM_OK : bm_fail(err, status, "%s", met.message);
}

// One token that sees a long cache.
static bm_status run_cached(const bm_model *model, bm_device *device, bm_dtype dtype, bm_error *err)
{
    const bm_hf_config *c = &model->config;
    const uint32_t keys = (uint32_t)bm_min_u64(CACHED_KEYS, c->max_position_embeddings), last_key = keys - 1;
    const uint64_t query = (uint64_t)c->num_attention_heads * c->head_dim;
    bm_status status = BM_OK;
    bm_tensor q = {0}, k = {0}, y = {0}, integers = {0};
    BM_TRY(bm_tensor_create(device, dtype, 1, query, "query", &q, err));
    BM_TRY(bm_tensor_create(device, dtype, keys, (uint64_t)c->num_key_value_heads * c->head_dim, "keys", &k, err));
    BM_TRY(bm_tensor_create(device, dtype, 1, query, "attended", &y, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_U32, 2, 1, "range of keys", &integers, err));
    BM_TRY(bm_fill(device, q.view, 0, err));
    BM_TRY(bm_fill(device, k.view, 0, err));
    BM_TRY(bm_tensor_upload(device, &integers, (const uint32_t[]){0, last_key}, err));
    const bm_attention_params params = {.num_heads = c->num_attention_heads,
                                        .num_key_value_heads = c->num_key_value_heads,
                                        .head_dim = c->head_dim,
                                        .scale = 1,
                                        .cap = c->attention_cap,
                                        .first_key = bm_tensor_rows(&integers, 0, 1).view,
                                        .last_key = bm_tensor_rows(&integers, 1, 1).view};
    BM_TRY(bm_attention(device, &q, &k, &k, &params, &y, err));
    BM_TRY(bm_device_wait(device, err));
done:
    bm_tensor_destroy(&q);
    bm_tensor_destroy(&k);
    bm_tensor_destroy(&y);
    bm_tensor_destroy(&integers);
    return status;
}

// Of steps done before and to do in all. As what is warmed up for loads its blocks.
static bm_status warm_up(const bm_model *model, bm_device *device, bm_dtype dtype, last_step last, uint64_t before,
                         uint64_t total, const bm_progress *progress, bm_error *err)
{
    const uint32_t positions = model->config.max_position_embeddings;
    bm_status status = BM_OK;
    bm_block block = {0};
    if (bm_device_is_host(device))
        return BM_OK; // nothing to compile
    BM_TRY(report(progress, before, total, err));
    BM_TRY(last == END_WITH_LOGITS ? bm_block_load_codes(model, device, 0, dtype, &block, err)
                                   : bm_block_load(model, device, 0, dtype, &block, err));
    BM_TRY(report(progress, before + 1, total, err));
    BM_TRY(run_tokens(model, device, dtype, last, &block, positions < MANY_TOKENS ? positions : MANY_TOKENS, err));
    BM_TRY(report(progress, before + 2, total, err));
    if (last == END_WITH_LOGITS) { // prompts of any length, and caches
        BM_TRY(run_tokens(model, device, dtype, last, &block, positions < FEW_TOKENS ? positions : FEW_TOKENS, err));
        BM_TRY(run_cached(model, device, dtype, err));
    }
    BM_TRY(run_tokens(model, device, dtype, last, &block, 1, err));
    BM_TRY(report(progress, before + NUM_STEPS, total, err));
done:
    bm_block_destroy(&block);
    return status;
}

bm_status bm_warm_up_evaluation(const bm_model *model, const bm_model *reference, bm_device *device, bm_dtype dtype,
                                const bm_progress *progress, bm_error *err)
{
    const uint64_t total = reference ? 2 * NUM_STEPS : NUM_STEPS;
    const bm_status status = warm_up(model, device, dtype, END_WITH_LOSS, 0, total, progress, err);
    return status == BM_OK && reference
               ? warm_up(reference, device, dtype, END_WITH_DIVERGENCE, NUM_STEPS, total, progress, err)
               : status;
}

bm_status bm_warm_up_generation(const bm_model *model, bm_device *device, bm_dtype dtype, const bm_progress *progress,
                                bm_error *err)
{
    return warm_up(model, device, dtype, END_WITH_LOGITS, 0, NUM_STEPS, progress, err);
}

// Inputs and weights that any method solves, whatever the model's are: what those come to is not for here to say.
static bm_status put_numbers(bm_device *device, const bm_tensor *matrix, bm_error *err)
{
    const uint64_t count = matrix->rows * matrix->cols;
    float *values = bm_alloc(count, sizeof *values);
    if (!values)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < count; i++)
        values[i] = (float)(i % 7) - 3;
    const bm_status status = bm_tensor_upload(device, matrix, values, err);
    bm_free(values);
    return status;
}

bm_status bm_warm_up_method(const bm_model *model, bm_device *device, const bm_method *method, const char *weight,
                            const bm_method_params *params, const bm_progress *progress, bm_error *err)
{
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, weight);
    bm_status status = BM_OK;
    bm_tensor stored = {0}, weights = {0};
    bm_codes codes = {0};
    bm_multiplier multiplier;
    bm_group_record record = {0};
    bm_row_errors errors[METHOD_ROWS] = {{0}};
    void *state = NULL;
    const bm_watches watches = method->watches(params);
    if (bm_device_is_host(device))
        return BM_OK;
    bm_multiplier_init(&multiplier, device);
    BM_TRY(report(progress, 0, NUM_STEPS, err));
    BM_TRY(bm_model_read_rows(model, device, info, 0, bm_min_u64(METHOD_ROWS, info->shape[0]), &stored, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, stored.rows, stored.cols, "weights", &weights, err));
    BM_TRY(bm_convert(device, &stored, &weights, info->name, err));
    BM_TRY(put_numbers(device, &weights, err));
    BM_TRY(bm_codes_create(device, stored.rows, stored.cols, &params->grid, &codes, err));
    const bm_method_rows rows = {.weights = &weights, .codes = &codes, .errors = errors};
    if (watches != BM_WATCHES_NOTHING) { // the weights are inputs as good as any
        BM_TRY(method->begin(&multiplier, params, (uint32_t)weights.cols, &state, err));
        BM_TRY(method->watch(&multiplier, state, &weights, watches == BM_WATCHES_BOTH_INPUTS ? &weights : NULL, err));
        if (bm_multiplier_narrow(&multiplier, stored.dtype)) { // activations of the type that the checkpoint has
            BM_TRY(bm_convert(device, &weights, &stored, info->name, err));
            BM_TRY(method->watch(&multiplier, state, &stored, watches == BM_WATCHES_BOTH_INPUTS ? &stored : NULL, err));
        }
        BM_TRY(method->prepare(&multiplier, state, params, &record, err));
        BM_TRY(report(progress, 1, NUM_STEPS, err));
    }
    BM_TRY(method->solve(&multiplier, state, params, &rows, err));
    BM_TRY(report(progress, NUM_STEPS, NUM_STEPS, err));
done:
    method->end(&state);
    bm_tensor_destroy(&stored);
    bm_tensor_destroy(&weights);
    bm_codes_destroy(&codes);
    bm_multiplier_free(&multiplier);
    return status;
}
