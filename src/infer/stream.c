// Block streaming.
#include "infer/stream.h"

#include "base/clock.h"
#include "base/process.h"
#include "base/progress.h"

// Tokens of a batch where nothing bounds them: large enough to fill a GPU, small enough for a CPU's cache behaviour.
#define READING_SHARE 8 // of all memory, for a block that is read ahead
#define DEFAULT_BATCH_TOKENS 2048

uint32_t bm_stream_batch_tokens(const bm_model *model, const bm_device *device, bm_dtype dtype,
                                const bm_batch_sequence *sequences, uint32_t num_sequences, uint32_t wanted)
{
    const bm_device_limits *limits = &bm_device_get_info(device)->limits;
    const uint64_t per_token = bm_workspace_bytes_per_token(model, dtype) + 4 * (uint64_t)model->config.hidden_size;
    const uint64_t fits = limits->memory_bytes / 4 / per_token;
    uint64_t tokens = bm_min_u64(wanted ? wanted : DEFAULT_BATCH_TOKENS, fits);
    for (uint32_t s = 0; s < num_sequences; s++)
        tokens = bm_max_u64(tokens, sequences[s].count);
    return (uint32_t)tokens;
}

// The length that a text's angles go by; 0: by none.
static uint32_t scaled_length(const bm_model *model, uint32_t length)
{
    const bm_rope_config *rope = &model->config.rope;
    return rope->scaling == BM_ROPE_DYNAMIC && length > rope->original_max_position_embeddings ? length : 0;
}

uint32_t bm_stream_first_batch(const bm_model *model, const bm_batch_sequence *sequences, uint32_t num_sequences,
                               uint32_t max_batch_tokens, uint32_t *num_tokens)
{
    uint64_t tokens = 0;
    uint32_t count = 0;
    while (count < num_sequences &&
           (count == 0 || (tokens + sequences[count].count <= max_batch_tokens &&
                           scaled_length(model, sequences[count].count) == scaled_length(model, sequences[0].count))))
        tokens += sequences[count++].count;
    *num_tokens = (uint32_t)tokens;
    return count;
}

// Cuts the sequences into batches; batches hold no device memory yet.
static bm_status make_batches(bm_stream *stream, bm_error *err)
{
    const bm_stream_params *p = &stream->params;
    const uint32_t limit =
        p->max_batch_tokens ? p->max_batch_tokens
                            : bm_stream_batch_tokens(p->model, p->device, p->dtype, p->sequences, p->num_sequences, 0);
    stream->batches = bm_alloc_zero(p->num_sequences, sizeof *stream->batches);
    if (!stream->batches)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint32_t first = 0; first < p->num_sequences;) {
        bm_stream_batch *batch = &stream->batches[stream->num_batches++];
        batch->first_sequence = first;
        batch->first_token = stream->num_tokens;
        batch->num_sequences = bm_stream_first_batch(p->model, p->sequences + first, p->num_sequences - first, limit,
                                                     &batch->batch.num_tokens);
        first += batch->num_sequences;
        stream->num_tokens += batch->batch.num_tokens;
        stream->max_tokens = (uint32_t)bm_max_u64(stream->max_tokens, batch->batch.num_tokens);
    }
    return stream->num_tokens > 0 ? BM_OK : bm_fail(err, BM_E_ARGUMENT, "no tokens to run the model on");
}

// Whether the residual stream of all tokens may stay on the device: within its budget, and in three quarters of what is
// free there; blocks and batches need the rest.
static bool fits_device(const bm_stream *stream)
{
    const bm_stream_params *p = &stream->params;
    const uint64_t memory = bm_device_get_info(p->device)->limits.memory_bytes;
    const uint64_t free_bytes = memory - bm_min_u64(memory, bm_device_live_bytes(p->device));
    const uint64_t budget = p->hidden_budget ? p->hidden_budget : memory / 2;
    const uint64_t bytes = stream->num_tokens * p->model->config.hidden_size * bm_dtype_size(stream->hidden_dtype);
    return bytes <= budget && bytes <= free_bytes / 4 * 3;
}

static bm_status upload_batches(bm_stream *stream, uint32_t *max_positions, bm_error *err)
{
    const bm_stream_params *p = &stream->params;
    const uint32_t hidden = p->model->config.hidden_size;
    bm_status status = BM_OK;
    stream->place = fits_device(stream) ? BM_KEPT_DEVICE : p->folder ? BM_KEPT_FILE : BM_KEPT_HOST;
    if (stream->place == BM_KEPT_FILE)
        BM_TRY(bm_kept_begin(&stream->kept, p->device, BM_KEPT_FILE, stream->num_batches, 0, p->folder, err));
    for (uint32_t b = 0; b < stream->num_batches; b++) {
        bm_stream_batch *batch = &stream->batches[b];
        BM_TRY(bm_batch_create(p->device, p->sequences + batch->first_sequence, batch->num_sequences,
                               p->model->config.sliding_window, &batch->batch, err));
        *max_positions = batch->batch.max_position > *max_positions ? batch->batch.max_position : *max_positions;
        if (stream->place != BM_KEPT_FILE)
            BM_TRY((stream->place == BM_KEPT_HOST ? bm_tensor_create_on_host : bm_tensor_create)(
                p->device, stream->hidden_dtype, batch->batch.num_tokens, hidden, "hidden", &batch->hidden, err));
    }
done:
    return status;
}

// The place of a batch's residual stream on the device: its own, or the one through which those pass that live elsewhere.
static bm_tensor place_of(const bm_stream *stream, uint32_t batch)
{
    const bm_stream_batch *b = &stream->batches[batch];
    return stream->place != BM_KEPT_DEVICE
               ? bm_tensor_reshape(&stream->staged, b->batch.num_tokens, stream->staged.cols)
               : b->hidden;
}

static bm_status embed_batch(bm_stream *stream, uint32_t batch, bm_error *err)
{
    const bm_stream_params *p = &stream->params;
    const bm_stream_batch *b = &stream->batches[batch];
    const bm_tensor hidden = place_of(stream, batch);
    bm_status status = BM_OK;
    uint32_t *ids = bm_alloc(b->batch.num_tokens, sizeof *ids), count = 0;
    BM_FAIL_IF(!ids, err, BM_E_MEMORY, "out of memory");
    for (uint32_t s = b->first_sequence; s < b->first_sequence + b->num_sequences; s++)
        for (uint32_t i = 0; i < p->sequences[s].count; i++)
            ids[count++] = p->sequences[s].ids[i];
    BM_TRY(bm_model_embed(p->model, p->device, ids, count, &hidden, err));
    BM_TRY(bm_stream_release(stream, batch, &hidden, true, err));
done:
    bm_free(ids);
    return status;
}

static bm_status embed(bm_stream *stream, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t b = 0; b < stream->num_batches; b++) {
        BM_TRY(bm_stream_report(stream, 0, 0, err)); // no token has passed a block, but Ctrl-C is answered
        BM_TRY(embed_batch(stream, b, err));
    }
done:
    return status;
}

bm_status bm_stream_create(const bm_stream_params *params, bm_stream **out, bm_error *err)
{
    bm_status status = BM_OK;
    uint32_t max_positions = 0;
    bm_stream *stream = bm_alloc_zero(1, sizeof *stream);
    BM_FAIL_IF(!stream, err, BM_E_MEMORY, "out of memory");
    stream->params = *params;
    stream->hidden_dtype = params->dtype == BM_DTYPE_F64 ? BM_DTYPE_F64 : BM_DTYPE_F32;
    stream->start_ns = bm_clock_ns();
    BM_TRY(make_batches(stream, err));
    BM_TRY(upload_batches(stream, &max_positions, err));
    BM_TRY(bm_workspace_create(params->model, params->device, stream->max_tokens, max_positions, params->dtype,
                               &stream->workspace, err));
    if (stream->place != BM_KEPT_DEVICE)
        BM_TRY(bm_tensor_create(params->device, stream->hidden_dtype, stream->max_tokens,
                                params->model->config.hidden_size, "hidden", &stream->staged, err));
    BM_TRY(embed(stream, err));
    *out = stream;
    stream = NULL;
done:
    bm_stream_destroy(&stream);
    return status;
}

void bm_stream_destroy(bm_stream **stream)
{
    if (!stream || !*stream)
        return;
    bm_stream *s = *stream;
    for (uint32_t b = 0; s->batches && b < s->num_batches; b++) {
        bm_batch_destroy(&s->batches[b].batch);
        bm_tensor_destroy(&s->batches[b].hidden);
    }
    bm_kept_end(&s->kept);
    bm_workspace_destroy(&s->workspace);
    bm_tensor_destroy(&s->staged);
    bm_free(s->batches);
    bm_free(s);
    *stream = NULL;
}

bm_status bm_stream_acquire(bm_stream *stream, uint32_t batch, bm_tensor *hidden, bm_error *err)
{
    const bm_tensor place = place_of(stream, batch);
    *hidden = place;
    if (stream->place == BM_KEPT_FILE)
        return bm_kept_take(&stream->kept, batch, &place, hidden, err);
    return stream->place == BM_KEPT_HOST
               ? bm_tensor_copy(stream->params.device, &stream->batches[batch].hidden, hidden, err)
               : BM_OK;
}

bm_status bm_stream_release(bm_stream *stream, uint32_t batch, const bm_tensor *hidden, bool changed, bm_error *err)
{
    if (stream->place == BM_KEPT_FILE && changed)
        return bm_kept_put(&stream->kept, batch, hidden, err);
    return stream->place == BM_KEPT_HOST && changed
               ? bm_tensor_copy(stream->params.device, hidden, &stream->batches[batch].hidden, err)
               : BM_OK;
}

bm_status bm_stream_report(const bm_stream *stream, uint32_t block, uint64_t done_tokens, bm_error *err)
{
    const uint32_t num_blocks = stream->params.model->config.num_hidden_layers;
    const uint64_t total = stream->num_tokens * num_blocks, done = stream->num_tokens * block + done_tokens;
    const double seconds = (double)(bm_clock_ns() - stream->start_ns) * 1e-9;
    const double rate = seconds > 0 ? (double)done / seconds : 0; // tokens through one block a second
    const bm_progress_report report = {.phase = stream->params.phase,
                                       .done = done,
                                       .total = total,
                                       .unit = "tokens x blocks",
                                       .block = block,
                                       .num_blocks = num_blocks,
                                       .tokens_per_second = rate / num_blocks,
                                       .seconds_left = rate > 0 ? (double)(total - done) / rate : -1};
    return bm_progress_tell(stream->params.progress, &report, err);
}

// Every few batches the device is waited for, so that progress is true and Ctrl-C is answered.
static bm_status run_block(bm_stream *stream, const bm_block *block, bm_error *err)
{
    bm_device *device = stream->params.device;
    bm_status status = BM_OK;
    uint64_t done = 0;
    for (uint32_t b = 0; b < stream->num_batches; b++) {
        bm_tensor hidden;
        BM_TRY(bm_stream_acquire(stream, b, &hidden, err));
        BM_TRY(bm_block_forward(device, block, &stream->batches[b].batch, &stream->workspace, NULL, &hidden, err));
        BM_TRY(bm_stream_release(stream, b, &hidden, true, err));
        done += stream->batches[b].batch.num_tokens;
        if (b % 4 == 3 || b + 1 == stream->num_batches)
            BM_TRY(bm_device_wait(device, err));
        BM_TRY(bm_stream_report(stream, block->index, done, err));
    }
done:
    return status;
}

bm_status bm_stream_run(bm_stream *stream, bm_error *err)
{
    const bm_stream_params *p = &stream->params;
    bm_read_ahead *reader = NULL;
    bm_status status = bm_read_ahead_start(&reader, p->model->checkpoint, bm_process_memory_bytes() / READING_SHARE,
                                           bm_model_decodes_on(p->device), NULL, err);
    for (uint32_t index = 0; index < p->model->config.num_hidden_layers && status == BM_OK; index++) {
        bm_block block = {0};
        status = bm_block_load(p->model, p->device, index, p->dtype, &block, err);
        bm_read_ahead_drop(reader, index);
        bm_block_read_ahead(reader, p->model, index + 1);
        if (status == BM_OK)
            status = run_block(stream, &block, err);
        bm_block_destroy(&block);
    }
    bm_read_ahead_stop(&reader);
    bm_workspace_destroy(&stream->workspace);
    return status;
}
