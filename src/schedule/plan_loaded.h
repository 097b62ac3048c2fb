// The part of a plan for load_quant_model, which evaluates an earlier result.
#ifndef BM_SCHEDULE_PLAN_LOADED_H
#define BM_SCHEDULE_PLAN_LOADED_H

#include "schedule/plan.h"

// Errors: BM_E_ARGUMENT for a model of floats, and for a given key that disagrees with the result's bitmill.json.
bm_status bm_plan_check_loaded(bm_plan *plan, const bm_arguments *arguments, const bm_model *model, bm_error *err);

#endif
