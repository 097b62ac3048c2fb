// Between the files of a calibration (calibrate.h) alone: what they share, and the steps that both ways through a block
// (calibrate_stages.c, calibrate_at_once.c) are made of.
#ifndef BM_SCHEDULE_CALIBRATE_LANES_H
#define BM_SCHEDULE_CALIBRATE_LANES_H

#include "infer/stream.h"
#include "schedule/calibrate.h"
#include "schedule/equalize.h"
#include "schedule/group.h"

// What passes through the model: the quantized one, and beside it, if the method watches both, the float one.
enum { BM_LANE_QUANTIZED = 0, BM_LANE_FLOAT = 1, BM_MAX_LANES = 2 };

typedef struct bm_lane {
    bm_stream *stream;
    bm_block block;      // of the float lane: shares with the quantized one what is not solved
    bm_kept kept;        // inputs of o_proj or of down_proj, from one pass to the next
    bm_tensor scratch;   // [tokens of a batch, hidden_size]: a residual stream that will be needed once more
    bool works_in_place; // all stages of a batch pass through the memory of its residual stream now
} bm_lane;

// What time goes to.
typedef enum bm_calibration_part {
    BM_PART_EMBEDDING, // streams, too; once
    BM_PART_LOADING,
    BM_PART_ACTIVATIONS,
    BM_PART_STATISTICS,
    BM_PART_EQUALIZING,
    BM_PART_FACTORS,
    BM_PART_SOLVING,
    BM_NUM_PARTS
} bm_calibration_part;

// A look at a matrix for what is not finite: its row sums are on the device, and looked at on the host later.
typedef struct bm_look {
    uint32_t block, batch, row; // row: of bm_calibration's sums
    bm_stage stage;
    bool is_value; // at what attention adds up, beside the inputs of o_proj that come of it
} bm_look;

// What of a pass is recorded and not waited for.
#define BM_MAX_BATCHES_AHEAD 32
#define BM_MAX_LOOKS_OF_BATCH ((BM_NUM_STAGES + 1) * BM_MAX_LANES)
typedef struct bm_pace {
    uint32_t num_batches, most_batches; // most: the pace
    uint64_t num_tokens, begin_ns;
    uint8_t parts[BM_MAX_TIMESTAMPS]; // what begins at each mark
    uint32_t num_marks;
    bool has_no_times; // the device gives none
    bm_look looks[BM_MAX_BATCHES_AHEAD * BM_MAX_LOOKS_OF_BATCH];
    uint32_t num_looks, num_rows; // num_rows: of sums that are taken
} bm_pace;

typedef struct bm_calibration {
    const bm_calibrate_params *p;
    const bm_arguments *arguments;
    const bm_calibration_data *data;
    bm_device *device;
    bm_quantize_result *result;
    bm_multiplier multiplier;
    bm_lane lanes[BM_MAX_LANES];
    uint32_t num_lanes;
    bool watches_both;
    bool goes_on_later; // without true_sequential: blocks go on from what the quantized one gives, in a pass of its own
    bool restarts;      // each block begins with the float model's activations (calibration_inputs float)
    uint64_t kept_room; // of the device, for what lanes keep
    bm_tensor sums;     // [rows of looks, 4]
    float *host_sums;
    uint8_t *is_bad; // [sequences]: left out
    bm_pace pace;
} bm_calibration;

// ---- calibrate_lanes.c

// What has passed since the last call went to this part.
void bm_calibration_spend(bm_calibration *c, bm_calibration_part part);
const char *bm_calibration_part_name(const bm_calibration *c, bm_calibration_part part);
// Stages whose inputs come from more than a norm.
bool bm_stage_is_kept(bm_stage stage);
// Of such a stage: the matrix of the workspace that holds its inputs, [tokens of the largest batch, channels].
bm_tensor *bm_stage_kept_matrix(bm_workspace *w, bm_stage stage);
// Inputs of a stage whose residual stream is as it was in front of the stage (before, for o_proj, of q, k and v).
//
//   hidden  [tokens of the batch, hidden_size] the residual stream; written for the stages that are kept
//   input   set to memory of the lane's workspace, which the next call overwrites, or of what it keeps
bm_status bm_calibration_compute_inputs(bm_calibration *c, bm_lane *l, bm_stage stage, uint32_t batch,
                                        const bm_tensor *hidden, bm_tensor *input, bm_error *err);
// Brings a batch from the inputs of the stage before to those of this one. BM_NUM_STAGES: to the end of the block.
bm_status bm_calibration_advance(bm_calibration *c, bm_lane *l, bm_stage stage, uint32_t batch, bm_tensor *input,
                                 bm_error *err);

// ---- calibrate_pace.c: passes over the batches

void bm_calibration_begin_pass(bm_calibration *c);
// What is recorded from here on belongs to this part, BM_PART_ACTIVATIONS or BM_PART_STATISTICS.
void bm_calibration_mark(bm_calibration *c, bm_calibration_part part);
// A batch is recorded. Behind some of them, and behind the last, the device is waited for, looks are settled, time is
// spent and progress told. Errors: those of kernels and looks; BM_E_CANCELLED.
bm_status bm_calibration_step(bm_calibration *c, uint32_t batch, bm_error *err);
// Returns the pass's status, or a better error than that.
bm_status bm_calibration_end_pass(bm_calibration *c, bm_status status, bm_error *err);

// ---- bad_sequences.c

// Looks at the inputs of a stage. Where a bad sequence ends the run, it is found when looks are settled. With
// skip_bad_sequences the device is waited for: sequences that are newly found bad are left out; *again: other sequences of
// the batch may have met their values, which is so behind attention, and the inputs must be computed anew.
//
//   inputs  [num_lanes] of the batch
//
// Errors   BM_E_NUMERIC that names the sequence, unless skip_bad_sequences; and where no sequence is left.
bm_status bm_bad_sequences_look(bm_calibration *c, uint32_t block, bm_stage stage, uint32_t batch,
                                const bm_tensor *inputs, bool *again, bm_error *err);
// Waits for the device and looks at what the looks so far have found. Errors: as above; those of kernels.
bm_status bm_bad_sequences_settle(bm_calibration *c, bm_error *err);
bool bm_bad_sequences_has_room(const bm_calibration *c);                        // for the looks of one more batch
uint64_t bm_bad_sequences_rows(const bm_device *device, uint32_t batch_tokens); // of sums, in one buffer
// Zeros in the rows of sequences that were left out: what is not finite must not meet other sequences' zero weights in
// attention, which reads rows in tiles.
bm_status bm_bad_sequences_silence(bm_calibration *c, uint32_t batch, const bm_tensor *matrix, bm_error *err);
// Rows of sequences that follow one another in a batch and were not left out.
typedef struct bm_good_rows {
    uint32_t first_row, num_rows, first_sequence, num_sequences;
} bm_good_rows;
typedef bm_status bm_show_rows(void *context, const bm_good_rows *rows, bm_error *err);
bm_status bm_calibration_show(bm_calibration *c, uint32_t batch, bm_show_rows *show, void *context, bm_error *err);
// Shows the inputs of a batch to the method, but for those of sequences that were left out.
//
//   inputs  [num_lanes] of the batch
bm_status bm_calibration_watch(bm_calibration *c, bm_group *group, uint32_t batch, const bm_tensor *inputs,
                               bm_error *err);

// ---- the two ways through a block

// equalizer: of this block, finished; NULL: it is solved as it is in the checkpoint.
bm_status bm_calibration_run_stages(bm_calibration *c, uint32_t block, const bm_equalizer *equalizer, bm_error *err);
bm_status bm_calibration_run_at_once(bm_calibration *c, uint32_t block, const bm_equalizer *equalizer, bm_error *err);
// Of each batch, all stages with the lanes' weights as they are, one after the other, and look at the inputs of each; then once more
// with BM_NUM_STAGES and no inputs, at the end of the block.
//
//   hidden [num_lanes]  the residual streams as they are in front of the stage
//   keeps  the quantized lane's residual stream stays what it was; else it goes on to the next block
typedef bm_status bm_look_at_inputs(bm_calibration *c, void *context, bm_stage stage, uint32_t batch,
                                    const bm_tensor *inputs, const bm_tensor *hidden, bm_error *err);
bm_status bm_calibration_passes(bm_calibration *c, uint32_t block, bool keeps, bm_look_at_inputs *look, void *context,
                                bm_error *err);

// ---- calibrate_equalize.c: a block whose inputs are looked at before anything is solved

bm_status bm_calibration_run_equalized(bm_calibration *c, uint32_t index, bm_error *err);

#endif
