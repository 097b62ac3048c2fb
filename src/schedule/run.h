// A quantization run: arguments -> plan -> run -> output folder.
#ifndef BM_SCHEDULE_RUN_H
#define BM_SCHEDULE_RUN_H

#include "base/timeline.h"
#include "model/model.h"
#include "arguments/arguments.h"
#include "infer/evaluate.h"
#include "quant/equalize/output_error.h"
#include "schedule/emit.h"
#include "schedule/memory_budget.h"
#include "schedule/plan.h"
#include "schedule/stage_record.h"
#include "schedule/verify_logits.h"

// One phase of a run, for the record.
typedef struct bm_phase_record {
    char name[32];
    double seconds;
} bm_phase_record;

// What became of one linear.
typedef struct bm_linear_record {
    char name[BM_TENSOR_NAME_SIZE];
    uint32_t bits;
    int32_t group_size; // -1: per channel
    bool keeps_range;   // beside linears that are clipped: named in clip_skip
    uint32_t out_features, in_features;
    double squared_error; // sum (W - What)^2
    double nmse;          // and that over sum W^2
    // Of a method that watched inputs; without them group.tokens is 0.
    bm_group_record group; // what was met in the linears that share its inputs
    bool has_output_error;
    // Sum over those tokens |X (W* - What)|^2. W* is W, or with qep_alpha > 0 W corrected for the propagated error; of
    // linears that fell back always W.
    double output_error;
    double output_error_rounding; // the same had W* been rounded to the same, final grid
    uint64_t guarded_rows;        // that plain rounding left with less of it, and that keep that
    // Of a run that equalizes: how far the linear's outputs are from the float model's, without bias, over the sample of
    // tokens of its stage's record.
    bool has_layer_error;
    bool quantizes_inputs;                          // else by_inputs is of nothing, and by_both is by_weights
    bm_output_error by_weights, by_inputs, by_both; // quantized: the weights alone, the inputs alone, both
} bm_linear_record;

// What the model, and its result, are measured on.
typedef enum bm_run_set { BM_RUN_DEV, BM_RUN_TEST, BM_NUM_RUN_SETS } bm_run_set; // do_eval, do_predict
typedef struct bm_run_evaluation {
    bool is_there;
    bm_evaluation before, after; // the same where nothing is quantized
} bm_run_evaluation;

#define BM_MAX_PHASES 20

typedef struct bm_quantize_result {
    double seconds;
    bm_phase_record phases[BM_MAX_PHASES];
    uint32_t num_phases;
    bm_linear_record *linears; // owned
    uint32_t num_linears;
    bm_stage_record *stages; // of a run that equalizes, block by block; owned
    uint32_t num_stages;
    bm_run_evaluation evaluations[BM_NUM_RUN_SETS];
    bm_logits_comparison logits;        // of the input's and the result's; of no tokens: nobody compared them
    uint64_t input_bytes, output_bytes; // of all tensors
    uint64_t peak_device_bytes;         // of all buffers together
    uint64_t peak_process_bytes;        // of the process in physical memory; 0: unknown
    uint64_t num_device_waits;          // how often the run waited for all of the device's work
    bm_timeline *timeline;              // owned; NULL: nobody looks, and there are no phases
    const char *key_of_tokens;          // of bm_plan_key_of_tokens: raised, it gives more
    uint32_t num_sequences;             // of the calibration; 0: there was none
    uint32_t num_solving_sequences;     // of those: by whose inputs linears are solved
    uint32_t num_skipped_sequences;     // of those: activations that are not finite
} bm_quantize_result;

// What has passed since the last call went to the phase of that name, which is added where there is none, but for what was
// waited for other threads. name lives as long as the result.
void bm_quantize_result_spend(bm_quantize_result *result, const char *name);
// The same for two phases: part (0 to 1) of it to the first.
void bm_quantize_result_spend_two(bm_quantize_result *result, const char *first, double part, const char *second);

typedef struct bm_quantize_run_params {
    const bm_arguments *arguments; // checked
    const bm_plan *plan;
    const bm_model *model;
    bm_device *device;
    const bm_memory_budget *budget; // NULL: nobody has bounded the host's memory
    const bm_progress *progress;
    const bm_log *log;
    bool skips_verification; // what was written is not read back
    const char *folder;      // for files of activations; NULL: in the output, while it is made
    uint64_t scratch_bytes;  // of those files, and of Hessians, at a time
} bm_quantize_run_params;

// Bytes that the result takes on disk, but for its words (BM_OUTPUT_WORDS_BYTES).
uint64_t bm_quantize_run_output_bytes(const bm_quantize_run_params *params);
// Whether disks have room for the result, which is to lie in output_folder, and for files of what memory does not hold. Errors:
// those of bm_disk_check.
bm_status bm_quantize_run_check_disk(const bm_quantize_run_params *params, const char *output_folder, bm_error *err);
// Compiles the kernels that the run needs.
bm_status bm_quantize_run_warm_up(const bm_quantize_run_params *params, const bm_emit_context *emit, bm_error *err);
// The same, and anything that it cannot do is its status: also what memory is too short for.
bm_status bm_quantize_run_find_kernels(const bm_quantize_run_params *params, const bm_emit_context *emit);
// Runs the plan. On any failure, cancellation included, no output folder is left. Destroy the result with
// bm_quantize_result_free, also after a failure.
bm_status bm_quantize_run(const bm_quantize_run_params *params, bm_quantize_result *out, bm_error *err);
void bm_quantize_result_free(bm_quantize_result *result);

#endif
