// bitmill.json and report.html: arguments, version, device, per-linear error, times: what was done, for people and for
// later runs.
#ifndef BM_SCHEDULE_RECORD_H
#define BM_SCHEDULE_RECORD_H

#include "schedule/run.h"

// Appends the members of a result (output, seconds, phases, linears, before, after, ...) to an open object.
void bm_record_put_result(bm_json_writer *json, const bm_quantize_run_params *params, const bm_quantize_result *result);

// What a method that watched inputs met, over the linears whose inputs it watched. Without any all is 0.
typedef struct bm_calibration_summary {
    uint32_t num_linears;
    double output_error, output_error_rounding; // sums over the linears that have both
    uint32_t num_raised, num_by_host, num_fell_back;
    uint64_t tokens, channels; // of the linear that saw the fewest tokens an input channel
    uint64_t tokens_enough;    // for all; 0: there were enough
} bm_calibration_summary;

bm_calibration_summary bm_record_summarize(const bm_quantize_result *result);
// Warns of every linear that fell back to plain rounding, and of few tokens: for the end of a run.
void bm_record_warn(const bm_quantize_result *result, const bm_log *log);
// Writes FOLDER/bitmill.json, and FOLDER/report.html from it. Errors: BM_E_IO, BM_E_MEMORY.
bm_status bm_record_write(const bm_quantize_run_params *params, const bm_quantize_result *result, const char *folder,
                          bm_error *err);

#endif
