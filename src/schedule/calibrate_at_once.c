// One block with all stages at once (without true_sequential): one pass watches every stage's inputs as the block's float
// weights make them; then all are solved, and, unless blocks go on from the float model, a pass goes on to the next block.
#include "schedule/calibrate_lanes.h"

static bm_status pass(bm_calibration *c, uint32_t block, uint32_t batch, bool keeps, bm_look_at_inputs *look,
                      void *context, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor hidden[BM_MAX_LANES], inputs[BM_MAX_LANES] = {{0}};
    for (uint32_t i = 0; i < c->num_lanes; i++) {
        bm_lane *l = &c->lanes[i];
        l->works_in_place = !keeps || i != BM_LANE_QUANTIZED;
        BM_TRY(bm_stream_acquire(l->stream, batch, &hidden[i], err));
        if (!l->works_in_place) {
            const bm_tensor copy = bm_tensor_reshape(&l->scratch, hidden[i].rows, hidden[i].cols);
            BM_TRY(bm_tensor_copy(c->device, &hidden[i], &copy, err));
            hidden[i] = copy;
        }
    }
    bm_calibration_mark(c, BM_PART_ACTIVATIONS);
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        bool again = true;
        for (uint32_t round = 0; round < 2 && again; round++) {
            for (uint32_t i = 0; i < c->num_lanes; i++) {
                BM_TRY(bm_bad_sequences_silence(c, batch, &hidden[i], err));
                BM_TRY(bm_calibration_compute_inputs(c, &c->lanes[i], stage, batch, &hidden[i], &inputs[i], err));
            }
            BM_TRY(bm_bad_sequences_look(c, block, stage, batch, inputs, &again, err));
        }
        bm_calibration_mark(c, BM_PART_STATISTICS);
        BM_TRY(look(c, context, stage, batch, inputs, hidden, err));
        bm_calibration_mark(c, BM_PART_ACTIVATIONS);
        for (uint32_t i = 0; i < c->num_lanes && bm_stage_is_kept(stage); i++) {
            bm_lane *l = &c->lanes[i];
            BM_TRY(bm_block_stage_output(c->device, &l->block, stage, &l->stream->batches[batch].batch,
                                         &l->stream->workspace, NULL, &inputs[i], &hidden[i], err));
        }
    }
    BM_TRY(look(c, context, BM_NUM_STAGES, batch, NULL, hidden, err));
    for (uint32_t i = 0; i < c->num_lanes; i++)
        if (c->lanes[i].works_in_place)
            BM_TRY(bm_stream_release(c->lanes[i].stream, batch, &hidden[i], true, err));
    BM_TRY(bm_calibration_step(c, batch, err));
done:
    for (uint32_t i = 0; i < c->num_lanes; i++)
        c->lanes[i].works_in_place = false;
    return status;
}

bm_status bm_calibration_passes(bm_calibration *c, uint32_t block, bool keeps, bm_look_at_inputs *look, void *context,
                                bm_error *err)
{
    bm_status status = BM_OK;
    bm_calibration_begin_pass(c);
    for (uint32_t b = 0; b < c->lanes[BM_LANE_QUANTIZED].stream->num_batches && status == BM_OK; b++)
        status = pass(c, block, b, keeps, look, context, err);
    return bm_calibration_end_pass(c, status, err);
}

static bm_status watch_groups(bm_calibration *c, void *context, bm_stage stage, uint32_t batch, const bm_tensor *inputs,
                              const bm_tensor *hidden, bm_error *err)
{
    bm_group *groups = context;
    (void)hidden;
    if (stage == BM_NUM_STAGES)
        return BM_OK;
    return bm_calibration_watch(c, &groups[stage], batch, inputs, err);
}

// The quantized lane's residual stream through the block's new weights.
static bm_status forward(bm_calibration *c, uint32_t batch, bm_error *err)
{
    bm_lane *l = &c->lanes[BM_LANE_QUANTIZED];
    bm_status status = BM_OK;
    bm_tensor hidden;
    bm_calibration_mark(c, BM_PART_ACTIVATIONS);
    BM_TRY(bm_stream_acquire(l->stream, batch, &hidden, err));
    BM_TRY(bm_block_forward(c->device, &l->block, &l->stream->batches[batch].batch, &l->stream->workspace, NULL,
                            &hidden, err));
    BM_TRY(bm_stream_release(l->stream, batch, &hidden, true, err));
    BM_TRY(bm_calibration_step(c, batch, err));
done:
    return status;
}

bm_status bm_calibration_run_at_once(bm_calibration *c, uint32_t block, const bm_equalizer *equalizer, bm_error *err)
{
    const bool is_last = block + 1 == c->p->emit->model->config.num_hidden_layers;
    bm_lane *l = &c->lanes[BM_LANE_QUANTIZED];
    bm_status status = BM_OK;
    bm_group groups[BM_NUM_STAGES] = {{0}};
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
        BM_TRY(bm_group_begin(&groups[stage], c->p->emit, &c->multiplier, block, stage, equalizer, err));
    BM_TRY(bm_calibration_passes(c, block, c->goes_on_later, watch_groups, groups, err));
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        BM_TRY(bm_group_prepare(&groups[stage], c->result, c->p->log, err));
        bm_calibration_spend(c, BM_PART_FACTORS);
        BM_TRY(bm_group_solve(&groups[stage], &l->block, c->num_lanes > BM_LANE_FLOAT, c->result, c->p->log, err));
        bm_calibration_spend(c, BM_PART_SOLVING);
        bm_group_end(&groups[stage]);
    }
    bm_calibration_begin_pass(c);
    for (uint32_t b = 0; b < l->stream->num_batches && c->goes_on_later && !is_last; b++)
        BM_TRY(forward(c, b, err));
done:
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
        bm_group_end(&groups[stage]);
    return status;
}
