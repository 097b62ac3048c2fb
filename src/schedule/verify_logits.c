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

// The run's own phase goes on; what evaluation calls its phases is not told.
static int tell(void *user, const bm_progress_report *report)
{
    bm_phase *phase = user;
    bm_error reason;
    (void)report;
    return bm_phase_step(phase, 0, &reason) == BM_OK;
}

static uint32_t choose_ids(const bm_emit_context *emit, uint32_t ids[NUM_TOKENS])
{
    const bm_calibration_data *data = &emit->plan->calibration;
    if (data->num_segments > 0) {
        const bm_batch_sequence *s = &data->segments[0];
        const uint32_t count = (uint32_t)bm_min_u64(NUM_TOKENS, s->count);
        for (uint32_t i = 0; i < count; i++)
            ids[i] = s->ids[i];
        return count;
    }
    for (uint32_t i = 0; i < NUM_TOKENS; i++) // spread over the vocabulary
        ids[i] = (uint32_t)((UINT64_C(2654435761) * (i + 1)) % emit->model->config.vocab_size);
    return NUM_TOKENS;
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
                     bm_logits_comparison *out, bm_error *err)
{
    const bm_dtype dtype = bm_calibrate_dtype(emit->arguments, emit->model, emit->device);
    const bm_progress progress = {tell, emit->phase};
    uint32_t ids[NUM_TOKENS], targets[NUM_TOKENS];
    const uint32_t *const first_targets = targets;
    const bm_batch_sequence sequence = {ids, choose_ids(emit, ids)};
    for (uint32_t i = 0; i < sequence.count; i++) // of no account: a distribution is looked at, not what follows
        targets[i] = ids[(i + 1) % sequence.count];
    *out = (bm_logits_comparison){.num_tokens = sequence.count, .is_of_data = emit->plan->calibration.num_segments > 0};
    const bm_evaluate_window window = {.models = {model, reference},
                                       .device = emit->device,
                                       .dtype = dtype,
                                       .sequences = &sequence,
                                       .targets = &first_targets,
                                       .num_sequences = 1,
                                       .max_batch_tokens = sequence.count,
                                       .slice = slice_of(emit, dtype),
                                       .num_windows = 1,
                                       .progress = &progress,
                                       .add = add,
                                       .user = out};
    uint64_t ns = 0;
    return bm_evaluate_window_run(&window, &ns, err);
}

static bm_status judge(const bm_emit_context *emit, const bm_logits_comparison *c, bm_error *err)
{
    const double most = log(emit->model->config.vocab_size) / 2;
    if (c->kl_divergence <= most || c->num_same > 0)
        return BM_OK;
    return bm_fail(err, BM_E_NUMERIC,
                   "logits behind %u tokens have nothing to do with the input's: KL divergence %.2f nats, expected at "
                   "most %.2f or a first choice that is the same (--no-verify keeps such a result)",
                   c->num_tokens, c->kl_divergence, most);
}

// Whether the input's own logits are no better in this arithmetic.
static bool is_not_finite(const bm_emit_context *emit)
{
    bm_logits_comparison c;
    bm_error reason;
    return bm_device_discard_reports(emit->device, &reason) == BM_OK &&
           run(emit, emit->model, NULL, &c, &reason) == BM_E_NUMERIC &&
           bm_device_discard_reports(emit->device, &reason) == BM_OK;
}

bm_status bm_verify_logits(const bm_emit_context *emit, const char *folder, bm_logits_comparison *out, bm_error *err)
{
    bm_model *result = NULL;
    bm_status status = BM_OK;
    BM_TRY(bm_model_open(&result, folder, err));
    BM_TRY(bm_device_discard_reports(emit->device, err));
    status = run(emit, result, emit->model, out, err);
    if (status == BM_OK)
        status = judge(emit, out, err);
    else if (status == BM_E_NUMERIC && is_not_finite(emit)) {
        *out = (bm_logits_comparison){0};
        status = BM_OK;
    } else if (status == BM_E_NUMERIC)
        bm_error_prefix(err, "the result, run on %u tokens", out->num_tokens);
done:
    bm_model_close(&result);
    return status;
}

bm_status bm_verify_logits_try(const bm_emit_context *emit, const bm_model *model, bm_error *err)
{
    bm_logits_comparison c;
    return run(emit, model, model, &c, err);
}
