// The driver of methods that watch: block after block, with what goes from one to the next.
#include "schedule/calibrate.h"

#include "schedule/calibrate_lanes.h"
#include "schedule/memory_claims.h"
#include "schedule/memory_plan.h"

// The quantized lane goes on from the float model's residual stream.
static bm_status restart(bm_calibration *c, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t b = 0; b < c->lanes[BM_LANE_QUANTIZED].stream->num_batches; b++) {
        bm_tensor from, to;
        BM_TRY(bm_stream_acquire(c->lanes[BM_LANE_FLOAT].stream, b, &from, err));
        BM_TRY(bm_stream_acquire(c->lanes[BM_LANE_QUANTIZED].stream, b, &to, err));
        BM_TRY(bm_tensor_copy(c->device, &from, &to, err));
        BM_TRY(bm_stream_release(c->lanes[BM_LANE_QUANTIZED].stream, b, &to, true, err));
    }
done:
    return status;
}

static void drop_block(bm_calibration *c)
{
    bm_block *block = &c->lanes[BM_LANE_QUANTIZED].block, *beside = &c->lanes[BM_LANE_FLOAT].block;
    for (bm_linear_id i = 0; i < BM_NUM_LINEARS; i++)
        if (beside->linears[i] && beside->linears[i] != block->linears[i])
            bm_weights_destroy(&beside->linears[i]);
    *beside = (bm_block){0}; // the rest is the quantized one's
    bm_block_destroy(block);
}

static bm_status run_block(bm_calibration *c, uint32_t index, bm_error *err)
{
    const bm_stream_params *p = &c->lanes[BM_LANE_QUANTIZED].stream->params;
    bm_status status = BM_OK;
    c->p->emit->phase->report.block = index;
    if (c->result->timeline)
        c->result->timeline->block = (int32_t)index;
    if (c->restarts && index > c->p->first_block)
        BM_TRY(restart(c, err));
    if (c->p->emit->plan->equalizes) {
        BM_TRY(bm_calibration_run_equalized(c, index, err));
        goto done;
    }
    BM_TRY(bm_block_load(p->model, p->device, index, p->dtype, &c->lanes[BM_LANE_QUANTIZED].block, err));
    bm_block_read_ahead(c->p->reader, p->model, index + 1);
    if (c->num_lanes > BM_LANE_FLOAT)
        c->lanes[BM_LANE_FLOAT].block = c->lanes[BM_LANE_QUANTIZED].block;
    bm_calibration_spend(c, BM_PART_LOADING);
    BM_TRY(c->arguments->true_sequential ? bm_calibration_run_stages(c, index, NULL, err)
                                         : bm_calibration_run_at_once(c, index, NULL, err));
done:
    bm_read_ahead_drop(c->p->reader, index); // rows were read from there for the last time
    drop_block(c);
    return status;
}

bm_dtype bm_calibrate_dtype(const bm_arguments *arguments, const bm_model *model, const bm_device *device)
{
    return arguments->compute_dtype != BM_DTYPE_NONE ? arguments->compute_dtype : bm_model_compute_dtype(model, device);
}

uint32_t bm_calibrate_passes(const bm_plan *plan, const bm_arguments *a)
{
    if (!bm_plan_method_watches(plan) || bm_plan_solves_by_float(plan))
        return 1;
    const uint32_t first = plan->equalizes ? 1 : 0;
    if (a->true_sequential)
        return first + BM_NUM_STAGES + 1;
    return first + (a->calibration_inputs == BM_INPUTS_FLOAT ? 1 : 2);
}

// What the parts of the run will take of the device's memory, beside what is kept between passes.
static void say_memory(const bm_calibration *c, const bm_stream_params *stream, uint64_t states)
{
    const bm_stream *s = c->lanes[BM_LANE_QUANTIZED].stream;
    const uint64_t row = (uint64_t)stream->model->config.hidden_size * bm_dtype_size(s->hidden_dtype);
    const uint64_t tokens = s->place == BM_KEPT_DEVICE ? s->num_tokens : s->max_tokens;
    const uint64_t parts[] = {bm_block_bytes(stream->model, c->device, 0, stream->dtype), c->num_lanes * tokens * row,
                              c->num_lanes * s->max_tokens * bm_workspace_bytes_per_token(stream->model, stream->dtype),
                              states, bm_emit_solving_bytes(c->device)};
    uint64_t all = 0;
    for (size_t i = 0; i < BM_COUNT(parts); i++)
        all += parts[i];
    bm_log_write(
        c->p->log, BM_LOG_DEBUG,
        "device memory: a block %.3f GB, residual stream %.3f, work on %u tokens %.3f, what the method watches "
        "%.3f, rows that are solved at most %.3f; together %.3f of %.3f",
        (double)parts[0] / 1e9, (double)parts[1] / 1e9, s->max_tokens, (double)parts[2] / 1e9, (double)parts[3] / 1e9,
        (double)parts[4] / 1e9, (double)all / 1e9, (double)bm_device_get_info(c->device)->limits.memory_bytes / 1e9);
}

void bm_calibrate_shape(const bm_emit_context *emit, bm_calibration_shape *out)
{
    const bm_plan *plan = emit->plan;
    const bm_arguments *a = emit->arguments;
    const bm_calibration_data *data = &plan->calibration;
    const bool is_float = a->calibration_inputs == BM_INPUTS_FLOAT;
    bm_calibration_shape s = {.dtype = bm_calibrate_dtype(a, emit->model, emit->device),
                              .watches_both = plan->method->watches(&plan->params) == BM_WATCHES_BOTH_INPUTS,
                              .one_pass =
                                  plan->equalizes && (!bm_plan_method_watches(plan) || bm_plan_solves_by_float(plan)),
                              .solving_bytes = bm_emit_solving_bytes(emit->device)};
    s.num_lanes = !s.one_pass && (s.watches_both || (is_float && a->true_sequential)) ? 2 : 1;
    s.restarts = is_float && s.num_lanes > 1;
    s.copies_stream = (!a->true_sequential && !is_float) || (plan->equalizes && !s.one_pass);
    s.batch_tokens = bm_stream_batch_tokens(emit->model, emit->device, s.dtype, data->segments, data->num_segments,
                                            plan->batch_tokens);
    s.sums_bytes = 4 * sizeof(float) * bm_bad_sequences_rows(emit->device, s.batch_tokens);
    s.state_bytes = bm_memory_state_bytes(emit->device, plan, !a->true_sequential, s.batch_tokens) +
                    (plan->equalizes ? bm_equalizer_bytes(emit, s.batch_tokens) : 0);
    s.stream_bytes = bm_memory_stream_bytes(emit->device, s.num_lanes, s.state_bytes + s.solving_bytes);
    *out = s;
}

static bm_status begin(bm_calibration *c, bm_error *err)
{
    const bm_emit_context *emit = c->p->emit;
    const bm_arguments *a = c->arguments;
    const bool is_float = a->calibration_inputs == BM_INPUTS_FLOAT;
    bm_calibration_shape shape;
    bm_calibrate_shape(emit, &shape);
    bm_stream_params stream = {.model = emit->model,
                               .device = emit->device,
                               .dtype = shape.dtype,
                               .hidden_budget = shape.stream_bytes,
                               .folder = c->p->spares_host ? c->p->folder : NULL,
                               .max_batch_tokens = shape.batch_tokens,
                               .sequences = c->data->segments,
                               .num_sequences = c->data->num_segments,
                               .phase = "quantize",
                               .progress = emit->phase->progress};
    bm_status status = BM_OK;
    c->watches_both = shape.watches_both;
    c->num_lanes = shape.num_lanes;
    c->restarts = shape.restarts;
    c->goes_on_later = !a->true_sequential && !is_float;
    c->kept_room = bm_memory_claims_kept_room(emit);
    bm_multiplier_init(&c->multiplier, c->device);
    c->multiplier.phase = emit->phase;
    c->is_bad = bm_alloc_zero(c->data->num_segments, 1);
    BM_FAIL_IF(!c->is_bad, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < c->num_lanes; i++)
        BM_TRY(bm_stream_create(&stream, &c->lanes[i].stream, err));
    bm_log_write(c->p->log, BM_LOG_DEBUG, "residual stream: kept %s; %.2f GiB for what the method watches",
                 bm_kept_place_name(c->lanes[BM_LANE_QUANTIZED].stream->place), (double)shape.state_bytes / (1 << 30));
    say_memory(c, &stream, shape.state_bytes);
    const uint32_t tokens = c->lanes[BM_LANE_QUANTIZED].stream->max_tokens;
    const uint64_t rows = bm_bad_sequences_rows(c->device, tokens);
    c->host_sums = bm_alloc(4 * rows, sizeof *c->host_sums);
    BM_FAIL_IF(!c->host_sums, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(c->device, BM_DTYPE_F32, rows, 4, "row sums", &c->sums, err));
    if (shape.copies_stream)
        BM_TRY(bm_tensor_create(c->device, c->lanes[BM_LANE_QUANTIZED].stream->hidden_dtype, tokens,
                                emit->model->config.hidden_size, "hidden", &c->lanes[BM_LANE_QUANTIZED].scratch, err));
done:
    return status;
}

bm_status bm_calibrate(const bm_calibrate_params *params, bm_quantize_result *result, bm_error *err)
{
    const bm_emit_context *emit = params->emit;
    const uint32_t num_blocks = params->num_blocks ? params->num_blocks : emit->model->config.num_hidden_layers;
    bm_status status = BM_OK;
    bm_calibration c = {.p = params,
                        .arguments = emit->arguments,
                        .data = &emit->plan->calibration,
                        .device = emit->device,
                        .result = result};
    result->num_sequences = c.data->num_segments;
    result->num_solving_sequences = bm_plan_solving_segments(emit->plan, emit->arguments);
    result->key_of_tokens = bm_plan_key_of_tokens(emit->plan, emit->arguments);
    BM_TRY(bm_block_check_runnable(emit->model, err));
    BM_TRY(begin(&c, err));
    bm_calibration_spend(&c, BM_PART_EMBEDDING);
    const uint32_t passes = bm_calibrate_passes(emit->plan, emit->arguments);
    const bool last_is_shorter = passes > 1 && (emit->arguments->true_sequential || c.goes_on_later);
    emit->phase->report.total = c.lanes[BM_LANE_QUANTIZED].stream->num_tokens * (passes * num_blocks - last_is_shorter);
    for (uint32_t index = 0; index < num_blocks; index++)
        BM_TRY(run_block(&c, params->first_block + index, err));
done:
    for (uint32_t i = 0; i < BM_MAX_LANES; i++) {
        bm_kept_end(&c.lanes[i].kept);
        bm_stream_destroy(&c.lanes[i].stream);
        bm_tensor_destroy(&c.lanes[i].scratch);
    }
    bm_multiplier_free(&c.multiplier);
    bm_tensor_destroy(&c.sums);
    bm_free(c.host_sums);
    bm_free(c.is_bad);
    return status;
}
