// A block whose inputs are looked at before anything is solved: one pass of the float block over what the quantized lane
// reads (before GPTQ what the blocks in front give as they were quantized, unless calibration_inputs is float), then its folded masters.
#include "schedule/calibrate_lanes.h"

// What the equalizer looks at: inputs of a stage, or the residual stream behind attention or behind the MLP.
typedef struct looking {
    bm_equalizer *equalizer;
    bm_stage stage;
    const bm_tensor *matrix;
} looking;

static bm_status show_equalizer(void *context, const bm_good_rows *run, bm_error *err)
{
    const looking *l = context;
    const bm_tensor rows = bm_tensor_rows(l->matrix, run->first_row, run->num_rows);
    return bm_equalizer_watch(l->equalizer, l->stage, &rows, run->first_sequence, run->num_sequences, err);
}

static bm_status show_residual(void *context, const bm_good_rows *run, bm_error *err)
{
    const looking *l = context;
    const bm_tensor rows = bm_tensor_rows(l->matrix, run->first_row, run->num_rows);
    return bm_equalizer_watch_residual(l->equalizer, l->stage == BM_NUM_STAGES, &rows, run->first_sequence, err);
}

static bm_status look(bm_calibration *c, void *context, bm_stage stage, uint32_t batch, const bm_tensor *inputs,
                      const bm_tensor *hidden, bm_error *err)
{
    bm_status status = BM_OK;
    looking residual = {context, stage, &hidden[BM_LANE_QUANTIZED]};
    if (stage == BM_STAGE_GATE_UP || stage == BM_NUM_STAGES)
        BM_TRY(bm_calibration_show(c, batch, show_residual, &residual, err));
    if (stage < BM_NUM_STAGES) {
        looking l = {context, stage, &inputs[BM_LANE_QUANTIZED]};
        BM_TRY(bm_calibration_show(c, batch, show_equalizer, &l, err));
    }
done:
    return status;
}

bm_status bm_calibration_run_equalized(bm_calibration *c, uint32_t index, bm_error *err)
{
    const bm_emit_context *emit = c->p->emit;
    const bool goes_on = !bm_plan_method_watches(emit->plan) || bm_plan_solves_by_float(emit->plan);
    bm_lane *lane = &c->lanes[BM_LANE_QUANTIZED];
    const uint32_t num_lanes = c->num_lanes;
    bm_status status = BM_OK;
    bm_equalizer e = {0};
    BM_TRY(bm_equalizer_begin(&e, emit, &c->multiplier, index, err));
    bm_read_ahead_drop(c->p->reader, index); // masters have all of it
    bm_block_read_ahead(c->p->reader, emit->model, index + 1);
    BM_TRY(bm_masters_make_block(c->device, &e.masters, lane->stream->params.dtype, &lane->block, err));
    e.stream = lane->stream;
    e.scratch = &lane->block;
    bm_calibration_spend(c, BM_PART_LOADING);
    c->num_lanes = 1; // the float model is not looked at
    BM_TRY(bm_calibration_passes(c, index, !goes_on, look, &e, err));
    c->num_lanes = num_lanes;
    BM_TRY(bm_equalizer_finish(&e, c->result, c->p->log, err));
    bm_calibration_spend(c, BM_PART_EQUALIZING);
    if (goes_on) { // the float model's residual stream is at the next block
        if (lane->stream->params.dtype != BM_DTYPE_F32)
            bm_block_destroy(&lane->block);
        BM_TRY(bm_equalizer_solve(&e, &lane->block, c->result, c->p->log, err));
        bm_calibration_spend(c, BM_PART_SOLVING);
        goto done;
    }
    BM_TRY(bm_masters_make_block(c->device, &e.masters, lane->stream->params.dtype, &lane->block, err));
    if (c->num_lanes > BM_LANE_FLOAT) // folds leave what it computes as it is
        c->lanes[BM_LANE_FLOAT].block = lane->block;
    BM_TRY(c->arguments->true_sequential ? bm_calibration_run_stages(c, index, &e, err)
                                         : bm_calibration_run_at_once(c, index, &e, err));
done:
    c->num_lanes = num_lanes;
    bm_equalizer_end(&e);
    return status;
}
