// bitmill.json and report.html: arguments, version, device, per-linear error, times: what was done, for people and for
// later runs.
#ifndef BM_SCHEDULE_RECORD_H
#define BM_SCHEDULE_RECORD_H

#include "schedule/run.h"

// Appends the members of a result (output, seconds, phases, linears, before, after, ...) to an open object.
void bm_record_put_result(bm_json_writer *json, const bm_quantize_run_params *params, const bm_quantize_result *result);
// Writes FOLDER/bitmill.json, and FOLDER/report.html from it. Errors: BM_E_IO, BM_E_MEMORY.
bm_status bm_record_write(const bm_quantize_run_params *params, const bm_quantize_result *result, const char *folder,
                          bm_error *err);

#endif
