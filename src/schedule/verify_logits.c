// A few tokens through the input and the result.
#include "schedule/verify_logits.h"

#include "infer/evaluate_window.h"
#include "model/block.h"
#include "schedule/calibrate.h"
#include "schedule/memory_claims.h"

#include <math.h>

#define NUM_TOKENS BM_VERIFY_LOGITS_TOKENS

bool bm_verify_logits_fits(const bm_emit_context *emit, const bm_memory_budget *budget)
{
    bm_error reason;
    if (bm_block_check_runnable(emit->model, &reason) != BM_OK)
        return false;
    if (!budget)
        return true;
    const uint64_t device = bm_memory_comparing_bytes(emit, NUM_TOKENS);
    const uint64_t process = budget->resident_bytes + budget->driver_bytes + (budget->is_shared ? device : 0) +
                             BM_VERIFY_LOGITS_BLOCKS * budget->block_bytes;
    return device <= budget->device_bytes && process <= budget->host_bytes;
}

// The run's own phase goes on: what evaluation calls its phases is not told.
static int tell(void *user, const bm_progress_report *report)
{
    bm_phase *phase = user;
    bm_error reason;
    (void)report;
    return bm_phase_step(phase, 0, &reason) == BM_OK;
}

// What both are run on: sequences of ids, NUM_TOKENS in all at most.
typedef struct run_tokens {
    uint32_t ids[NUM_TOKENS], targets[NUM_TOKENS]; // targets: of no account, a distribution is looked at
    bm_batch_sequence sequences[NUM_TOKENS];
    const uint32_t *first_targets[NUM_TOKENS];
    uint32_t num_tokens, num_sequences;
} run_tokens;

static void add_sequence(run_tokens *t, const uint32_t *ids, uint32_t count)
{
    const uint32_t first = t->num_tokens;
    t->sequences[t->num_sequences] = (bm_batch_sequence){t->ids + first, count};
    t->first_targets[t->num_sequences++] = t->targets + first;
    for (uint32_t i = 0; i < count; i++)
        t->ids[first + i] = t->targets[first + i] = ids[i];
    t->num_tokens += count;
}

static void choose_tokens(const bm_emit_context *emit, run_tokens *t)
{
    const bm_calibration_data *data = &emit->plan->calibration;
    uint32_t spread[NUM_TOKENS];
    *t = (run_tokens){.num_tokens = 0};
    for (uint32_t s = 0; s < data->num_segments && t->num_tokens < NUM_TOKENS; s++)
        add_sequence(t, data->segments[s].ids,
                     (uint32_t)bm_min_u64(NUM_TOKENS - t->num_tokens, data->segments[s].count));
    for (uint32_t i = 0; i < NUM_TOKENS; i++) // over the vocabulary
        spread[i] = (uint32_t)((UINT64_C(2654435761) * (i + 1)) % emit->model->config.vocab_size);
    if (t->num_tokens == 0)
        add_sequence(t, spread, NUM_TOKENS);
}

// One batch, whole.
static void add(void *user, uint32_t first_sequence, uint32_t num_sequences, const bm_batch_losses *losses)
{
    bm_logits_comparison *out = user;
    (void)first_sequence, (void)num_sequences;
    for (uint32_t i = 0; losses->divergences && i < out->num_tokens; i++) {
        out->kl_divergence += (double)losses->divergences[i] / out->num_tokens;
        out->num_same += losses->best[0][i] == losses->best[1][i];
    }
}

// Columns of the vocabulary of which two heads take no more than a block.
static uint32_t slice_of(const bm_emit_context *emit, bm_dtype dtype)
{
    const bm_hf_config *c = &emit->model->config;
    const uint64_t column = (uint64_t)c->hidden_size * bm_dtype_size(dtype);
    const uint64_t columns = bm_block_bytes(emit->model, emit->device, 0, dtype) / 2 / column / 64 * 64;
    return (uint32_t)bm_min_u64(bm_max_u64(columns, 64), c->vocab_size);
}

static bm_status run(const bm_emit_context *emit, const bm_model *model, const bm_model *reference,
                     const bm_progress *progress, bm_logits_comparison *out, bm_error *err)
{
    const bm_dtype dtype = bm_calibrate_dtype(emit->arguments, emit->model, emit->device);
    run_tokens t;
    choose_tokens(emit, &t);
    *out = (bm_logits_comparison){.num_tokens = t.num_tokens, .is_of_data = emit->plan->calibration.num_segments > 0};
    const bm_evaluate_window window = {.models = {model, reference},
                                       .device = emit->device,
                                       .dtype = dtype,
                                       .sequences = t.sequences,
                                       .targets = t.first_targets,
                                       .num_sequences = t.num_sequences,
                                       .max_batch_tokens = t.num_tokens,
                                       .slice = slice_of(emit, dtype),
                                       .num_windows = 1,
                                       .progress = progress,
                                       .add = add,
                                       .user = out};
    uint64_t ns = 0;
    return bm_evaluate_window_run(&window, &ns, err);
}

static bm_status judge(const bm_emit_context *emit, const bm_logits_comparison *c, bm_error *err)
{
    const double guess = log(emit->model->config.vocab_size), most = guess / 2;
    if (c->kl_divergence <= most || (c->num_same > 0 && c->kl_divergence <= guess))
        return BM_OK;
    return bm_fail(err, BM_E_NUMERIC,
                   "logits behind %u token%s have nothing to do with the input's: KL divergence %.2f nats, expected at "
                   "most %.2f, or %.2f and a first choice that is the same: too few bits, or a configuration that is "
                   "wrong (--no-verify keeps such a result)",
                   c->num_tokens, bm_plural(c->num_tokens), c->kl_divergence, most, guess);
}

static bm_status check_result(const bm_emit_context *emit, const bm_model *result, bm_error *err)
{
    if (result->config.vocab_size != emit->model->config.vocab_size)
        return bm_fail(err, BM_E_FORMAT, "the result has a vocabulary of %u, expected %u", result->config.vocab_size,
                       emit->model->config.vocab_size);
    return bm_block_check_runnable(result, err);
}

// Whether the input's own logits are no better in this arithmetic. Errors: those of the device; BM_E_CANCELLED.
static bm_status look_at_input(const bm_emit_context *emit, bool *is_finite, bm_error *err)
{
    bm_logits_comparison c;
    bm_status status = BM_OK;
    BM_TRY(bm_device_discard_reports(emit->device, err));
    status = run(emit, emit->model, NULL, &(bm_progress){tell, emit->phase}, &c, err);
    *is_finite = status != BM_E_NUMERIC;
    if (status == BM_E_NUMERIC)
        status = bm_device_discard_reports(emit->device, err);
done:
    return status;
}

bool bm_verify_logits_is_fault(bm_status status)
{
    return status == BM_E_NUMERIC || status == BM_E_IO || status == BM_E_FORMAT || status == BM_E_CANCELLED;
}

bm_status bm_verify_logits(const bm_emit_context *emit, const char *folder, bm_logits_comparison *out, bm_error *err)
{
    bm_model *result = NULL;
    bm_status status = BM_OK;
    bool is_finite = true;
    bm_error met = {0};
    *out = (bm_logits_comparison){0};
    BM_TRY(bm_model_open(&result, folder, err));
    BM_TRY(check_result(emit, result, err));
    BM_TRY(bm_device_discard_reports(emit->device, err));
    status = run(emit, result, emit->model, &(bm_progress){tell, emit->phase}, out, &met);
    if (status == BM_E_NUMERIC) {
        BM_TRY(look_at_input(emit, &is_finite, err));
        if (is_finite)
            status = bm_fail(err, BM_E_NUMERIC, "the result, run on %u token%s: %s", out->num_tokens,
                             bm_plural(out->num_tokens), met.message);
        else
            *out = (bm_logits_comparison){0};
    } else if (status == BM_OK)
        status = judge(emit, out, err);
    else
        status = bm_fail(err, status, "%s", met.message);
done:
    bm_model_close(&result);
    return status;
}

bm_status bm_verify_logits_try(const bm_emit_context *emit, const bm_model *model, const bm_progress *progress,
                               bm_error *err)
{
    bm_logits_comparison c;
    return run(emit, model, model, progress, &c, err);
}
