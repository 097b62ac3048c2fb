// One window of an evaluation.
#include "infer/evaluate_window.h"

#include "base/clock.h"
#include "base/progress.h"
#include "infer/stream.h"
#include "ops/loss.h"

#include <stdio.h>

// A token in a batch (batch.h), and in the running softmax of a model (loss.h).
enum { BATCH_TOKEN_BYTES = 5 * 4, LOSS_TOKEN_BYTES = 9 * 4 };

// One of the two models: its stream and, for each batch, its running softmax.
typedef struct side {
    const bm_model *model;
    bm_stream *stream;
    bm_norm final_norm;
    bm_tensor normed; // [max_tokens, hidden_size]
    bm_tensor logits; // [max_tokens, slice] float32
    bm_weights *head; // the slice in work
    bm_loss **losses; // by batch
} side;

typedef struct window_state {
    const bm_evaluate_window *params;
    side sides[2]; // model, reference
    uint32_t num_sides;
    bm_buffer **targets; // by batch
    char phase[64];
} window_state;

// The name of a phase; where there are several windows it says which.
static const char *name_phase(window_state *w, const char *name)
{
    if (w->params->num_windows == 1)
        return name;
    snprintf(w->phase, sizeof w->phase, "%s, window %u of %u", name, w->params->index + 1, w->params->num_windows);
    return w->phase;
}

static bm_status run_side(window_state *w, side *s, const char *phase, bm_error *err)
{
    const bm_evaluate_window *p = w->params;
    const uint64_t width =
        (uint64_t)p->models[0]->config.hidden_size + (p->models[1] ? p->models[1]->config.hidden_size : 0);
    // Half of the device's memory is for the residual streams of both models together.
    const uint64_t budget =
        bm_device_get_info(p->device)->limits.memory_bytes / 2 / width * s->model->config.hidden_size;
    const bm_stream_params params = {.model = s->model,
                                     .device = p->device,
                                     .dtype = p->dtype,
                                     .sequences = p->sequences,
                                     .num_sequences = p->num_sequences,
                                     .max_batch_tokens = p->max_batch_tokens,
                                     .hidden_budget = budget,
                                     .progress = p->progress,
                                     .phase = name_phase(w, phase)};
    bm_status status = BM_OK;
    BM_TRY(bm_stream_create(&params, &s->stream, err));
    BM_TRY(bm_stream_run(s->stream, err));
done:
    return status;
}

static bm_status begin_losses(window_state *w, side *s, bm_error *err)
{
    bm_device *device = w->params->device;
    bm_status status = BM_OK;
    BM_TRY(bm_norm_load(s->model, device, s->model->family->layout->final_norm, s->model->config.hidden_size,
                        w->params->dtype, &s->final_norm, err));
    s->losses = bm_alloc_zero(s->stream->num_batches, sizeof(bm_loss *));
    BM_FAIL_IF(!s->losses, err, BM_E_MEMORY, "out of memory");
    for (uint32_t b = 0; b < s->stream->num_batches; b++) {
        BM_TRY(bm_loss_create(device, s->stream->batches[b].batch.num_tokens, &s->losses[b], err));
        BM_TRY(bm_loss_begin(device, s->losses[b], s->stream->batches[b].batch.num_tokens, err));
    }
done:
    return status;
}

// What a pass over the vocabulary needs, and blocks do not.
static bm_status create_head(window_state *w, side *s, bm_error *err)
{
    const uint32_t tokens = s->stream->max_tokens;
    bm_status status = bm_tensor_create(w->params->device, w->params->dtype, tokens, s->model->config.hidden_size,
                                        "normed", &s->normed, err);
    if (status == BM_OK)
        status = bm_tensor_create(w->params->device, BM_DTYPE_F32, tokens, w->params->slice, "logits", &s->logits, err);
    return status;
}

static void destroy_head(side *s)
{
    bm_weights_destroy(&s->head);
    bm_tensor_destroy(&s->normed);
    bm_tensor_destroy(&s->logits);
}

static bm_status upload_targets(window_state *w, bm_error *err)
{
    const bm_stream *stream = w->sides[0].stream;
    bm_status status = BM_OK;
    uint32_t *words = bm_alloc(stream->max_tokens, sizeof *words);
    w->targets = bm_alloc_zero(stream->num_batches, sizeof(bm_buffer *));
    BM_FAIL_IF(!words || !w->targets, err, BM_E_MEMORY, "out of memory");
    for (uint32_t b = 0; b < stream->num_batches; b++) {
        const bm_stream_batch *batch = &stream->batches[b];
        uint32_t n = 0;
        for (uint32_t s = batch->first_sequence; s < batch->first_sequence + batch->num_sequences; s++)
            for (uint32_t i = 0; i < w->params->sequences[s].count; i++)
                words[n++] = w->params->targets[s][i];
        BM_TRY(bm_buffer_create(w->params->device, (uint64_t)n * 4, "targets", &w->targets[b], err));
        BM_TRY(bm_upload(w->params->device, bm_view_part(bm_buffer_view(w->targets[b]), 0, (uint64_t)n * 4), words,
                         (uint64_t)n * 4, err));
    }
done:
    bm_free(words);
    return status;
}

// Logits of one batch for the slice whose head is loaded.
static bm_status batch_logits(window_state *w, side *s, uint32_t b, uint64_t columns, bm_tensor *logits, bm_error *err)
{
    bm_device *device = w->params->device;
    bm_status status = BM_OK;
    bm_tensor hidden;
    BM_TRY(bm_stream_acquire(s->stream, b, &hidden, err));
    const bm_tensor normed = bm_tensor_reshape(&s->normed, hidden.rows, hidden.cols);
    *logits = bm_tensor_reshape(&s->logits, hidden.rows, columns);
    BM_TRY(bm_norm_apply(device, &s->final_norm, &hidden, &normed, err));
    BM_TRY(bm_gemm(device, &normed, s->head, NULL, logits, err));
    BM_TRY(bm_model_cap_logits(s->model, device, logits, err));
    BM_TRY(bm_stream_release(s->stream, b, &hidden, false, err));
done:
    return status;
}

static bm_status report(const window_state *w, const char *phase, uint64_t done, uint64_t total, bm_error *err)
{
    const bm_progress_report r = {
        .phase = phase, .done = done, .total = total, .unit = "columns of the vocabulary", .seconds_left = -1};
    return bm_progress_tell(w->params->progress, &r, err);
}

// Loads a slice of a side's head.
static bm_status load_head(window_state *w, side *s, uint32_t first, uint64_t columns, bm_error *err)
{
    bm_weights_destroy(&s->head);
    return bm_model_load_head_rows(s->model, w->params->device, first, columns, w->params->dtype, &s->head, err);
}

// A pass over the vocabulary that gathers the softmaxes of one side.
static bm_status score(window_state *w, side *s, const char *phase, bm_error *err)
{
    bm_device *device = w->params->device;
    const uint32_t vocabulary = s->model->config.vocab_size, num_batches = s->stream->num_batches;
    bm_status status = BM_OK;
    BM_TRY(create_head(w, s, err));
    for (uint32_t first = 0; first < vocabulary; first += w->params->slice) {
        const uint64_t columns = bm_min_u64(w->params->slice, vocabulary - first);
        BM_TRY(load_head(w, s, first, columns, err));
        for (uint32_t b = 0; b < num_batches; b++) {
            bm_tensor logits;
            BM_TRY(batch_logits(w, s, b, columns, &logits, err));
            BM_TRY(bm_loss_add(device, s->losses[b], &logits, bm_buffer_view(w->targets[b]), first, err));
            if (b % 8 == 7)
                BM_TRY(bm_device_wait(device, err));
        }
        BM_TRY(bm_device_wait(device, err));
        BM_TRY(report(w, phase, first + columns, vocabulary, err));
    }
done:
    destroy_head(s);
    return status;
}

// A second pass, for the divergences of the two.
static bm_status compare(window_state *w, bm_error *err)
{
    const char *phase = name_phase(w, "compare");
    bm_device *device = w->params->device;
    side *model = &w->sides[0], *reference = &w->sides[1];
    const uint32_t vocabulary = model->model->config.vocab_size, num_batches = model->stream->num_batches;
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < 2; i++)
        BM_TRY(create_head(w, &w->sides[i], err));
    for (uint32_t first = 0; first < vocabulary; first += w->params->slice) {
        const uint64_t columns = bm_min_u64(w->params->slice, vocabulary - first);
        BM_TRY(load_head(w, model, first, columns, err));
        BM_TRY(load_head(w, reference, first, columns, err));
        for (uint32_t b = 0; b < num_batches; b++) {
            bm_tensor logits[2];
            BM_TRY(batch_logits(w, model, b, columns, &logits[0], err));
            BM_TRY(batch_logits(w, reference, b, columns, &logits[1], err));
            BM_TRY(bm_loss_add_divergence(device, reference->losses[b], model->losses[b], &logits[1], &logits[0], err));
            if (b % 8 == 7)
                BM_TRY(bm_device_wait(device, err));
        }
        BM_TRY(bm_device_wait(device, err));
        BM_TRY(report(w, phase, first + columns, vocabulary, err));
    }
done:
    return status;
}

static bm_status hand_over(window_state *w, bm_error *err)
{
    const bm_stream *stream = w->sides[0].stream;
    const uint32_t tokens = stream->max_tokens;
    bm_status status = BM_OK;
    float *losses[2] = {bm_alloc(tokens, sizeof(float)), bm_alloc(tokens, sizeof(float))};
    uint32_t *best[2] = {bm_alloc(tokens, sizeof(uint32_t)), bm_alloc(tokens, sizeof(uint32_t))};
    float *divergences = bm_alloc(tokens, sizeof(float));
    BM_FAIL_IF(!losses[0] || !losses[1] || !best[0] || !best[1] || !divergences, err, BM_E_MEMORY, "out of memory");
    for (uint32_t b = 0; b < stream->num_batches; b++) {
        bm_batch_losses out = {.divergences = w->num_sides == 2 ? divergences : NULL};
        for (uint32_t i = 0; i < 2 && w->params->models[i]; i++) {
            const bm_loss_result result = {losses[i], best[i], i == 0 && w->num_sides == 2 ? divergences : NULL};
            BM_TRY(
                bm_loss_finish(w->params->device, w->sides[i].losses[b], bm_buffer_view(w->targets[b]), &result, err));
            out.losses[i] = losses[i];
            out.best[i] = best[i];
        }
        w->params->add(w->params->user, stream->batches[b].first_sequence, stream->batches[b].num_sequences, &out);
    }
done:
    for (int i = 0; i < 2; i++) {
        bm_free(losses[i]);
        bm_free(best[i]);
    }
    bm_free(divergences);
    return status;
}

static void free_state(window_state *w)
{
    const uint32_t num_batches = w->sides[0].stream ? w->sides[0].stream->num_batches : 0;
    for (uint32_t i = 0; i < 2; i++) {
        side *s = &w->sides[i];
        for (uint32_t b = 0; s->losses && b < num_batches; b++)
            bm_loss_destroy(&s->losses[b]);
        bm_free(s->losses);
        bm_norm_destroy(&s->final_norm);
        destroy_head(s);
    }
    for (uint32_t b = 0; w->targets && b < num_batches; b++)
        bm_buffer_destroy(&w->targets[b]);
    for (uint32_t i = 0; i < 2; i++)
        bm_stream_destroy(&w->sides[i].stream);
    bm_free(w->targets);
}

// Blocks, then the head, of one side: what the model costs by itself.
static bm_status run_alone(window_state *w, uint32_t index, bm_error *err)
{
    static const char *const blocks[] = {"evaluate", "evaluate the reference"};
    static const char *const heads[] = {"score", "score the reference"};
    side *s = &w->sides[index];
    bm_status status = BM_OK;
    s->model = w->params->models[index];
    BM_TRY(run_side(w, s, blocks[index], err));
    BM_TRY(begin_losses(w, s, err));
    if (index == 0) // which has the targets of both
        BM_TRY(upload_targets(w, err));
    BM_TRY(score(w, s, name_phase(w, heads[index]), err));
done:
    return status;
}

bm_status bm_evaluate_window_run(const bm_evaluate_window *window, uint64_t *model_ns, bm_error *err)
{
    const uint64_t start = bm_clock_ns();
    bm_status status = BM_OK;
    window_state w = {.params = window, .num_sides = window->models[1] ? 2 : 1};
    BM_TRY(run_alone(&w, 0, err));
    *model_ns += bm_clock_ns() - start;
    if (w.num_sides == 2) {
        BM_TRY(run_alone(&w, 1, err));
        BM_TRY(compare(&w, err));
    }
    BM_TRY(hand_over(&w, err));
done:
    free_state(&w);
    return status;
}

uint64_t bm_evaluate_window_token_bytes(const bm_model *const models[2], bm_dtype dtype)
{
    const uint64_t hidden_bytes = dtype == BM_DTYPE_F64 ? 8 : 4;
    uint64_t bytes = bm_evaluate_window_table_bytes(models);
    for (uint32_t i = 0; i < 2 && models[i]; i++)
        bytes += models[i]->config.hidden_size * hidden_bytes;
    return bytes;
}

uint64_t bm_evaluate_window_table_bytes(const bm_model *const models[2])
{
    return 4 + (models[1] ? 2 : 1) * (BATCH_TOKEN_BYTES + LOSS_TOKEN_BYTES); // 4: its target
}
