// bitmill.json and report.html: arguments, version, device, per-linear error, times: what was done, for people and for
// later runs.
#ifndef BM_SCHEDULE_RECORD_H
#define BM_SCHEDULE_RECORD_H

#include "schedule/run.h"

// Appends the members of a result (output, seconds, phases, linears, before, after, ...) to an open object; without
// stages, which are long and stand in bitmill.json alone.
void bm_record_put_result(bm_json_writer *json, const bm_quantize_run_params *params, const bm_quantize_result *result);

// For the end of a run: warns of few tokens of a method that watched inputs, of saturated inputs.
void bm_record_warn(const bm_quantize_result *result, const bm_log *log);
// Appends a few lines on what such a method met and, where inputs were shifted, scaled or quantized, a table of the
// linears whose outputs lose most, for people; nothing where no inputs were watched.
void bm_record_describe(const bm_quantize_result *result, bm_string *out);
// Writes FOLDER/bitmill.json, and FOLDER/report.html from it. Errors: BM_E_IO, BM_E_MEMORY.
bm_status bm_record_write(const bm_quantize_run_params *params, const bm_quantize_result *result, const char *folder,
                          bm_error *err);

#endif
