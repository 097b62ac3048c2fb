// Whole runs of small models for tests of AWQ: what a run decided, what it wrote, and what the float model's linears read.
#ifndef BM_TESTS_AWQ_RUN_H
#define BM_TESTS_AWQ_RUN_H

#include "schedule/run.h"
#include "support/model_maker.h"

extern bm_device *awq_device; // of runs that name none, and of everything that is computed beside them

typedef struct awq_run {
    const char *folder, *data; // a file of the folder; NULL: ids.jsonl
    const char *keys;          // of the parameter file, from the job on
    bm_device *device;         // NULL: awq_device
    const bm_method *method;   // NULL: the plan's
    char *output;              // the checkpoint
    bm_arguments *arguments;
    bm_model *model; // that was quantized
    bm_plan *plan;
    bm_quantize_result result;
    bm_string log; // its warnings, one a line
    char *parent;
} awq_run;

// Seven sequences of ids, of which two are a step, and a model of 2 blocks: 64 channels, 4 heads over 2, 96 between gate and down.
// Two channels of the residual stream are large.
model_maker_params awq_model(void);
char *awq_model_write(const model_maker_params *params); // the folder

// End with awq_run_end, also after an error. The first ends with a plan and its data: nothing is quantized.
bm_status awq_run_plan(awq_run *run, bm_error *err);
bm_status awq_run_quantize(awq_run *run, bm_error *err);
void awq_run_must(awq_run *run); // fails the test where the run does not work
void awq_run_end(awq_run *run);
// The record of a block's stage.
const bm_stage_record *awq_run_stage(const awq_run *run, uint32_t block, bm_stage stage);
// Whether a note of the arguments or of the plan has these words.
bool awq_run_notes(const awq_run *run, const char *words);

// Tokens of the first steps.
uint64_t awq_run_tokens(const awq_run *run, int64_t steps);

// Numbers of a tensor of a checkpoint; bm_free them. A tensor that is not there fails the test.
float *awq_read(const char *folder, const char *name, uint64_t *count);
void awq_scale_tensor(const char *folder, const char *name, int64_t row, int64_t col, uint64_t cols, float factor);
void awq_set_element(const char *folder, const char *name, uint64_t index, float value);

// Codes that differ between two checkpoints, of all.
uint64_t awq_differing_codes(const char *a, const char *b, uint64_t *codes);
// Nats by which the distributions of two checkpoints differ on FOLDER/evaluation.jsonl of the first.
double awq_divergence(const char *reference, const char *folder);

// A model's block: weights as they are computed with, and what its linears read of the run's calibration data.
typedef struct awq_block {
    const bm_model *model;
    uint32_t index;
    uint64_t tokens;
    uint32_t channels[BM_NUM_STAGES];
    float *inputs[BM_NUM_STAGES];   // [tokens, channels], in the order of the run; NULL: not wanted
    float *weights[BM_NUM_LINEARS]; // [rows, channels of their stage]
    uint32_t rows[BM_NUM_LINEARS];  // 0: no such linear
} awq_block;
// The float model's first blocks, with inputs: of the run, its model and the calibration data of its plan are read.
void awq_blocks_read(const awq_run *run, awq_block *out, uint32_t count);
// A block of a checkpoint, without inputs.
void awq_block_read_weights(const bm_model *model, uint32_t index, awq_block *out);
void awq_block_free(awq_block *block);

int awq_main(int argc, char **argv, const char *name, int (*run)(const char *name));

#endif
