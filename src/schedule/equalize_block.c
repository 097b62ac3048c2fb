// AWQ's losses at the output of the block's part (awq_inspect "block"): for q, k and v behind attention and o, for gate and up behind
// the activation and down, which stay float. Attention reads whole sequences, so the sample is of those, as the pass of the float
// block makes their normed inputs.
//
//   mean over tokens and hidden channels of (f(x, W) - f(x, Q(W s) / s))^2
//
// What divides the inputs by s is in the weights. Source: Lin et al., AWQ, 2024, section 3.2, and its reference implementation.
#include "schedule/equalize.h"

#include "ops/elementwise.h"
#include "quant/equalize/awq_scales.h"
#include "quant/scaled_rounding.h"
#include "schedule/calibrate.h"

#include <math.h>

// ---- the sample

// Segments from the first on, of those that the search sees, and their tokens.
static uint32_t count_segments(const bm_emit_context *emit, uint32_t *tokens)
{
    const bm_calibration_data *data = &emit->plan->calibration;
    return bm_stream_first_batch(emit->model, data->segments,
                                 bm_calibration_data_first(data, emit->arguments->smooth_step),
                                 (uint32_t)bm_min_u64((uint64_t)emit->arguments->search_tokens, UINT32_MAX), tokens);
}

bool bm_judges_block(const bm_emit_context *emit, const bm_fold_wanted *wanted, bm_stage stage)
{
    const bm_arguments *a = emit->arguments;
    return bm_job_scales_by_awq(a) && a->awq_inspect == BM_INSPECT_BLOCK && wanted->scale &&
           bm_norm_of_stage(stage) != BM_NUM_NORMS;
}

bool bm_equalizer_judges_block(const bm_equalizer *e, bm_stage stage)
{
    return e->stages[stage].is_quantized && bm_judges_block(e->emit, &e->stages[stage].wanted, stage);
}

bm_status bm_equalizer_begin_sequences(bm_equalizer *e, bm_stage stage, bm_error *err)
{
    bm_equalized_stage *s = &e->stages[stage];
    bm_status status = BM_OK;
    uint32_t tokens;
    (void)count_segments(e->emit, &tokens);
    if (!bm_equalizer_judges_block(e, stage) || tokens == 0)
        return BM_OK;
    BM_TRY(bm_tensor_create(e->emit->device, bm_calibrate_dtype(e->emit->arguments, e->emit->model, e->emit->device),
                            tokens, s->channels, "inputs of whole sequences", &s->sequences, err));
    // Of a sequence that is left out, and so never shown, zeros remain: weights are nothing to them, so that nothing is lost.
    BM_TRY(bm_fill(e->emit->device, s->sequences.view, 0, err));
done:
    return status;
}

bm_status bm_equalizer_watch_sequences(bm_equalizer *e, bm_stage stage, const bm_tensor *inputs, uint32_t first,
                                       uint32_t count, bm_error *err)
{
    const bm_batch_sequence *segments = e->emit->plan->calibration.segments;
    bm_equalized_stage *s = &e->stages[stage];
    bm_status status = BM_OK;
    uint64_t before = 0, rows = 0;
    uint32_t tokens;
    const uint32_t end = count_segments(e->emit, &tokens);
    if (!s->sequences.view.buffer)
        return BM_OK;
    for (uint32_t i = 0; i < end && i < first + count; i++)
        *(i < first ? &before : &rows) += segments[i].count;
    if (rows == 0)
        return BM_OK;
    const bm_tensor from = bm_tensor_rows(inputs, 0, rows), to = bm_tensor_rows(&s->sequences, before, rows);
    BM_TRY(bm_tensor_copy(e->emit->device, &from, &to, err));
    s->sequence_tokens += rows;
done:
    return status;
}

// Whether a stage behind this one left a segment out: what it met there must not come into losses.
static bool is_left_out(const bm_equalizer *e, bm_stage stage, uint32_t segment)
{
    bool out = false;
    for (bm_stage later = stage + 1; later < BM_NUM_STAGES; later++)
        out = out || (e->stages[later].is_quantized && !e->stages[later].watched.watched[segment]);
    return out;
}

bm_status bm_equalizer_finish_sequences(bm_equalizer *e, bm_stage stage, bm_error *err)
{
    const bm_batch_sequence *segments = e->emit->plan->calibration.segments;
    bm_equalized_stage *s = &e->stages[stage];
    bm_status status = BM_OK;
    uint64_t first = 0;
    uint32_t tokens;
    const uint32_t count = s->sequences.view.buffer ? count_segments(e->emit, &tokens) : 0;
    for (uint32_t i = 0; i < count; first += segments[i++].count)
        if (s->watched.watched[i] && is_left_out(e, stage, i)) {
            const bm_tensor rows = bm_tensor_rows(&s->sequences, first, segments[i].count);
            BM_TRY(bm_fill(e->emit->device, rows.view, 0, err));
            s->sequence_tokens -= segments[i].count;
        }
done:
    return status;
}

void bm_equalizer_free_sequences(bm_equalizer *e, bm_stage stage)
{
    bm_tensor_destroy(&e->stages[stage].sequences);
}

// ---- memory

#define CANDIDATES_AT_ONCE 8 // whose scales are on the device together

static uint64_t matrix_bytes(bm_dtype dtype, uint64_t rows, uint64_t cols)
{
    return rows * bm_tensor_stride(dtype, cols) * bm_dtype_size(dtype);
}

// Of outputs: as the residual stream.
static bm_dtype outputs_dtype(const bm_emit_context *emit)
{
    return bm_calibrate_dtype(emit->arguments, emit->model, emit->device) == BM_DTYPE_F64 ? BM_DTYPE_F64 : BM_DTYPE_F32;
}

// The most rows of a linear of the stage.
static uint64_t most_rows(const bm_emit_context *emit, bm_stage stage)
{
    uint64_t most = 0;
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
        uint32_t rows, cols;
        bm_linear_shape(&emit->model->config, linear, &rows, &cols);
        if (bm_family_has_linear(emit->model->family, linear) && bm_linear_stage(linear) == stage)
            most = bm_max_u64(most, rows);
    }
    return most;
}

uint64_t bm_equalizer_block_bytes(const bm_emit_context *emit)
{
    const bm_dtype dtype = bm_calibrate_dtype(emit->arguments, emit->model, emit->device);
    uint64_t bytes = 0, most = 0;
    uint32_t tokens;
    (void)count_segments(emit, &tokens);
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        if (!bm_judges_block(emit, &emit->plan->folds[stage], stage))
            continue;
        const uint32_t channels = bm_equalizer_channels(emit->model, stage);
        bytes += matrix_bytes(dtype, tokens, channels);
        // What is wanted and what is found, as wide as the inputs, rows that are rounded and scales; steps are of four weights at the least.
        most = bm_max_u64(most, 2 * matrix_bytes(outputs_dtype(emit), tokens, channels) + 16 * (uint64_t)tokens +
                                    3 * matrix_bytes(BM_DTYPE_F32, most_rows(emit, stage), channels) +
                                    2 * matrix_bytes(BM_DTYPE_F32, CANDIDATES_AT_ONCE, channels));
    }
    return bytes + most;
}

bm_status bm_equalizer_check_sequences(const bm_emit_context *emit, bm_error *err)
{
    const bm_arguments *a = emit->arguments;
    const bm_device_info *info = bm_device_get_info(emit->device);
    const uint64_t all = bm_equalizer_block_bytes(emit),
                   one = matrix_bytes(outputs_dtype(emit), 1, emit->model->config.hidden_size);
    uint32_t tokens;
    (void)count_segments(emit, &tokens);
    if (all == 0)
        return BM_OK;
    if (tokens * one > info->limits.max_allocation_bytes)
        return bm_arguments_reject(
            a, err,
            "\"awq_inspect\": \"block\": outputs of whole sequences of %u tokens (\"search_tokens\": "
            "%lld) take %.1f MB, expected at most %.1f MB, the largest buffer of %s",
            tokens, (long long)a->search_tokens, (double)(tokens * one) / 1e6,
            (double)info->limits.max_allocation_bytes / 1e6, info->spec);
    if (all > bm_device_memory_bytes(emit->device))
        return bm_arguments_reject(
            a, err,
            "\"awq_inspect\": \"block\": whole sequences of %u tokens (\"search_tokens\": %lld) take "
            "%.1f MB, expected at most %.1f MB, the memory of %s",
            tokens, (long long)a->search_tokens, (double)all / 1e6, (double)bm_device_memory_bytes(emit->device) / 1e6,
            info->spec);
    return BM_OK;
}

// ---- the losses

typedef struct block_loss {
    bm_equalizer *e;
    bm_device *device;
    bm_stage stage;
    bm_scaled_rounding rounding;
    bm_tensor rounded; // rows of a linear
    // [tokens of the sample, hidden_size], in the type of the residual stream: of the float weights, of a candidate.
    bm_tensor wanted, found;
    bm_tensor sums; // [tokens of the sample, 4]
    float *host;    // the same
} block_loss;

static void end(block_loss *l)
{
    bm_tensor *const all[] = {&l->rounded, &l->wanted, &l->found, &l->sums};
    for (size_t i = 0; i < BM_COUNT(all); i++)
        bm_tensor_destroy(all[i]);
    bm_scaled_rounding_end(&l->rounding);
    bm_free(l->host);
}

// The part of the sample that is in a batch of the stream: its first tokens, which see no others.
static bool take_batch(const block_loss *l, uint32_t index, bm_batch *out, uint64_t *first)
{
    const bm_stream *stream = l->e->stream;
    const uint64_t tokens = l->e->stages[l->stage].sequences.rows;
    if (index >= stream->num_batches || stream->batches[index].first_token >= tokens)
        return false;
    *out = stream->batches[index].batch;
    *first = stream->batches[index].first_token;
    out->num_tokens = (uint32_t)bm_min_u64(out->num_tokens, tokens - *first);
    return true;
}

// out = what the stage and the linear behind it make of the sample's inputs.
static bm_status run(const block_loss *l, const bm_batch *batch, uint64_t first, const bm_tensor *out, bm_error *err)
{
    const bm_block *block = l->e->scratch;
    bm_workspace *w = &l->e->stream->workspace;
    const bm_tensor rows = bm_tensor_rows(&l->e->stages[l->stage].sequences, first, batch->num_tokens);
    const bm_tensor inputs = bm_tensor_reshape(&w->normed, rows.rows, rows.cols);
    bm_tensor next;
    bm_status status = BM_OK;
    BM_TRY(bm_tensor_copy(l->device, &rows, &inputs, err));
    BM_TRY(bm_fill(l->device, out->view, 0, err)); // outputs are added to the residual stream
    BM_TRY(bm_block_stage_output(l->device, block, l->stage, batch, w, NULL, &inputs, out, err));
    BM_TRY(bm_block_stage_input(l->device, block, l->stage + 1, batch, w, out, &next, err));
    BM_TRY(bm_block_stage_output(l->device, block, l->stage + 1, batch, w, NULL, &next, out, err));
done:
    return status;
}

static bm_status begin(block_loss *l, bm_error *err)
{
    const bm_equalized_stage *s = &l->e->stages[l->stage];
    const uint32_t hidden = l->e->emit->model->config.hidden_size;
    const bm_weights *members[BM_NUM_LINEARS];
    const uint32_t num_members = bm_equalizer_members(l->e, l->stage, true, members, NULL);
    bm_status status = BM_OK;
    bm_batch batch;
    uint64_t first, rows = 0;
    for (uint32_t i = 0; i < num_members; i++)
        rows = bm_max_u64(rows, members[i]->parts[0].rows);
    BM_TRY(bm_tensor_create(l->device, BM_DTYPE_F32, rows, s->channels, "rounded weights", &l->rounded, err));
    BM_TRY(bm_tensor_create(l->device, l->e->stream->hidden_dtype, s->sequences.rows, hidden, "float outputs",
                            &l->wanted, err));
    BM_TRY(
        bm_tensor_create(l->device, l->e->stream->hidden_dtype, s->sequences.rows, hidden, "outputs", &l->found, err));
    BM_TRY(bm_tensor_create(l->device, BM_DTYPE_F32, s->sequences.rows, 4, "sums", &l->sums, err));
    l->host = bm_alloc(4 * s->sequences.rows, sizeof *l->host);
    BM_FAIL_IF(!l->host, err, BM_E_MEMORY, "out of memory");
    for (uint32_t b = 0; take_batch(l, b, &batch, &first); b++) {
        const bm_tensor out = bm_tensor_rows(&l->wanted, first, batch.num_tokens);
        BM_TRY(run(l, &batch, first, &out, err));
    }
done:
    return status;
}

// Of the candidates whose scales are on the device, puts one's rounded weights into the scratch block.
static bm_status put_rounded(const block_loss *l, uint32_t candidate, bm_error *err)
{
    const bm_block *masters = &l->e->masters;
    const bm_weights *members[BM_NUM_LINEARS];
    bm_grid_params grids[BM_NUM_LINEARS];
    const uint32_t count = bm_equalizer_members(l->e, l->stage, true, members, grids);
    bm_status status = BM_OK;
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++)
        for (uint32_t i = 0; i < count; i++)
            for (uint32_t p = 0; masters->linears[linear] == members[i] && p < members[i]->num_parts; p++) {
                const bm_tensor *part = &members[i]->parts[p];
                const bm_tensor rounded = bm_tensor_rows(&l->rounded, 0, part->rows);
                BM_TRY(bm_scaled_rounding_run(l->device, &l->rounding, &grids[i], part, candidate, &rounded, err));
                BM_TRY(bm_weights_set_rows(l->device, l->e->scratch->linears[linear], p * members[i]->rows_per_part,
                                           &rounded, err));
            }
done:
    return status;
}

static bm_status find_loss(block_loss *l, uint32_t candidate, double *out, bm_error *err)
{
    const bm_equalized_stage *s = &l->e->stages[l->stage];
    bm_status status = BM_OK;
    bm_batch batch;
    uint64_t first;
    BM_TRY(put_rounded(l, candidate, err));
    for (uint32_t b = 0; take_batch(l, b, &batch, &first); b++) {
        const bm_tensor found = bm_tensor_rows(&l->found, first, batch.num_tokens);
        BM_TRY(run(l, &batch, first, &found, err));
    }
    BM_TRY(bm_row_error(l->device, &l->wanted, &l->found, &l->sums, err));
    BM_TRY(bm_tensor_download(l->device, &l->sums, l->host, err));
    BM_TRY(bm_device_wait(l->device, err));
    *out = 0;
    uint64_t tokens = s->sequence_tokens;
    for (uint64_t t = 0; t < l->found.rows; t++)
        if (isfinite(l->host[4 * t + 1]))
            *out += (double)l->host[4 * t];
        else
            tokens--; // overflows without any rounding
    *out /= (double)tokens * (double)l->found.cols;
    BM_TRY(bm_phase_step(l->e->emit->phase, 0, err));
done:
    return status;
}

bm_status bm_equalizer_block_losses(bm_equalizer *e, bm_stage stage, const double *m, const double *w, double *losses,
                                    bm_error *err)
{
    const bm_equalized_stage *s = &e->stages[stage];
    const bm_smooth_grid *candidates = &s->record->search.first_grid;
    const uint32_t most = (uint32_t)bm_min_u64(CANDIDATES_AT_ONCE, candidates->count);
    const bm_weights *members[BM_NUM_LINEARS];
    bm_grid_params grids[BM_NUM_LINEARS];
    const uint32_t num_members = bm_equalizer_members(e, stage, true, members, grids);
    block_loss l = {.e = e, .device = e->emit->device, .stage = stage};
    bm_status status = BM_OK;
    float *scales = bm_alloc(most, s->channels * sizeof *scales);
    BM_FAIL_IF(!scales, err, BM_E_MEMORY, "out of memory");
    BM_TRY(begin(&l, err));
    for (uint32_t i = 0; i < candidates->count; i += most) {
        const uint32_t count = (uint32_t)bm_min_u64(most, candidates->count - i);
        for (uint32_t k = 0; k < count; k++)
            bm_awq_scales(&candidates->candidates[i + k], s->channels, m, w, scales + (size_t)k * s->channels);
        BM_TRY(bm_scaled_rounding_begin(l.device, grids, num_members, l.rounded.rows, s->channels, scales, count,
                                        &l.rounding, err));
        for (uint32_t k = 0; k < count; k++)
            BM_TRY(find_loss(&l, k, &losses[i + k], err));
        bm_scaled_rounding_end(&l.rounding);
    }
done:
    end(&l);
    bm_free(scales);
    return status;
}
