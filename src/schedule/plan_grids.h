// The grids of a plan: which numbers the weights of each linear may become.
#ifndef BM_SCHEDULE_PLAN_GRIDS_H
#define BM_SCHEDULE_PLAN_GRIDS_H

#include "schedule/plan.h"

// Sets the grid of each quantized linear, by keys, format and the widths of all linears.
//
//   stored  storage type of the model's embedding: that of the scales where neither a key nor the format says another
//
// Errors   BM_E_ARGUMENT naming the layer whose inputs group_size does not divide.
bm_status bm_plan_choose_grids(bm_plan *plan, const bm_arguments *arguments, bm_dtype stored, bm_error *err);

#endif
