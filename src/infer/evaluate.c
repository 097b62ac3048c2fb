// Evaluation: the plan of its windows, and its sums.
//
// What a token comes to depends on its batch alone: batches and slices of the vocabulary are cut once, for all windows and
// both models, and a window takes whole batches. Sums go over all tokens in their order. So the window changes no bit.
#include "infer/evaluate.h"

#include "base/clock.h"
#include "base/process.h"
#include "base/str.h"
#include "infer/evaluate_window.h"
#include "infer/stream.h"
#include "infer/warm_up.h"
#include "model/block.h"
#include "ops/loss.h"

#include <math.h>

_Static_assert(BM_NO_TARGET == BM_LOSS_UNSCORED, "targets of a dataset go to the loss as they are");

// Columns of one slice: logits of a batch stay below this many bytes.
#define LOGIT_BYTES (UINT64_C(64) << 20)

// Bounds of a window. Loading the weights of a large model for every 100,000 tokens costs less than a tenth of the time
// that these tokens take on a CPU or a small GPU; more memory than this buys little.
#define WINDOW_BYTES (UINT64_C(2) << 30)
#define WINDOW_TOKENS (UINT64_C(1) << 20)
#define MEMORY_SHARE 16 // of the device's memory, for what tokens of a window have beside activations

// Sums over tokens in double, in the order of tokens; means over sequences beside them.
typedef struct sums {
    double loss, reference_loss, divergence;
    uint64_t tokens, correct, agree;
    double *sequence_loss;
    uint64_t *sequence_tokens;
} sums;

typedef struct evaluation {
    const bm_evaluate_params *params;
    const bm_model *models[2]; // model, reference
    uint32_t num_models;
    bm_dtype dtype;
    bm_batch_sequence *segments; // what the models see: packed examples apart
    uint32_t *segment_sequences; // by segment: its sequence
    const uint32_t **segment_targets;
    uint32_t num_segments;
    uint32_t max_batch_tokens; // the limit of every batch
    uint32_t largest_batch;    // tokens
    uint64_t window_tokens;    // the limit of a window
    uint32_t num_windows;
    uint32_t first_segment; // of the window in work
    uint64_t model_ns;      // of all windows, without the reference
    sums sums;
} evaluation;

static bm_status collect_segments(evaluation *e, bm_error *err)
{
    const bm_dataset *dataset = e->params->dataset;
    const uint32_t num_sequences = bm_dataset_count(dataset);
    uint32_t count = 0;
    for (uint32_t s = 0; s < num_sequences; s++)
        count += bm_dataset_sequence(dataset, s)->num_segments;
    e->segments = bm_alloc_zero(count, sizeof *e->segments);
    e->segment_sequences = bm_alloc_zero(count, sizeof *e->segment_sequences);
    e->segment_targets = bm_alloc_zero(count, sizeof *e->segment_targets);
    e->sums.sequence_loss = bm_alloc_zero(num_sequences, sizeof(double));
    e->sums.sequence_tokens = bm_alloc_zero(num_sequences, sizeof(uint64_t));
    if (!e->segments || !e->segment_sequences || !e->segment_targets || !e->sums.sequence_loss ||
        !e->sums.sequence_tokens)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint32_t s = 0; s < num_sequences; s++) {
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

// One cut into batches for both models: the smaller of their limits.
static void plan_batches(evaluation *e)
{
    const bm_evaluate_params *p = e->params;
    uint64_t limit = UINT32_MAX;
    uint32_t tokens = 0;
    for (uint32_t i = 0; i < e->num_models; i++)
        limit = bm_min_u64(limit, bm_stream_batch_tokens(e->models[i], p->device, e->dtype, e->segments,
                                                         e->num_segments, p->max_batch_tokens));
    e->max_batch_tokens = (uint32_t)limit;
    for (uint32_t first = 0; first < e->num_segments;) {
        first +=
            bm_stream_first_batch(p->model, e->segments + first, e->num_segments - first, e->max_batch_tokens, &tokens);
        e->largest_batch = tokens > e->largest_batch ? tokens : e->largest_batch;
    }
}

// Segments of the window that begins at first: whole batches up to the limit, at least one.
static uint32_t window_segments(const evaluation *e, uint32_t first, uint64_t *num_tokens)
{
    uint32_t count = 0, batch_tokens = 0;
    *num_tokens = 0;
    while (first + count < e->num_segments) {
        const uint32_t start = first + count;
        const uint32_t segments = bm_stream_first_batch(e->params->model, e->segments + start, e->num_segments - start,
                                                        e->max_batch_tokens, &batch_tokens);
        if (count > 0 && *num_tokens + batch_tokens > e->window_tokens)
            break;
        count += segments;
        *num_tokens += batch_tokens;
    }
    return count;
}

// 2 GiB, or a quarter of the physical memory if that is less; on a GPU with memory of its own half of that memory, where
// it is more.
static uint64_t choose_window_bytes(const bm_device *device)
{
    const bm_device_info *info = bm_device_get_info(device);
    const uint64_t physical = bm_process_memory_bytes();
    const uint64_t bytes = physical ? bm_min_u64(WINDOW_BYTES, physical / 4) : WINDOW_BYTES;
    return info->kind == BM_DEVICE_DISCRETE_GPU ? bm_max_u64(bytes, info->limits.memory_bytes / 2) : bytes;
}

// Says how many windows there will be.
static void plan_windows(evaluation *e)
{
    const bm_evaluate_params *p = e->params;
    const bm_log *log = bm_device_log(p->device);
    const uint64_t token_bytes = bm_evaluate_window_token_bytes(e->models, e->dtype);
    const uint64_t bytes = p->window_bytes ? p->window_bytes : choose_window_bytes(p->device);
    uint64_t tokens = 0, largest = 0;
    e->window_tokens = bm_min_u64(bm_min_u64(bytes / token_bytes, WINDOW_TOKENS),
                                  bm_device_get_info(p->device)->limits.memory_bytes / MEMORY_SHARE /
                                      bm_evaluate_window_table_bytes(e->models));
    for (uint32_t first = 0; first < e->num_segments; e->num_windows++) {
        uint64_t window_tokens = 0;
        first += window_segments(e, first, &window_tokens);
        tokens += window_tokens;
        largest = bm_max_u64(largest, window_tokens);
    }
    const double megabytes = (double)(largest * token_bytes) / 1e6;
    if (e->num_windows == 1)
        bm_log_write(log, BM_LOG_INFO, "evaluate: %llu token%s in %u sequence%s, %.1f MB of activations",
                     (unsigned long long)tokens, bm_plural(tokens), bm_dataset_count(p->dataset),
                     bm_plural(bm_dataset_count(p->dataset)), megabytes);
    else
        bm_log_write(log, BM_LOG_INFO,
                     "evaluate: %llu tokens in %u sequences; %u windows of at most %llu tokens, %.1f MB of activations "
                     "each, and the weights are loaded once a window",
                     (unsigned long long)tokens, bm_dataset_count(p->dataset), e->num_windows,
                     (unsigned long long)largest, megabytes);
}

static void add_batch(void *user, uint32_t first_sequence, uint32_t num_sequences, const bm_batch_losses *batch)
{
    evaluation *e = user;
    sums *out = &e->sums;
    const uint32_t first = e->first_segment + first_sequence;
    uint32_t t = 0;
    for (uint32_t s = first; s < first + num_sequences; s++)
        for (uint32_t i = 0; i < e->segments[s].count; i++, t++) {
            const uint32_t target = e->segment_targets[s][i];
            if (target == BM_NO_TARGET)
                continue;
            out->tokens++;
            out->loss += (double)batch->losses[0][t];
            out->correct += batch->best[0][t] == target;
            out->sequence_loss[e->segment_sequences[s]] += (double)batch->losses[0][t];
            out->sequence_tokens[e->segment_sequences[s]]++;
            if (e->num_models == 2) {
                out->reference_loss += (double)batch->losses[1][t];
                out->divergence += (double)batch->divergences[t];
                out->agree += batch->best[0][t] == batch->best[1][t];
            }
        }
}

// Columns of the vocabulary at once.
static uint32_t slice_of(const bm_model *model, uint32_t batch_tokens)
{
    return (uint32_t)bm_min_u64(bm_max_u64(64, LOGIT_BYTES / 4 / batch_tokens / 64 * 64), model->config.vocab_size);
}

static bm_status run_windows(evaluation *e, bm_error *err)
{
    const bm_evaluate_params *p = e->params;
    bm_evaluate_window window = {.models = {e->models[0], e->models[1]},
                                 .device = p->device,
                                 .dtype = e->dtype,
                                 .max_batch_tokens = e->max_batch_tokens,
                                 .slice = slice_of(p->model, e->largest_batch),
                                 .num_windows = e->num_windows,
                                 .progress = p->progress,
                                 .add = add_batch,
                                 .user = e};
    bm_status status = BM_OK;
    for (; status == BM_OK && window.index < e->num_windows; window.index++) {
        uint64_t num_tokens;
        window.sequences = e->segments + e->first_segment;
        window.targets = e->segment_targets + e->first_segment;
        window.num_sequences = window_segments(e, e->first_segment, &num_tokens);
        status = bm_evaluate_window_run(&window, &e->model_ns, err);
        e->first_segment += window.num_sequences;
    }
    return status;
}

static void finish(const evaluation *e, bm_evaluation *out)
{
    const sums *s = &e->sums;
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
    if (e->num_models == 2) {
        out->has_reference = true;
        out->reference_loss = s->reference_loss / n;
        out->kl_divergence = s->divergence / n;
        out->top1_agreement = (double)s->agree / n;
    }
}

static void free_evaluation(evaluation *e)
{
    bm_free(e->segments);
    bm_free(e->segment_sequences);
    bm_free(e->segment_targets);
    bm_free(e->sums.sequence_loss);
    bm_free(e->sums.sequence_tokens);
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
    return bm_dataset_check_ids(p->dataset, vocabulary, err);
}

bm_status bm_evaluate(const bm_evaluate_params *params, bm_evaluation *out, bm_error *err)
{
    const uint64_t start = bm_clock_ns();
    bm_status status = BM_OK;
    evaluation e = {
        .params = params, .models = {params->model, params->reference}, .num_models = params->reference ? 2 : 1};
    BM_TRY(check_params(params, err));
    BM_TRY(bm_device_discard_reports(params->device, err));
    e.dtype = params->dtype != BM_DTYPE_NONE ? params->dtype : bm_model_compute_dtype(params->model, params->device);
    BM_TRY(collect_segments(&e, err));
    BM_FAIL_IF(e.num_segments == 0, err, BM_E_ARGUMENT, "no tokens to run the model on");
    plan_batches(&e);
    plan_windows(&e);
    BM_TRY(bm_warm_up_evaluation(params->model, params->reference, params->device, e.dtype, params->progress, err));
    BM_TRY(run_windows(&e, err));
    BM_FAIL_IF(e.sums.tokens == 0, err, BM_E_ARGUMENT, "%s: no token of it is scored",
               bm_dataset_source(params->dataset));
    finish(&e, out);
    out->model_seconds = (double)e.model_ns * 1e-9;
    out->seconds = (double)(bm_clock_ns() - start) * 1e-9;
done:
    free_evaluation(&e);
    return status;
}

bm_evaluation_memory bm_evaluate_claim(const bm_model *model, bm_device *device, bm_dtype dtype, uint32_t longest)
{
    const bm_model *const models[2] = {model, NULL};
    const uint64_t memory = bm_device_get_info(device)->limits.memory_bytes, hidden = model->config.hidden_size;
    const uint64_t tokens = bm_max_u64(longest, bm_stream_batch_tokens(model, device, dtype, NULL, 0, 0));
    const uint64_t slice = slice_of(model, (uint32_t)tokens), size = bm_dtype_size(dtype);
    // Half of the memory is for residual streams, as evaluate_window.c has it.
    return (bm_evaluation_memory){.activations = memory / 2 + memory / MEMORY_SHARE +
                                                 tokens * (bm_workspace_bytes_per_token(model, dtype) +
                                                           4 * (uint64_t)model->config.head_dim +
                                                           bm_evaluate_window_token_bytes(models, dtype)),
                                  .logits = tokens * (hidden * size + 4 * slice) + slice * hidden * size,
                                  .batch_tokens = (uint32_t)tokens};
}
