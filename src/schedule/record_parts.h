// Parts of bitmill.json and of the words at the end of a run, for record.c: what a run did that shifts, scales or
// quantizes activations. Of other runs nothing is written.
#ifndef BM_SCHEDULE_RECORD_PARTS_H
#define BM_SCHEDULE_RECORD_PARTS_H

#include "schedule/run.h"

// record.c: seconds, bytes, phases and timeline of an open object.
void bm_record_put_costs(bm_json_writer *json, const bm_quantize_result *result);
// The names of all files of the result, and more, ended by NULL: what may be removed when it is replaced.
bm_status bm_record_put_files(bm_json_writer *json, const char *folder, const char *const *more, bm_error *err);
bm_status bm_record_write_file(const char *folder, const char *name, const bm_string *text, bm_error *err);

// record_stages.c: "stages" of an open object: what was found and done about the inputs of each stage of each block.
void bm_record_put_stages(bm_json_writer *json, const bm_quantize_result *result);

// record_timeline.c: "timeline" of an open object: a track a thread, its spans by phase and block, in seconds of the run.
void bm_record_put_timeline(bm_json_writer *json, const bm_quantize_result *result);

// record_errors.c: "layer_error" of an open object, a linear: errors of its outputs by quantized weights, inputs, both.
void bm_record_put_layer_error(bm_json_writer *json, const bm_linear_record *linear);
// Warns of searches that had too few tokens.
void bm_record_warn_searches(const bm_quantize_result *result, const bm_log *log);
// Warns of linears many of whose inputs are saturated.
void bm_record_warn_errors(const bm_quantize_result *result, const bm_log *log);
// Appends a table of the linears of the largest errors by both, and lines on saturation and on searches that kept scales
// of 1 or had too few tokens.
void bm_record_describe_errors(const bm_quantize_result *result, bm_string *out);

#endif
