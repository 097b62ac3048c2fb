// One block stage after stage: a pass over the batches watches the inputs of a stage, which is solved behind it, so that the
// next pass sees its new weights. What the next pass needs of a batch is kept from one pass to the next.
#include "schedule/calibrate_lanes.h"
#include "schedule/memory_plan.h"

static bm_status run_batch(bm_calibration *c, bm_group *group, uint32_t block, bm_stage stage, uint32_t batch,
                           bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor inputs[BM_MAX_LANES] = {{0}};
    bool again = false;
    bm_calibration_mark(c, BM_PART_ACTIVATIONS);
    for (uint32_t l = 0; l < c->num_lanes; l++)
        BM_TRY(bm_calibration_advance(c, &c->lanes[l], stage, batch, &inputs[l], err));
    if (stage == BM_NUM_STAGES)
        return bm_calibration_step(c, batch, err);
    BM_TRY(bm_bad_sequences_look(c, block, stage, batch, inputs, &again, err));
    if (again) { // only for o_proj, where the residual stream is as it was
        for (uint32_t l = 0; l < c->num_lanes; l++)
            BM_TRY(bm_calibration_advance(c, &c->lanes[l], stage, batch, &inputs[l], err));
        BM_TRY(bm_bad_sequences_look(c, block, stage, batch, inputs, &again, err));
    }
    bm_calibration_mark(c, BM_PART_STATISTICS);
    BM_TRY(bm_calibration_watch(c, group, batch, inputs, err));
    for (uint32_t l = 0; l < c->num_lanes && bm_stage_is_kept(stage); l++)
        if (bm_kept_place_of(&c->lanes[l].kept, batch) != BM_KEPT_NOWHERE) {
            BM_TRY(bm_bad_sequences_silence(c, batch, &inputs[l], err));
            BM_TRY(bm_kept_put(&c->lanes[l].kept, batch, &inputs[l], err));
        }
    BM_TRY(bm_calibration_step(c, batch, err));
done:
    return status;
}

// Where the inputs of a stage are kept until the next pass.
static bm_status begin_kept(bm_calibration *c, bm_stage stage, bm_error *err)
{
    bm_stream *stream = c->lanes[BM_LANE_QUANTIZED].stream;
    const bm_model *model = c->p->emit->model;
    const bm_tensor *kept = bm_stage_kept_matrix(&stream->workspace, stage);
    const uint64_t bytes = stream->num_tokens * kept->cols * bm_dtype_size(kept->dtype) * c->num_lanes;
    bm_status status = BM_OK;
    double operations = 0;
    for (bm_linear_id i = 0; i < BM_NUM_LINEARS; i++) {
        uint32_t out_features, in_features;
        bm_linear_shape(&model->config, i, &out_features, &in_features);
        if (bm_family_has_linear(model->family, i) && bm_linear_stage(i) == stage - 1)
            operations += c->num_lanes * bm_gemm_operations(stream->num_tokens, out_features, in_features);
    }
    uint64_t held = 0;
    for (uint32_t l = 0; l < c->num_lanes; l++)
        held += bm_kept_device_bytes(&c->lanes[l].kept);
    bm_kept_place place = BM_KEPT_DEVICE;
    uint32_t num_first = 0;
    if (held < bytes) {
        for (uint32_t l = 0; l < c->num_lanes; l++)
            bm_kept_end(&c->lanes[l].kept);
        BM_TRY(bm_device_wait(c->device, err)); // their memory is free
        const double rate = bm_gemm_choose_for(c->device, kept->dtype, kept->dtype, BM_USE_MANY_TILES).gflops * 1e9;
        place = bm_memory_place(c->device, bytes, c->kept_room, operations / rate, c->p->folder, c->p->spares_host);
        if (place != BM_KEPT_DEVICE)
            num_first = (uint32_t)bm_min_u64(stream->num_batches,
                                             c->kept_room / (bytes / stream->num_tokens * stream->max_tokens));
    }
    if (c->p->forces_place)
        place = c->p->place;
    for (uint32_t l = 0; l < c->num_lanes; l++)
        BM_TRY(bm_kept_begin(&c->lanes[l].kept, c->device, place, stream->num_batches, num_first, c->p->folder, err));
    bm_log_write(
        c->p->log, BM_LOG_DEBUG, "inputs of %s: %.2f GiB, those of %u of %u batches kept on the device, others %s",
        model->family->layout->linears[stage == BM_STAGE_O ? BM_LINEAR_O : BM_LINEAR_DOWN], (double)bytes / (1 << 30),
        place == BM_KEPT_DEVICE ? stream->num_batches : num_first, stream->num_batches, bm_kept_place_name(place));
done:
    return status;
}

static bm_status run_stage(bm_calibration *c, uint32_t block, bm_stage stage, const bm_equalizer *equalizer,
                           bm_error *err)
{
    const bm_stream *stream = c->lanes[BM_LANE_QUANTIZED].stream;
    bm_status status = BM_OK;
    bm_group group = {0};
    if (stage < BM_NUM_STAGES && bm_stage_is_kept(stage))
        BM_TRY(begin_kept(c, stage, err));
    if (stage < BM_NUM_STAGES)
        BM_TRY(bm_group_begin(&group, c->p->emit, &c->multiplier, block, stage, equalizer, err));
    bm_calibration_begin_pass(c);
    for (uint32_t b = 0; b < stream->num_batches && status == BM_OK; b++)
        status = run_batch(c, &group, block, stage, b, err);
    BM_TRY(bm_calibration_end_pass(c, status, err));
    for (uint32_t l = 0; l < c->num_lanes && stage > 0 && bm_stage_is_kept(stage - 1); l++)
        bm_kept_clear(&c->lanes[l].kept);
    bm_calibration_spend(c, BM_PART_ACTIVATIONS);
    BM_TRY(bm_group_prepare(&group, c->result, c->p->log, err));
    bm_calibration_spend(c, BM_PART_FACTORS);
    BM_TRY(bm_group_solve(&group, &c->lanes[BM_LANE_QUANTIZED].block, c->num_lanes > BM_LANE_FLOAT, c->result,
                          c->p->log, err));
    bm_calibration_spend(c, BM_PART_SOLVING);
done:
    bm_group_end(&group);
    return status;
}

bm_status bm_calibration_run_stages(bm_calibration *c, uint32_t block, const bm_equalizer *equalizer, bm_error *err)
{
    const bool is_last = block + 1 == c->p->emit->model->config.num_hidden_layers;
    bm_status status = BM_OK;
    for (bm_stage stage = 0; stage < BM_NUM_STAGES + (is_last ? 0 : 1) && status == BM_OK; stage++)
        status = run_stage(c, block, stage, equalizer, err);
    return status;
}
