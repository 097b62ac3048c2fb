// The driver of methods that watch.
#include "schedule/calibrate.h"

#include "base/clock.h"
#include "infer/stream.h"
#include "ops/elementwise.h"
#include "schedule/group.h"
#include "schedule/memory_plan.h"

#include <math.h>
#include <string.h>

// What passes through the model: the quantized one, and beside it, if the method watches both, the float one.
typedef struct lane {
    bm_stream *stream;
    bm_block block;    // of the float lane: shares with the quantized one what is not solved
    bm_kept kept;      // inputs of o_proj or of down_proj, from one pass to the next
    bm_tensor scratch; // [tokens of a batch, hidden_size]: a residual stream that will be needed once more
} lane;

enum { QUANTIZED = 0, FLOAT = 1, MAX_LANES = 2 };

// What time goes to.
typedef enum part { LOADING, ACTIVATIONS, STATISTICS, FACTORS, SOLVING, NUM_PARTS } part;
static const char *const part_names[NUM_PARTS] = {"load blocks", "run blocks", "watch inputs", "factor", "solve"};

typedef struct calibration {
    const bm_calibrate_params *p;
    bm_device *device;
    bm_quantize_result *result;
    bm_multiplier multiplier;
    lane lanes[MAX_LANES];
    uint32_t num_lanes;
    bool watches_both;
    bool restarts;  // each block begins with the float model's activations (calibration_inputs float)
    bm_tensor sums; // [tokens of a batch, 4]
    float *host_sums;
    uint8_t *is_bad; // [sequences]: left out
    uint64_t clock_ns;
} calibration;

// What has passed since the last call went to this part.
static void spend(calibration *c, part p)
{
    const uint64_t now = bm_clock_ns();
    bm_quantize_result_add_phase(c->result, part_names[p], (double)(now - c->clock_ns) * 1e-9);
    c->clock_ns = now;
}

static const bm_arguments *arguments_of(const calibration *c)
{
    return c->p->emit->arguments;
}

static const bm_calibration_data *data_of(const calibration *c)
{
    return &c->p->emit->plan->calibration;
}

// Stages whose inputs come from more than a norm.
static bool is_kept(bm_stage stage)
{
    return stage == BM_STAGE_O || stage == BM_STAGE_DOWN;
}

// ---- sequences that overflow

// Rows of the matrix that hold NaN or infinity (or numbers whose squares overflow, which sums of products cannot hold).
static bm_status find_bad_rows(calibration *c, const bm_tensor *matrix, bm_error *err)
{
    const bm_tensor sums = bm_tensor_rows(&c->sums, 0, matrix->rows);
    bm_status status = BM_OK;
    BM_TRY(bm_row_error(c->device, matrix, matrix, &sums, err));
    BM_TRY(bm_tensor_download(c->device, &sums, c->host_sums, err));
    BM_TRY(bm_device_wait(c->device, err));
done:
    return status;
}

static bool row_is_bad(const calibration *c, uint64_t row)
{
    return !isfinite(c->host_sums[4 * row + 1]);
}

// A batch's sequences, with the rows of each.
typedef struct span {
    uint32_t sequence, first, count;
} span;

static span first_span(const calibration *c, uint32_t batch)
{
    const uint32_t sequence = c->lanes[QUANTIZED].stream->batches[batch].first_sequence;
    return (span){sequence, 0, data_of(c)->segments[sequence].count};
}

static bool next_span(const calibration *c, uint32_t batch, span *s)
{
    const bm_stream_batch *b = &c->lanes[QUANTIZED].stream->batches[batch];
    s->first += s->count;
    if (++s->sequence == b->first_sequence + b->num_sequences)
        return false;
    s->count = data_of(c)->segments[s->sequence].count;
    return true;
}

// Marks sequences with bad rows in the sums that were last found; *count: how many more there are now.
static void mark_bad(calibration *c, uint32_t batch, uint8_t *found, uint32_t *count)
{
    span s = first_span(c, batch);
    do {
        for (uint32_t r = s.first; r < s.first + s.count && !found[s.sequence]; r++)
            if (row_is_bad(c, r)) {
                found[s.sequence] = 1;
                ++*count;
            }
    } while (next_span(c, batch, &s));
}

static bm_status zero_rows(calibration *c, const bm_tensor *matrix, uint32_t first, uint32_t count, bm_error *err)
{
    return bm_fill(c->device, bm_tensor_rows(matrix, first, count).view, 0, err);
}

// Zeros in the rows of sequences that were left out: what is not finite must not meet other sequences' zero weights in
// attention, which reads rows in tiles.
static bm_status silence(calibration *c, uint32_t batch, const bm_tensor *matrix, bm_error *err)
{
    bm_status status = BM_OK;
    span s = first_span(c, batch);
    do {
        if (c->is_bad[s.sequence])
            BM_TRY(zero_rows(c, matrix, s.first, s.count, err));
    } while (next_span(c, batch, &s));
done:
    return status;
}

static bm_status silence_hidden(calibration *c, uint32_t batch, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t l = 0; l < c->num_lanes; l++) {
        bm_tensor hidden;
        BM_TRY(bm_stream_acquire(c->lanes[l].stream, batch, &hidden, err));
        BM_TRY(silence(c, batch, &hidden, err));
        BM_TRY(bm_stream_release(c->lanes[l].stream, batch, &hidden, true, err));
    }
done:
    return status;
}

static bm_status leave_out(calibration *c, const uint8_t *found, uint32_t block, bm_stage stage, bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE], place[256];
    bm_linear_id linear = 0;
    while (bm_linear_stage(linear) != stage)
        linear++;
    bm_linear_tensor_name(block, linear, "", name);
    for (uint32_t i = 0; i < data_of(c)->num_segments; i++) {
        if (!found[i] || c->is_bad[i])
            continue;
        bm_calibration_data_name(data_of(c), i, place, sizeof place);
        if (!arguments_of(c)->skip_bad_sequences)
            return bm_fail(err, BM_E_NUMERIC,
                           "%s: NaN or infinity in the inputs of %s, expected finite activations; skip_bad_sequences "
                           "leaves such sequences out, and compute_dtype float32 may hold them",
                           place, name);
        c->is_bad[i] = 1;
        c->result->num_skipped_sequences++;
        bm_log_write(c->p->log, BM_LOG_WARNING, "%s: NaN or infinity in the inputs of %s; it is left out", place, name);
    }
    if (c->result->num_skipped_sequences == data_of(c)->num_segments)
        return bm_fail(err, BM_E_NUMERIC, "%s: no sequence is left to calibrate on: all had NaN or infinity", place);
    return BM_OK;
}

// Looks at the inputs of a stage. Sequences that are newly found bad are left out; *again: other sequences of the batch may
// have met their values, which is so behind attention, and the inputs must be computed anew.
static bm_status look_at_inputs(calibration *c, uint32_t block, bm_stage stage, uint32_t batch, const bm_tensor *inputs,
                                bool *again, bm_error *err)
{
    bm_status status = BM_OK;
    uint32_t num_found = 0, num_sources = 0;
    uint8_t *found = bm_alloc(data_of(c)->num_segments, 1), *sources = bm_alloc(data_of(c)->num_segments, 1);
    BM_FAIL_IF(!found || !sources, err, BM_E_MEMORY, "out of memory");
    memcpy(found, c->is_bad, data_of(c)->num_segments);
    memcpy(sources, c->is_bad, data_of(c)->num_segments);
    *again = false;
    for (uint32_t l = 0; l < c->num_lanes; l++) {
        BM_TRY(find_bad_rows(c, &inputs[l], err));
        mark_bad(c, batch, found, &num_found);
    }
    if (num_found == 0)
        goto done;
    for (uint32_t l = 0; l < c->num_lanes && stage == BM_STAGE_O; l++) {
        const bm_workspace *w = &c->lanes[l].stream->workspace;
        const bm_tensor value = bm_tensor_reshape(&w->value, inputs[l].rows, w->value.cols);
        BM_TRY(find_bad_rows(c, &value, err));
        mark_bad(c, batch, sources, &num_sources);
    }
    *again = num_sources > 0;
    BM_TRY(leave_out(c, num_sources > 0 ? sources : found, block, stage, err));
    BM_TRY(silence_hidden(c, batch, err));
done:
    bm_free(found);
    bm_free(sources);
    return status;
}

// ---- one batch

// Inputs of a stage whose residual stream is as it was in front of the stage (before, for o_proj, of q, k and v).
static bm_status compute_inputs(calibration *c, lane *l, bm_stage stage, uint32_t batch, const bm_tensor *hidden,
                                bm_tensor *input, bm_error *err)
{
    const bm_batch *b = &l->stream->batches[batch].batch;
    bm_workspace *w = &l->stream->workspace;
    bm_status status = BM_OK;
    if (is_kept(stage)) {
        bm_tensor before;
        BM_TRY(bm_block_stage_input(c->device, &l->block, stage - 1, b, w, hidden, &before, err));
        BM_TRY(bm_block_stage_output(c->device, &l->block, stage - 1, b, w, NULL, &before, hidden, err));
    }
    BM_TRY(bm_block_stage_input(c->device, &l->block, stage, b, w, hidden, input, err));
done:
    return status;
}

// Adds o_proj's or down_proj's output to the residual stream.
static bm_status finish(calibration *c, lane *l, bm_stage stage, uint32_t batch, const bm_tensor *hidden, bm_error *err)
{
    const bm_stream_batch *b = &l->stream->batches[batch];
    bm_workspace *w = &l->stream->workspace;
    bm_status status = BM_OK;
    bm_tensor input;
    if (l->kept.place == BM_KEPT_NOWHERE) {
        BM_TRY(compute_inputs(c, l, stage, batch, hidden, &input, err));
        BM_TRY(silence(c, batch, &input, err));
    } else {
        const bm_tensor *place = stage == BM_STAGE_O ? &w->attended : &w->gate;
        input = bm_tensor_reshape(place, b->batch.num_tokens, place->cols);
        BM_TRY(bm_kept_take(&l->kept, batch, &input, err));
    }
    BM_TRY(bm_block_stage_output(c->device, &l->block, stage, &b->batch, w, NULL, &input, hidden, err));
done:
    return status;
}

// Brings a batch from the inputs of the stage before to those of this one. BM_NUM_STAGES: to the end of the block.
static bm_status advance(calibration *c, lane *l, bm_stage stage, uint32_t batch, bm_tensor *input, bm_error *err)
{
    const bool finishes = stage > 0 && is_kept(stage - 1);
    bm_status status = BM_OK;
    bm_tensor hidden;
    BM_TRY(bm_stream_acquire(l->stream, batch, &hidden, err));
    if (finishes)
        BM_TRY(finish(c, l, stage - 1, batch, &hidden, err));
    if (stage < BM_NUM_STAGES)
        BM_TRY(compute_inputs(c, l, stage, batch, &hidden, input, err));
    BM_TRY(bm_stream_release(l->stream, batch, &hidden, finishes, err));
done:
    return status;
}

// Shows the inputs of a batch to the method, but for those of sequences that were left out.
static bm_status watch(calibration *c, bm_group *group, uint32_t batch, const bm_tensor *inputs, bm_error *err)
{
    bm_status status = BM_OK;
    span s = first_span(c, batch);
    uint32_t first = 0, count = 0; // rows in a run of good sequences
    bool more;
    do {
        const bool is_bad = c->is_bad[s.sequence] != 0;
        count += is_bad ? 0 : s.count;
        const uint32_t end = s.first + s.count;
        more = next_span(c, batch, &s);
        if ((is_bad || !more) && count > 0) {
            const bm_tensor rows = bm_tensor_rows(&inputs[QUANTIZED], first, count);
            const bm_tensor float_rows = c->watches_both ? bm_tensor_rows(&inputs[FLOAT], first, count) : rows;
            BM_TRY(bm_group_watch(group, &rows, c->watches_both ? &float_rows : NULL, err));
            count = 0;
        }
        if (is_bad)
            first = end;
    } while (more);
done:
    return status;
}

static bm_status step(calibration *c, uint32_t batch, bm_error *err)
{
    return bm_phase_step(c->p->emit->phase, c->lanes[QUANTIZED].stream->batches[batch].batch.num_tokens, err);
}

// ---- one block, stage after stage

static bm_status run_batch(calibration *c, bm_group *group, uint32_t block, bm_stage stage, uint32_t batch,
                           bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor inputs[MAX_LANES] = {{0}};
    bool again = false;
    for (uint32_t l = 0; l < c->num_lanes; l++)
        BM_TRY(advance(c, &c->lanes[l], stage, batch, &inputs[l], err));
    if (stage == BM_NUM_STAGES) {
        BM_TRY(bm_device_wait(c->device, err));
        return step(c, batch, err);
    }
    BM_TRY(look_at_inputs(c, block, stage, batch, inputs, &again, err));
    if (again) { // only for o_proj, where the residual stream is as it was
        for (uint32_t l = 0; l < c->num_lanes; l++)
            BM_TRY(advance(c, &c->lanes[l], stage, batch, &inputs[l], err));
        BM_TRY(look_at_inputs(c, block, stage, batch, inputs, &again, err));
    }
    spend(c, ACTIVATIONS);
    BM_TRY(watch(c, group, batch, inputs, err));
    BM_TRY(bm_device_wait(c->device, err));
    spend(c, STATISTICS);
    for (uint32_t l = 0; l < c->num_lanes && is_kept(stage); l++)
        if (c->lanes[l].kept.place != BM_KEPT_NOWHERE) {
            BM_TRY(silence(c, batch, &inputs[l], err));
            BM_TRY(bm_kept_put(&c->lanes[l].kept, batch, &inputs[l], err));
        }
    BM_TRY(step(c, batch, err));
done:
    return status;
}

static void end_kept(calibration *c)
{
    for (uint32_t l = 0; l < c->num_lanes; l++)
        bm_kept_end(&c->lanes[l].kept);
}

// Where the inputs of a stage are kept until the next pass.
static bm_status begin_kept(calibration *c, bm_stage stage, bm_error *err)
{
    static const char *const files[MAX_LANES] = {"activations.tmp", "float-activations.tmp"};
    const bm_stream *stream = c->lanes[QUANTIZED].stream;
    const bm_model *model = c->p->emit->model;
    const bm_workspace *w = &stream->workspace;
    const bm_tensor *kept = stage == BM_STAGE_O ? &w->attended : &w->gate;
    const uint64_t bytes = stream->num_tokens * kept->cols * bm_dtype_size(kept->dtype) * c->num_lanes;
    bm_status status = BM_OK;
    double operations = 0;
    for (bm_linear_id i = 0; i < BM_NUM_LINEARS; i++) {
        uint32_t out_features, in_features;
        bm_linear_shape(&model->config, i, &out_features, &in_features);
        if (bm_linear_stage(i) == stage - 1)
            operations += c->num_lanes * bm_gemm_operations(stream->num_tokens, out_features, in_features);
    }
    const bm_plan_linear *linear = bm_plan_first(c->p->emit->plan);
    const bm_method_params params = bm_plan_method_params(c->p->emit->plan, linear);
    const uint64_t reserved =
        bm_emit_solving_bytes(c->device) +
        c->p->emit->plan->method->state_bytes(&params, (uint32_t)bm_max_u64(w->gate.cols, kept->cols));
    const bm_kept_place place =
        c->p->forces_place ? c->p->place : bm_memory_place(c->device, bytes, reserved, operations, c->p->folder);
    for (uint32_t l = 0; l < c->num_lanes; l++)
        BM_TRY(bm_kept_begin(&c->lanes[l].kept, c->device, place, stream->num_batches, c->p->folder, files[l], err));
    bm_log_write(c->p->log, BM_LOG_DEBUG, "inputs of %s: %.2f GiB, kept %s",
                 stage == BM_STAGE_O ? "o_proj" : "down_proj", (double)bytes / (1 << 30), bm_kept_place_name(place));
done:
    return status;
}

static bm_status run_stage(calibration *c, uint32_t block, bm_stage stage, bm_error *err)
{
    const bm_stream *stream = c->lanes[QUANTIZED].stream;
    bm_status status = BM_OK;
    bm_group group = {0};
    if (stage < BM_NUM_STAGES)
        BM_TRY(bm_group_begin(&group, c->p->emit, &c->multiplier, block, stage, err));
    if (stage < BM_NUM_STAGES && is_kept(stage))
        BM_TRY(begin_kept(c, stage, err));
    for (uint32_t b = 0; b < stream->num_batches; b++)
        BM_TRY(run_batch(c, &group, block, stage, b, err));
    if (stage > 0 && is_kept(stage - 1))
        end_kept(c);
    spend(c, ACTIVATIONS);
    BM_TRY(bm_group_prepare(&group, c->p->log, err));
    spend(c, FACTORS);
    BM_TRY(bm_group_solve(&group, &c->lanes[QUANTIZED].block, c->num_lanes > FLOAT, c->result, c->p->log, err));
    spend(c, SOLVING);
done:
    bm_group_end(&group);
    return status;
}

static bm_status run_stages(calibration *c, uint32_t block, bm_error *err)
{
    const bool is_last = block + 1 == c->p->emit->model->config.num_hidden_layers;
    bm_status status = BM_OK;
    for (bm_stage stage = 0; stage < BM_NUM_STAGES + (is_last ? 0 : 1) && status == BM_OK; stage++)
        status = run_stage(c, block, stage, err);
    return status;
}

// ---- one block, all stages at once

// All stages of a batch with the float weights of this block.
static bm_status watch_batch(calibration *c, bm_group groups[BM_NUM_STAGES], uint32_t block, uint32_t batch,
                             bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor hidden[MAX_LANES], inputs[MAX_LANES] = {{0}};
    for (uint32_t i = 0; i < c->num_lanes; i++) {
        lane *l = &c->lanes[i];
        BM_TRY(bm_stream_acquire(l->stream, batch, &hidden[i], err));
        if (l->scratch.view.buffer) {
            const bm_tensor copy = bm_tensor_reshape(&l->scratch, hidden[i].rows, hidden[i].cols);
            BM_TRY(bm_tensor_copy(c->device, &hidden[i], &copy, err));
            hidden[i] = copy;
        }
    }
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        bool again = true;
        for (uint32_t round = 0; round < 2 && again; round++) {
            for (uint32_t i = 0; i < c->num_lanes; i++) {
                BM_TRY(silence(c, batch, &hidden[i], err));
                BM_TRY(compute_inputs(c, &c->lanes[i], stage, batch, &hidden[i], &inputs[i], err));
            }
            BM_TRY(look_at_inputs(c, block, stage, batch, inputs, &again, err));
        }
        spend(c, ACTIVATIONS);
        BM_TRY(watch(c, &groups[stage], batch, inputs, err));
        BM_TRY(bm_device_wait(c->device, err));
        spend(c, STATISTICS);
        for (uint32_t i = 0; i < c->num_lanes && is_kept(stage); i++) {
            lane *l = &c->lanes[i];
            BM_TRY(bm_block_stage_output(c->device, &l->block, stage, &l->stream->batches[batch].batch,
                                         &l->stream->workspace, NULL, &inputs[i], &hidden[i], err));
        }
    }
    for (uint32_t i = 0; i < c->num_lanes; i++)
        if (!c->lanes[i].scratch.view.buffer)
            BM_TRY(bm_stream_release(c->lanes[i].stream, batch, &hidden[i], true, err));
    BM_TRY(step(c, batch, err));
done:
    return status;
}

// The quantized lane's residual stream through the block's new weights.
static bm_status forward(calibration *c, uint32_t batch, bm_error *err)
{
    lane *l = &c->lanes[QUANTIZED];
    bm_status status = BM_OK;
    bm_tensor hidden;
    BM_TRY(bm_stream_acquire(l->stream, batch, &hidden, err));
    BM_TRY(bm_block_forward(c->device, &l->block, &l->stream->batches[batch].batch, &l->stream->workspace, NULL,
                            &hidden, err));
    BM_TRY(bm_stream_release(l->stream, batch, &hidden, true, err));
    BM_TRY(bm_device_wait(c->device, err));
    BM_TRY(step(c, batch, err));
done:
    return status;
}

static bm_status run_at_once(calibration *c, uint32_t block, bm_error *err)
{
    const bool is_last = block + 1 == c->p->emit->model->config.num_hidden_layers;
    lane *l = &c->lanes[QUANTIZED];
    bm_status status = BM_OK;
    bm_group groups[BM_NUM_STAGES] = {{0}};
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
        BM_TRY(bm_group_begin(&groups[stage], c->p->emit, &c->multiplier, block, stage, err));
    for (uint32_t b = 0; b < l->stream->num_batches; b++)
        BM_TRY(watch_batch(c, groups, block, b, err));
    spend(c, ACTIVATIONS);
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        BM_TRY(bm_group_prepare(&groups[stage], c->p->log, err));
        spend(c, FACTORS);
        BM_TRY(bm_group_solve(&groups[stage], &l->block, c->num_lanes > FLOAT, c->result, c->p->log, err));
        spend(c, SOLVING);
        bm_group_end(&groups[stage]);
    }
    for (uint32_t b = 0; b < l->stream->num_batches && l->scratch.view.buffer && !is_last; b++)
        BM_TRY(forward(c, b, err));
    spend(c, ACTIVATIONS);
done:
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
        bm_group_end(&groups[stage]);
    return status;
}

// ---- all blocks

// The quantized lane goes on from the float model's residual stream.
static bm_status restart(calibration *c, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t b = 0; b < c->lanes[QUANTIZED].stream->num_batches; b++) {
        bm_tensor from, to;
        BM_TRY(bm_stream_acquire(c->lanes[FLOAT].stream, b, &from, err));
        BM_TRY(bm_stream_acquire(c->lanes[QUANTIZED].stream, b, &to, err));
        BM_TRY(bm_tensor_copy(c->device, &from, &to, err));
        BM_TRY(bm_stream_release(c->lanes[QUANTIZED].stream, b, &to, true, err));
    }
done:
    return status;
}

static void drop_block(calibration *c)
{
    bm_block *block = &c->lanes[QUANTIZED].block, *beside = &c->lanes[FLOAT].block;
    for (bm_linear_id i = 0; i < BM_NUM_LINEARS; i++)
        if (beside->linears[i] && beside->linears[i] != block->linears[i])
            bm_weights_destroy(&beside->linears[i]);
    *beside = (bm_block){0}; // the rest is the quantized one's
    bm_block_destroy(block);
}

static bm_status run_block(calibration *c, uint32_t index, bm_error *err)
{
    const bm_stream_params *p = &c->lanes[QUANTIZED].stream->params;
    bm_status status = BM_OK;
    c->p->emit->phase->report.block = index;
    BM_TRY(bm_block_load(p->model, p->device, index, p->dtype, &c->lanes[QUANTIZED].block, err));
    if (c->num_lanes > FLOAT)
        c->lanes[FLOAT].block = c->lanes[QUANTIZED].block;
    spend(c, LOADING);
    if (c->restarts && index > 0)
        BM_TRY(restart(c, err));
    BM_TRY(arguments_of(c)->true_sequential ? run_stages(c, index, err) : run_at_once(c, index, err));
done:
    end_kept(c);
    drop_block(c);
    return status;
}

bm_dtype bm_calibrate_dtype(const bm_arguments *arguments, const bm_model *model, const bm_device *device)
{
    return arguments->compute_dtype != BM_DTYPE_NONE ? arguments->compute_dtype : bm_model_compute_dtype(model, device);
}

uint32_t bm_calibrate_passes(const bm_arguments *a)
{
    if (a->true_sequential)
        return BM_NUM_STAGES + 1;
    return a->calibration_inputs == BM_INPUTS_FLOAT ? 1 : 2;
}

static bm_status begin(calibration *c, bm_error *err)
{
    const bm_emit_context *emit = c->p->emit;
    const bm_arguments *a = arguments_of(c);
    const bm_method_params params = bm_plan_method_params(emit->plan, bm_plan_first(emit->plan));
    const bool is_float = a->calibration_inputs == BM_INPUTS_FLOAT;
    const bm_stream_params stream = {.model = emit->model,
                                     .device = emit->device,
                                     .dtype = bm_calibrate_dtype(a, emit->model, emit->device),
                                     .sequences = data_of(c)->segments,
                                     .num_sequences = data_of(c)->num_segments,
                                     .phase = "quantize",
                                     .progress = emit->phase->progress};
    bm_status status = BM_OK;
    c->watches_both = emit->plan->method->watches(&params) == BM_WATCHES_BOTH_INPUTS;
    c->num_lanes = c->watches_both || (is_float && a->true_sequential) ? 2 : 1;
    c->restarts = is_float && c->num_lanes > FLOAT;
    bm_multiplier_init(&c->multiplier, c->device);
    c->is_bad = bm_alloc_zero(data_of(c)->num_segments, 1);
    BM_FAIL_IF(!c->is_bad, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < c->num_lanes; i++)
        BM_TRY(bm_stream_create(&stream, &c->lanes[i].stream, err));
    const uint32_t tokens = c->lanes[QUANTIZED].stream->max_tokens;
    c->host_sums = bm_alloc(4 * (uint64_t)tokens, sizeof *c->host_sums);
    BM_FAIL_IF(!c->host_sums, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(c->device, BM_DTYPE_F32, tokens, 4, "row sums", &c->sums, err));
    if (!a->true_sequential && !is_float)
        BM_TRY(bm_tensor_create(c->device, c->lanes[QUANTIZED].stream->hidden_dtype, tokens,
                                emit->model->config.hidden_size, "hidden", &c->lanes[QUANTIZED].scratch, err));
done:
    return status;
}

bm_status bm_calibrate(const bm_calibrate_params *params, bm_quantize_result *result, bm_error *err)
{
    const bm_emit_context *emit = params->emit;
    const uint32_t num_blocks = emit->model->config.num_hidden_layers;
    bm_status status = BM_OK;
    calibration c = {.p = params, .device = emit->device, .result = result, .clock_ns = bm_clock_ns()};
    BM_TRY(bm_block_check_runnable(emit->model, err));
    BM_TRY(begin(&c, err));
    const uint32_t passes = bm_calibrate_passes(emit->arguments);
    emit->phase->report.total = c.lanes[QUANTIZED].stream->num_tokens * (passes * num_blocks - (passes > 1));
    for (uint32_t index = 0; index < num_blocks; index++)
        BM_TRY(run_block(&c, index, err));
done:
    for (uint32_t i = 0; i < MAX_LANES; i++) {
        bm_stream_destroy(&c.lanes[i].stream);
        bm_tensor_destroy(&c.lanes[i].scratch);
    }
    bm_multiplier_free(&c.multiplier);
    bm_tensor_destroy(&c.sums);
    bm_free(c.host_sums);
    bm_free(c.is_bad);
    return status;
}
