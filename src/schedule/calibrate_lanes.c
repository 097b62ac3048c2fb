// What the parts of a calibration share, and one batch's way from the inputs of a stage to those of the next.
#include "schedule/calibrate_lanes.h"

const char *bm_calibration_part_name(const bm_calibration *c, bm_calibration_part part)
{
    static const char *const names[BM_NUM_PARTS] = {
        "embed", "load blocks", "run blocks", "watch inputs", "shift and smooth", "factor", "solve"};
    const bool is_awq = part == BM_PART_EQUALIZING && bm_job_scales_by_awq(c->arguments);
    return is_awq ? "AWQ" : names[part];
}

void bm_calibration_spend(bm_calibration *c, bm_calibration_part part)
{
    bm_quantize_result_spend(c->result, bm_calibration_part_name(c, part));
}

bool bm_stage_is_kept(bm_stage stage)
{
    return stage == BM_STAGE_O || stage == BM_STAGE_DOWN;
}

bm_tensor *bm_stage_kept_matrix(bm_workspace *w, bm_stage stage)
{
    return stage == BM_STAGE_O ? &w->attended : &w->gate;
}

bm_status bm_calibration_compute_inputs(bm_calibration *c, bm_lane *l, bm_stage stage, uint32_t batch,
                                        const bm_tensor *hidden, bm_tensor *input, bm_error *err)
{
    const bm_batch *b = &l->stream->batches[batch].batch;
    bm_workspace w = l->stream->workspace;
    bm_status status = BM_OK;
    if (bm_stage_is_kept(stage)) {
        bm_tensor *place = bm_stage_kept_matrix(&w, stage), before;
        const bm_tensor own = bm_tensor_reshape(place, b->num_tokens, place->cols);
        BM_TRY(bm_kept_slot(&l->kept, batch, &own, place, err));
        BM_TRY(bm_block_stage_input(c->device, &l->block, stage - 1, b, &w, hidden, &before, err));
        BM_TRY(bm_block_stage_output(c->device, &l->block, stage - 1, b, &w, NULL, &before, hidden, err));
    }
    BM_TRY(bm_block_stage_input(c->device, &l->block, stage, b, &w, hidden, input, err));
done:
    return status;
}

// Adds o_proj's or down_proj's output to the residual stream.
static bm_status finish(bm_calibration *c, bm_lane *l, bm_stage stage, uint32_t batch, const bm_tensor *hidden,
                        bm_error *err)
{
    const bm_stream_batch *b = &l->stream->batches[batch];
    bm_workspace *w = &l->stream->workspace;
    bm_status status = BM_OK;
    bm_tensor input;
    if (bm_kept_place_of(&l->kept, batch) == BM_KEPT_NOWHERE) {
        BM_TRY(bm_calibration_compute_inputs(c, l, stage, batch, hidden, &input, err));
        BM_TRY(bm_bad_sequences_silence(c, batch, &input, err));
    } else {
        const bm_tensor *place = bm_stage_kept_matrix(w, stage);
        const bm_tensor own = bm_tensor_reshape(place, b->batch.num_tokens, place->cols);
        BM_TRY(bm_kept_take(&l->kept, batch, &own, &input, err));
    }
    BM_TRY(bm_block_stage_output(c->device, &l->block, stage, &b->batch, w, NULL, &input, hidden, err));
done:
    return status;
}

bm_status bm_calibration_advance(bm_calibration *c, bm_lane *l, bm_stage stage, uint32_t batch, bm_tensor *input,
                                 bm_error *err)
{
    const bool finishes = stage > 0 && bm_stage_is_kept(stage - 1);
    bm_status status = BM_OK;
    bm_tensor hidden;
    BM_TRY(bm_stream_acquire(l->stream, batch, &hidden, err));
    if (finishes)
        BM_TRY(finish(c, l, stage - 1, batch, &hidden, err));
    if (stage < BM_NUM_STAGES)
        BM_TRY(bm_calibration_compute_inputs(c, l, stage, batch, &hidden, input, err));
    BM_TRY(bm_stream_release(l->stream, batch, &hidden, finishes, err));
done:
    return status;
}
