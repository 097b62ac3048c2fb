// What a run takes that calibrates, measured: one block is worked on with the first sequences, and nothing is written.
//
// What grows with tokens has a part that does not: each pass begins and ends, and a fast device is through before much is recorded
// ahead of it. Where the first try was quick, it is made again, and another one with several times the tokens: what that took longer
// tells the rate.
#ifndef BM_SCHEDULE_CALIBRATION_TRIAL_H
#define BM_SCHEDULE_CALIBRATION_TRIAL_H

#include "schedule/emit.h"
#include "schedule/memory_claims.h"
#include "schedule/run.h"

typedef struct bm_calibration_costs {
    bm_phase_record phases[BM_MAX_PHASES]; // of the whole run
    uint32_t num_phases;
    uint64_t num_tokens; // of the last try
} bm_calibration_costs;

// The block that is worked on: the first of those with most quantized linears. num_blocks: that quantize any.
uint32_t bm_calibration_trial_block(const bm_plan *plan, uint32_t *num_blocks);
// Tokens of the first try, where there are as many.
uint64_t bm_calibration_trial_tokens(const bm_quantize_run_params *params);
// emit: of the run, without a worker that writes; its plan is another one meanwhile. Errors: those of a run.
bm_status bm_calibration_trial(const bm_quantize_run_params *params, const bm_memory_claims *claims,
                               bm_emit_context *emit, bm_calibration_costs *out, bm_error *err);

#endif
