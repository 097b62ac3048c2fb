// The second look at a conversion to GGUF, whose verification compares weights: its codes beside those of the source.
#ifndef BM_SCHEDULE_CONVERT_COMPARE_H
#define BM_SCHEDULE_CONVERT_COMPARE_H

#include "schedule/plan.h"

// folder holds the file. Of every linear all codes, steps and zero points are compared, a block at a time; phase is told of linears.
// Errors: BM_E_INTERNAL with the first that differs; those of reading.
bm_status bm_convert_compare(const bm_plan *plan, const bm_store_config *codes, const bm_model *model,
                             const char *folder, bm_phase *phase, bm_error *err);

#endif
