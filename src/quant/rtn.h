// Plain rounding of rows, for methods that fall back to it too.
#ifndef BM_QUANT_RTN_H
#define BM_QUANT_RTN_H

#include "quant/gram.h"
#include "quant/method.h"

// Steps as params->scale_search finds them, each weight to the nearest point of its grid. gram: finished; NULL where no inputs
// were watched: searches that need them take every weight for the same. Of one token they find nothing: steps are of the largest
// weights.
// Errors: BM_E_ARGUMENT, BM_E_MEMORY, BM_E_DEVICE.
bm_status bm_rtn_solve_rows(bm_multiplier *multiplier, const bm_gram *gram, const bm_method_params *params,
                            const bm_method_rows *rows, bm_error *err);

// Adds sum (W - What)^2 and sum W^2 to the sums of rows; rounded [rows, in_features] float32.
bm_status bm_add_weight_error(bm_device *device, const bm_method_rows *rows, const bm_tensor *rounded, bm_error *err);

#endif
