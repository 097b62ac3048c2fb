// Evaluation: the stream brings all tokens through the blocks; the head then comes in slices of the vocabulary, each of
// which serves every batch before the next is loaded.
#include "infer/evaluate.h"

#include "base/clock.h"
#include "base/progress.h"
#include "model/block.h"
#include "ops/loss.h"
#include "ops/norm.h"
#include "infer/stream.h"
#include "infer/warm_up.h"

#include <math.h>

// Columns of one slice: logits of a batch stay below this many bytes.
#define LOGIT_BYTES (UINT64_C(64) << 20)

// One of the two models: its stream and, for each batch, its running softmax.
typedef struct side {
    const bm_model *model;
    bm_stream *stream;
    bm_tensor final_norm;
    bm_tensor normed; // [max_tokens, hidden_size]
    bm_tensor logits; // [max_tokens, slice] float32
    bm_weights *head; // the slice in work
    bm_loss **losses; // by batch
} side;

typedef struct evaluation {
    const bm_evaluate_params *params;
    bm_dtype dtype;
    bm_batch_sequence *segments; // what the model sees: packed examples apart
    uint32_t *segment_sequences; // by segment: its sequence
    const uint32_t **segment_targets;
    uint32_t num_segments;
    uint32_t slice; // columns
    side sides[2];  // model, reference
    uint32_t num_sides;
    bm_buffer **targets; // by batch
} evaluation;

static bm_status collect_segments(evaluation *e, bm_error *err)
{
    const bm_dataset *dataset = e->params->dataset;
    uint32_t count = 0;
    for (uint32_t s = 0; s < bm_dataset_count(dataset); s++)
        count += bm_dataset_sequence(dataset, s)->num_segments;
    e->segments = bm_alloc_zero(count, sizeof *e->segments);
    e->segment_sequences = bm_alloc_zero(count, sizeof *e->segment_sequences);
    e->segment_targets = bm_alloc_zero(count, sizeof *e->segment_targets);
    if (!e->segments || !e->segment_sequences || !e->segment_targets)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint32_t s = 0; s < bm_dataset_count(dataset); s++) {
        const bm_sequence *sequence = bm_dataset_sequence(dataset, s);
        for (uint32_t k = 0; k < sequence->num_segments; k++) {
            const uint32_t first = sequence->starts[k];
            e->segments[e->num_segments] = (bm_batch_sequence){sequence->ids + first, sequence->starts[k + 1] - first};
            e->segment_targets[e->num_segments] = sequence->targets + first;
            e->segment_sequences[e->num_segments++] = s;
        }
    }
    return BM_OK;
}

static bm_status run_side(evaluation *e, side *s, const char *phase, bm_error *err)
{
    const bm_evaluate_params *p = e->params;
    // Half of the device's memory is for the residual streams of both models together.
    const uint64_t budget = bm_device_get_info(p->device)->limits.memory_bytes / 2 / e->num_sides;
    const bm_stream_params params = {.model = s->model,
                                     .device = p->device,
                                     .dtype = e->dtype,
                                     .sequences = e->segments,
                                     .num_sequences = e->num_segments,
                                     .max_batch_tokens = p->max_batch_tokens,
                                     .hidden_budget = budget,
                                     .progress = p->progress,
                                     .phase = phase};
    bm_status status = BM_OK;
    BM_TRY(bm_stream_create(&params, &s->stream, err));
    BM_TRY(bm_stream_run(s->stream, err));
done:
    return status;
}

static bm_status prepare_head(evaluation *e, side *s, bm_error *err)
{
    const bm_hf_config *c = &s->model->config;
    bm_device *device = e->params->device;
    const uint32_t tokens = s->stream->max_tokens;
    bm_status status = BM_OK;
    BM_TRY(bm_model_load_vector(s->model, device, BM_TENSOR_FINAL_NORM, c->hidden_size, e->dtype, &s->final_norm, err));
    BM_TRY(bm_tensor_create(device, e->dtype, tokens, c->hidden_size, "normed", &s->normed, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, tokens, e->slice, "logits", &s->logits, err));
    s->losses = bm_alloc_zero(s->stream->num_batches, sizeof(bm_loss *));
    BM_FAIL_IF(!s->losses, err, BM_E_MEMORY, "out of memory");
    for (uint32_t b = 0; b < s->stream->num_batches; b++) {
        BM_TRY(bm_loss_create(device, s->stream->batches[b].batch.num_tokens, &s->losses[b], err));
        BM_TRY(bm_loss_begin(device, s->losses[b], s->stream->batches[b].batch.num_tokens, err));
    }
done:
    return status;
}

static bm_status upload_targets(evaluation *e, bm_error *err)
{
    const bm_stream *stream = e->sides[0].stream;
    bm_status status = BM_OK;
    uint32_t *words = bm_alloc(stream->max_tokens, sizeof *words);
    e->targets = bm_alloc_zero(stream->num_batches, sizeof(bm_buffer *));
    BM_FAIL_IF(!words || !e->targets, err, BM_E_MEMORY, "out of memory");
    for (uint32_t b = 0; b < stream->num_batches; b++) {
        const bm_stream_batch *batch = &stream->batches[b];
        uint32_t n = 0;
        for (uint32_t s = batch->first_sequence; s < batch->first_sequence + batch->num_sequences; s++)
            for (uint32_t i = 0; i < e->segments[s].count; i++)
                words[n++] = e->segment_targets[s][i];
        BM_TRY(bm_buffer_create(e->params->device, (uint64_t)n * 4, "targets", &e->targets[b], err));
        BM_TRY(bm_upload(e->params->device, bm_view_part(bm_buffer_view(e->targets[b]), 0, (uint64_t)n * 4), words,
                         (uint64_t)n * 4, err));
    }
done:
    bm_free(words);
    return status;
}

// Logits of one batch for the slice whose head is loaded.
static bm_status batch_logits(evaluation *e, side *s, uint32_t b, uint64_t columns, bm_tensor *logits, bm_error *err)
{
    bm_device *device = e->params->device;
    bm_status status = BM_OK;
    bm_tensor hidden;
    BM_TRY(bm_stream_acquire(s->stream, b, &hidden, err));
    const bm_tensor normed = bm_tensor_reshape(&s->normed, hidden.rows, hidden.cols);
    *logits = bm_tensor_reshape(&s->logits, hidden.rows, columns);
    BM_TRY(bm_rmsnorm(device, &hidden, &s->final_norm, s->model->config.rms_norm_eps, &normed, err));
    BM_TRY(bm_gemm(device, &normed, s->head, NULL, logits, err));
    BM_TRY(bm_stream_release(s->stream, b, &hidden, false, err));
done:
    return status;
}

static bm_status report(const evaluation *e, const char *phase, uint64_t done, uint64_t total, bm_error *err)
{
    const bm_progress_report r = {
        .phase = phase, .done = done, .total = total, .unit = "columns of the vocabulary", .seconds_left = -1};
    return bm_progress_tell(e->params->progress, &r, err);
}

// One pass over the vocabulary. Pass 0 gathers softmaxes, pass 1 (with a reference) divergences.
static bm_status run_slices(evaluation *e, uint32_t pass, bm_error *err)
{
    bm_device *device = e->params->device;
    const uint32_t vocabulary = e->params->model->config.vocab_size, num_batches = e->sides[0].stream->num_batches;
    bm_status status = BM_OK;
    for (uint32_t first = 0; first < vocabulary; first += e->slice) {
        const uint64_t columns = bm_min_u64(e->slice, vocabulary - first);
        for (uint32_t i = 0; i < e->num_sides; i++) {
            bm_weights_destroy(&e->sides[i].head);
            BM_TRY(
                bm_model_load_head_rows(e->sides[i].model, device, first, columns, e->dtype, &e->sides[i].head, err));
        }
        for (uint32_t b = 0; b < num_batches; b++) {
            bm_tensor logits[2];
            const bm_view targets = bm_buffer_view(e->targets[b]);
            for (uint32_t i = 0; i < e->num_sides; i++) {
                BM_TRY(batch_logits(e, &e->sides[i], b, columns, &logits[i], err));
                if (pass == 0)
                    BM_TRY(bm_loss_add(device, e->sides[i].losses[b], &logits[i], targets, first, err));
            }
            if (pass == 1)
                BM_TRY(bm_loss_add_divergence(device, e->sides[1].losses[b], e->sides[0].losses[b], &logits[1],
                                              &logits[0], err));
            if (b % 8 == 7)
                BM_TRY(bm_device_wait(device, err));
        }
        BM_TRY(bm_device_wait(device, err));
        BM_TRY(report(e, pass == 0 ? "score" : "compare", first + columns, vocabulary, err));
    }
done:
    return status;
}

// Sums over tokens in double, in the order of tokens; means over sequences beside them.
typedef struct sums {
    double loss, reference_loss, divergence;
    uint64_t tokens, correct, agree;
    double *sequence_loss;
    uint64_t *sequence_tokens;
} sums;

static bm_status add_batch(evaluation *e, uint32_t b, float *losses[2], uint32_t *best[2], float *divergences,
                           sums *out, bm_error *err)
{
    const bm_stream_batch *batch = &e->sides[0].stream->batches[b];
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < e->num_sides; i++) {
        const bm_loss_result result = {losses[i], best[i], i == 0 && e->num_sides == 2 ? divergences : NULL};
        BM_TRY(bm_loss_finish(e->params->device, e->sides[i].losses[b], bm_buffer_view(e->targets[b]), &result, err));
    }
    uint32_t t = 0;
    for (uint32_t s = batch->first_sequence; s < batch->first_sequence + batch->num_sequences; s++)
        for (uint32_t i = 0; i < e->segments[s].count; i++, t++) {
            const uint32_t target = e->segment_targets[s][i];
            if (target == BM_NO_TARGET)
                continue;
            out->tokens++;
            out->loss += (double)losses[0][t];
            out->correct += best[0][t] == target;
            out->sequence_loss[e->segment_sequences[s]] += (double)losses[0][t];
            out->sequence_tokens[e->segment_sequences[s]]++;
            if (e->num_sides == 2) {
                out->reference_loss += (double)losses[1][t];
                out->divergence += (double)divergences[t];
                out->agree += best[0][t] == best[1][t];
            }
        }
done:
    return status;
}

static void finish(const evaluation *e, const sums *s, bm_evaluation *out)
{
    const double n = (double)s->tokens;
    uint64_t scored_sequences = 0;
    double mean = 0;
    for (uint32_t i = 0; i < bm_dataset_count(e->params->dataset); i++)
        if (s->sequence_tokens[i] > 0) {
            mean += s->sequence_loss[i] / (double)s->sequence_tokens[i];
            scored_sequences++;
        }
    *out = (bm_evaluation){.tokens = s->tokens,
                           .sequences = scored_sequences,
                           .loss = s->loss / n,
                           .perplexity = exp(s->loss / n),
                           .accuracy = (double)s->correct / n,
                           .sequence_loss = mean / (double)scored_sequences};
    if (e->num_sides == 2) {
        out->has_reference = true;
        out->reference_loss = s->reference_loss / n;
        out->kl_divergence = s->divergence / n;
        out->top1_agreement = (double)s->agree / n;
    }
}

static bm_status sum_up(evaluation *e, bm_evaluation *out, bm_error *err)
{
    const uint32_t tokens = e->sides[0].stream->max_tokens, sequences = bm_dataset_count(e->params->dataset);
    bm_status status = BM_OK;
    sums s = {.sequence_loss = bm_alloc_zero(sequences, sizeof(double)),
              .sequence_tokens = bm_alloc_zero(sequences, sizeof(uint64_t))};
    float *losses[2] = {bm_alloc(tokens, sizeof(float)), bm_alloc(tokens, sizeof(float))};
    uint32_t *best[2] = {bm_alloc(tokens, sizeof(uint32_t)), bm_alloc(tokens, sizeof(uint32_t))};
    float *divergences = bm_alloc(tokens, sizeof(float));
    BM_FAIL_IF(!s.sequence_loss || !s.sequence_tokens || !losses[0] || !losses[1] || !best[0] || !best[1] ||
                   !divergences,
               err, BM_E_MEMORY, "out of memory");
    for (uint32_t b = 0; b < e->sides[0].stream->num_batches; b++)
        BM_TRY(add_batch(e, b, losses, best, divergences, &s, err));
    BM_FAIL_IF(s.tokens == 0, err, BM_E_ARGUMENT, "%s: no token of it is scored",
               bm_dataset_source(e->params->dataset));
    finish(e, &s, out);
done:
    bm_free(s.sequence_loss);
    bm_free(s.sequence_tokens);
    for (int i = 0; i < 2; i++) {
        bm_free(losses[i]);
        bm_free(best[i]);
    }
    bm_free(divergences);
    return status;
}

static void free_evaluation(evaluation *e)
{
    const uint32_t num_batches = e->sides[0].stream ? e->sides[0].stream->num_batches : 0;
    for (uint32_t i = 0; i < 2; i++) {
        side *s = &e->sides[i];
        for (uint32_t b = 0; s->losses && b < num_batches; b++)
            bm_loss_destroy(&s->losses[b]);
        bm_free(s->losses);
        bm_weights_destroy(&s->head);
        bm_tensor_destroy(&s->final_norm);
        bm_tensor_destroy(&s->normed);
        bm_tensor_destroy(&s->logits);
    }
    for (uint32_t b = 0; e->targets && b < num_batches; b++)
        bm_buffer_destroy(&e->targets[b]);
    for (uint32_t i = 0; i < 2; i++)
        bm_stream_destroy(&e->sides[i].stream);
    bm_free(e->targets);
    bm_free(e->segments);
    bm_free(e->segment_sequences);
    bm_free(e->segment_targets);
}

static bm_status check_params(const bm_evaluate_params *p, bm_error *err)
{
    const uint32_t vocabulary = p->model->config.vocab_size;
    bm_status status = bm_block_check_runnable(p->model, err);
    if (status == BM_OK && p->reference)
        status = bm_block_check_runnable(p->reference, err);
    if (status != BM_OK)
        return status;
    if (p->reference && p->reference->config.vocab_size != vocabulary)
        return bm_fail(err, BM_E_ARGUMENT, "%s: a vocabulary of %u, expected %u as in %s", p->reference->folder,
                       p->reference->config.vocab_size, vocabulary, p->model->folder);
    for (uint32_t s = 0; s < bm_dataset_count(p->dataset); s++) {
        const bm_sequence *sequence = bm_dataset_sequence(p->dataset, s);
        for (uint32_t i = 0; i < sequence->count; i++) {
            const uint32_t target = sequence->targets[i] == BM_NO_TARGET ? 0 : sequence->targets[i];
            const uint32_t largest = sequence->ids[i] > target ? sequence->ids[i] : target;
            if (largest >= vocabulary)
                return bm_fail(
                    err, BM_E_ARGUMENT,
                    "%s: token id %u, the model's vocabulary has %u; does the tokenizer belong to the model?",
                    bm_dataset_source(p->dataset), largest, vocabulary);
        }
    }
    return BM_OK;
}

bm_status bm_evaluate(const bm_evaluate_params *params, bm_evaluation *out, bm_error *err)
{
    const uint64_t start = bm_clock_ns();
    bm_status status = BM_OK;
    evaluation e = {.params = params, .num_sides = params->reference ? 2 : 1};
    BM_TRY(check_params(params, err));
    BM_TRY(bm_device_discard_reports(params->device, err));
    e.dtype = params->dtype != BM_DTYPE_NONE ? params->dtype : bm_model_compute_dtype(params->model, params->device);
    e.sides[0].model = params->model;
    e.sides[1].model = params->reference;
    BM_TRY(collect_segments(&e, err));
    BM_TRY(bm_warm_up_evaluation(params->model, params->device, e.dtype, params->progress, err));
    BM_TRY(run_side(&e, &e.sides[0], "evaluate", err));
    if (params->reference)
        BM_TRY(run_side(&e, &e.sides[1], "evaluate the reference", err));
    const uint64_t columns = LOGIT_BYTES / 4 / e.sides[0].stream->max_tokens / 64 * 64;
    e.slice = (uint32_t)bm_min_u64(bm_max_u64(columns, 64), params->model->config.vocab_size);
    for (uint32_t i = 0; i < e.num_sides; i++)
        BM_TRY(prepare_head(&e, &e.sides[i], err));
    BM_TRY(upload_targets(&e, err));
    BM_TRY(run_slices(&e, 0, err));
    if (params->reference)
        BM_TRY(run_slices(&e, 1, err));
    BM_TRY(sum_up(&e, out, err));
    out->seconds = (double)(bm_clock_ns() - start) * 1e-9;
done:
    free_evaluation(&e);
    return status;
}
