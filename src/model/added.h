// The tensors that folds have added to a checkpoint (fold.h), where one is read.
#ifndef BM_MODEL_ADDED_H
#define BM_MODEL_ADDED_H

#include "model/fold.h"

// Behind the names of o and down: what bm_input_change holds.
#define BM_ADDED_SHIFT ".shift_bias"
#define BM_ADDED_FACTOR ".smooth_weight"

// The linear of a stage that has one: of o, and of down.
static inline bm_linear_id bm_stage_linear(bm_stage stage)
{
    return stage == BM_STAGE_O ? BM_LINEAR_O : BM_LINEAR_DOWN;
}

// A shift of a stage's inputs takes a bias of each of its linears back: none may be missing, or the model would compute
// something else. Errors: BM_E_FORMAT with the tensor's name.
bm_status bm_model_check_added(const bm_model *model, uint32_t block, bm_error *err);

#endif
