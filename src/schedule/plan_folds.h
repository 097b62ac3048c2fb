// What a plan does to the inputs of linears.
#ifndef BM_SCHEDULE_PLAN_FOLDS_H
#define BM_SCHEDULE_PLAN_FOLDS_H

#include "schedule/plan.h"

// Sets folds, input, equalizes and needs_bitmill; notes what was asked for and has no exact fold. The plan's linears and
// method are there.
void bm_plan_choose_folds(bm_plan *plan, const bm_arguments *arguments, const bm_model *model);

#endif
