// Methods that watch: calibration sequences pass through the model block by block, stage by stage.
//
// In a block, pass s over the batches finishes stage s - 1 with its new weights and shows the inputs of stage s to the
// method; behind the pass the stage is solved. So each linear runs once a batch, and each stage is watched as the run will
// see it. Between two passes a batch keeps its residual stream and, where the next pass needs them, the inputs of o_proj or
// of down_proj; the inputs of the other stages are norms, which cost next to nothing. Without true_sequential one pass
// watches all stages of a block.
//
// A method that watches the float model's inputs beside those of the quantized one has a second stream, in lockstep.
#ifndef BM_SCHEDULE_CALIBRATE_H
#define BM_SCHEDULE_CALIBRATE_H

#include "infer/kept.h"
#include "schedule/emit.h"
#include "schedule/run.h"

typedef struct bm_calibrate_params {
    const bm_emit_context *emit; // its plan has calibration data
    bm_read_ahead *reader;       // of the model's checkpoint, asked for the first block; NULL: nothing is read ahead
    uint32_t first_block, num_blocks; // some alone, for a trial, on embeddings; 0: all
    const char *folder;               // for a file of activations, where memory does not take them
    bool spares_host;                 // as the budget says (memory_budget.h)
    bool forces_place;                // tests: place is where they are kept
    bm_kept_place place;
    const bm_log *log;
} bm_calibrate_params;

// The storage type of weights and activations while they are watched.
bm_dtype bm_calibrate_dtype(const bm_arguments *arguments, const bm_model *model, const bm_device *device);

// What a calibration will be made of, decided before it begins.
typedef struct bm_calibration_shape {
    bm_dtype dtype;
    bool watches_both;  // inputs of the float model beside those of the quantized one
    bool one_pass;      // equalizes, and solves by the inputs that it looked at for that
    bool copies_stream; // of a batch, where its residual stream is needed once more
    bool restarts;      // each block begins with the float model's activations (calibration_inputs float)
    uint32_t num_lanes;
    uint32_t batch_tokens;  // at most, or a sequence that is longer
    uint64_t state_bytes;   // device memory of what the method and what equalizes watch
    uint64_t stream_bytes;  // that the residual stream of a lane may take on the device
    uint64_t solving_bytes; // device memory for rows that are solved
    uint64_t sums_bytes;    // of row sums, by which what is not finite is found
} bm_calibration_shape;
void bm_calibrate_shape(const bm_emit_context *emit, bm_calibration_shape *out);

// Passes over the batches for each block but the last, which needs no pass that only goes on to the next.
uint32_t bm_calibrate_passes(const bm_plan *plan, const bm_arguments *arguments);

// Solves and writes every linear that the plan quantizes, adds a record for each to result, and counts there the sequences
// that were left out.
//
// A sequence whose activations are not finite at the inputs of some stage is an error that names it, or, with
// skip_bad_sequences, is left out from there on; the others are not touched by it.
// Errors   BM_E_NUMERIC for that; those of the method, of reading, writing and of the device; BM_E_CANCELLED.
bm_status bm_calibrate(const bm_calibrate_params *params, bm_quantize_result *result, bm_error *err);

#endif
