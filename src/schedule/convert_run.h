// Converting a quantized checkpoint to another format that holds the same codes: get, then put. Nothing is quantized again.
#ifndef BM_SCHEDULE_CONVERT_RUN_H
#define BM_SCHEDULE_CONVERT_RUN_H

#include "schedule/run.h"

typedef struct bm_convert_params {
    const bm_model *model;
    const char *form;   // the format to write, by a name of bm_store_form_at
    const char *output; // the folder to create
    bm_device *device;  // which unpacks and packs codes
    const bm_progress *progress;
    const bm_log *log;
    bool skips_verification;
} bm_convert_params;

// What needs no device, before one is opened. Errors: BM_E_ARGUMENT for a model without codes, or an output that is there or no
// place for it.
bm_status bm_convert_check(const bm_convert_params *params, bm_error *err);
// Errors: those of bm_convert_plan_create before anything is written; those of bm_convert_check; those of reading
// and writing; BM_E_INTERNAL where verification fails. No output folder is left then. *out has phases and bytes, and the number of
// linears; destroy it with bm_quantize_result_free, also after a failure.
bm_status bm_convert_run(const bm_convert_params *params, bm_quantize_result *out, bm_error *err);

#endif
