// Loss over slices of a vocabulary: one work-group a token, eight numbers a token between slices.
#include "ops/loss.h"
#include "ops/chunks.h"

#include <math.h>

enum { LARGEST, SUM, TARGET, BEST, BEST_COLUMN, IS_MET, STATE_SIZE = 8 };

double bm_loss_operations(uint64_t tokens, uint64_t cols)
{
    return 4.0 * (double)tokens * (double)cols;
}

bm_status bm_loss_create(bm_device *device, uint32_t max_tokens, bm_loss **out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_loss *loss = NULL;
    BM_FAIL_IF(max_tokens == 0, err, BM_E_ARGUMENT, "loss: no tokens");
    loss = bm_alloc_zero(1, sizeof *loss);
    BM_FAIL_IF(!loss, err, BM_E_MEMORY, "out of memory");
    loss->max_tokens = max_tokens;
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, max_tokens, STATE_SIZE, "loss state", &loss->state, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, max_tokens, "loss divergence", &loss->divergence, err));
    *out = loss;
    loss = NULL;
done:
    bm_loss_destroy(&loss);
    return status;
}

void bm_loss_destroy(bm_loss **loss)
{
    if (!loss || !*loss)
        return;
    bm_tensor_destroy(&(*loss)->state);
    bm_tensor_destroy(&(*loss)->divergence);
    bm_free(*loss);
    *loss = NULL;
}

bm_status bm_loss_begin(bm_device *device, bm_loss *loss, uint32_t num_tokens, bm_error *err)
{
    if (num_tokens == 0 || num_tokens > loss->max_tokens)
        return bm_fail(err, BM_E_ARGUMENT, "loss: a batch of %u tokens, expected 1..%u", num_tokens, loss->max_tokens);
    loss->num_tokens = num_tokens;
    loss->num_slices = 0;
    loss->num_divergences = 0;
    return bm_fill(device, loss->divergence.view, 0, err);
}

bm_status bm_loss_add(bm_device *device, bm_loss *loss, const bm_tensor *logits, bm_view targets, uint32_t first_column,
                      bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_matrix("loss", "logits", logits, BM_DTYPE_F32, loss->num_tokens, logits->cols, err));
    BM_TRY(bm_check_integers("loss", "targets", targets, loss->num_tokens, err));
    const uint64_t step =
        bm_chunk_rows(device, bm_max_u64(logits->stride, STATE_SIZE), bm_loss_operations(1, logits->cols));
    for (uint64_t first = 0; first < loss->num_tokens; first += step) {
        const uint64_t rows = bm_min_u64(step, loss->num_tokens - first);
        const bm_cross_entropy_scalars scalars = {(uint32_t)rows, (uint32_t)logits->cols, (uint32_t)logits->stride,
                                                  first_column, loss->num_slices == 0};
        const bm_call call = {.kernel = BM_KERNEL_CROSS_ENTROPY,
                              .buffers = {bm_tensor_rows(logits, first, rows).view,
                                          bm_view_part(targets, 4 * first, 4 * rows),
                                          bm_tensor_rows(&loss->state, first, rows).view},
                              .scalars = &scalars,
                              .tunables = {bm_chunk_row_group(device), bm_chunk_width(device)},
                              .groups = {bm_chunk_groups(device, rows, 1), 1, 1},
                              .subject = "logits",
                              .seconds = bm_chunk_seconds(device, bm_loss_operations(rows, logits->cols))};
        BM_TRY(bm_dispatch(device, &call, err));
    }
    loss->num_slices++;
done:
    return status;
}

bm_status bm_loss_add_divergence(bm_device *device, const bm_loss *p, bm_loss *q, const bm_tensor *p_logits,
                                 const bm_tensor *q_logits, bm_error *err)
{
    bm_status status = BM_OK;
    BM_FAIL_IF(p->num_slices == 0 || q->num_slices == 0 || p->num_tokens != q->num_tokens, err, BM_E_ARGUMENT,
               "divergence: %u slices of %u tokens against %u slices of %u tokens", p->num_slices, p->num_tokens,
               q->num_slices, q->num_tokens);
    BM_TRY(bm_check_matrix("divergence", "p_logits", p_logits, BM_DTYPE_F32, q->num_tokens, p_logits->cols, err));
    BM_TRY(bm_check_matrix("divergence", "q_logits", q_logits, BM_DTYPE_F32, q->num_tokens, p_logits->cols, err));
    const uint64_t step = bm_chunk_rows(device, bm_max_u64(p_logits->stride, bm_max_u64(q_logits->stride, STATE_SIZE)),
                                        2 * bm_loss_operations(1, p_logits->cols));
    for (uint64_t first = 0; first < q->num_tokens; first += step) {
        const uint64_t rows = bm_min_u64(step, q->num_tokens - first);
        const bm_kl_divergence_scalars scalars = {(uint32_t)rows, (uint32_t)p_logits->cols, (uint32_t)p_logits->stride,
                                                  (uint32_t)q_logits->stride};
        const bm_call call = {
            .kernel = BM_KERNEL_KL_DIVERGENCE,
            .buffers = {bm_tensor_rows(p_logits, first, rows).view, bm_tensor_rows(q_logits, first, rows).view,
                        bm_tensor_rows(&p->state, first, rows).view, bm_tensor_rows(&q->state, first, rows).view,
                        bm_view_part(q->divergence.view, 4 * first, 4 * rows)},
            .scalars = &scalars,
            .tunables = {bm_chunk_row_group(device), bm_chunk_width(device)},
            .groups = {bm_chunk_groups(device, rows, 1), 1, 1},
            .subject = "logits",
            .seconds = bm_chunk_seconds(device, 2 * bm_loss_operations(rows, p_logits->cols))};
        BM_TRY(bm_dispatch(device, &call, err));
    }
    q->num_divergences++;
done:
    return status;
}

bm_status bm_loss_finish(bm_device *device, const bm_loss *loss, bm_view targets, const bm_loss_result *result,
                         bm_error *err)
{
    const uint32_t tokens = loss->num_tokens;
    bm_status status = BM_OK;
    float *state = NULL, *divergences = NULL;
    uint32_t *wanted = NULL;
    BM_FAIL_IF(loss->num_slices == 0 || (result->divergences && loss->num_divergences == 0), err, BM_E_ARGUMENT,
               "loss: nothing was added");
    BM_TRY(bm_check_integers("loss", "targets", targets, tokens, err));
    state = bm_alloc((uint64_t)tokens * STATE_SIZE, sizeof *state);
    divergences = bm_alloc(tokens, sizeof *divergences);
    wanted = bm_alloc(tokens, sizeof *wanted);
    BM_FAIL_IF(!state || !divergences || !wanted, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_download(device, loss->state.view, state, (uint64_t)tokens * STATE_SIZE * sizeof *state, err));
    BM_TRY(bm_download(device, loss->divergence.view, divergences, (uint64_t)tokens * sizeof *divergences, err));
    BM_TRY(bm_download(device, targets, wanted, (uint64_t)tokens * sizeof *wanted, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint32_t t = 0; t < tokens; t++)
        BM_FAIL_IF(wanted[t] != BM_LOSS_UNSCORED && state[(uint64_t)t * STATE_SIZE + IS_MET] == 0.0f, err,
                   BM_E_ARGUMENT, "loss: token %u: target %u is in no slice of the vocabulary", t, wanted[t]);
    for (uint32_t t = 0; t < tokens; t++) {
        const float *s = &state[(uint64_t)t * STATE_SIZE];
        const bool is_scored = wanted[t] != BM_LOSS_UNSCORED;
        if (result->losses)
            result->losses[t] = is_scored ? (float)(((double)s[LARGEST] - s[TARGET]) + log((double)s[SUM])) : 0.0f;
        // Finite logits may still lie too far apart for float32.
        BM_FAIL_IF(result->losses && !isfinite(result->losses[t]), err, BM_E_NUMERIC,
                   "loss: token %u: the loss is not finite", t);
        if (result->best)
            result->best[t] = (uint32_t)s[BEST_COLUMN];
        if (result->divergences)
            result->divergences[t] = divergences[t];
        BM_FAIL_IF(result->divergences && !isfinite(divergences[t]), err, BM_E_NUMERIC,
                   "loss: token %u: the divergence is not finite", t);
    }
done:
    bm_free(state);
    bm_free(divergences);
    bm_free(wanted);
    return status;
}
