// Folds: the inputs x of a stage's linears become (x - shift) / scale, channel by channel, and what lies around them is
// changed so that the model computes the same. Exact in real arithmetic:
//
//   q,k,v and gate,up  the norm before them divides and subtracts; columns of the linears are multiplied, W shift joins
//                      their biases
//   o                  rows of v divide and subtract: attention passes both on, for its weights add up to 1. The query
//                      heads that share a key and value head share its channels
//   down               rows of up divide: a scale alone, and only where there is a gate
//   o, down            otherwise by two operations before the linear (bm_input_change): as_operations
//
// All that is folded into one tensor is composed, computed in double from what the masters hold, and rounded once.
// Source: Xiao et al., SmoothQuant, 2022, equation 3; Wei et al., Outlier Suppression+, 2023, section 4.1.
#ifndef BM_MODEL_FOLD_H
#define BM_MODEL_FOLD_H

#include "model/block.h"

// Of one stage. On return scale and shift hold what was really divided by and subtracted: norms and operations are
// stored in 16 bits often, so they are rounded to that type first, and the linears make up for what they became.
// scale_dtype and shift_dtype are the types of the norm's weight and bias in the output, or of the operation's factor and
// shift: F32, F16, BF16, or F64. BM_DTYPE_NONE is F32. Nothing is rounded for what goes into linears.
typedef struct bm_fold {
    double *scale;      // [bm_fold_width] positive; NULL: ones
    double *shift;      // [bm_fold_width]; NULL: zeros. Zeros that are given make the same tensors as other numbers
    bool as_operations; // o and down alone
    bm_dtype scale_dtype, shift_dtype;
    uint32_t num_moved; // written: channels whose scale had to come nearer to 1 for scale_dtype
} bm_fold;

typedef struct bm_folds {
    bm_fold stages[BM_NUM_STAGES];
    bool powers_of_two; // scales are rounded to these first, and folding them changes no mantissa
} bm_folds;

// Channels of a stage's fold: in_features of its linears; of o, folded into v, kv_heads * head_dim.
uint32_t bm_fold_width(const bm_hf_config *config, bm_stage stage, bool as_operations);
// Whether the stage's inputs can be scaled, or shifted, without operations before its linears.
bool bm_fold_is_exact(const bm_family *family, bm_stage stage, bool shifts);

// Folds all that folds says into masters (masters.h) that were not folded before: folds of a second call would be
// computed from rounded numbers.
//
// Cost     0.6 s for the 218 million weights of a Llama-3-8B block on one core, more where they come over a bus; 32 MiB
//          of host memory.
// Errors   BM_E_ARGUMENT a fold that is not exact, or a scale or shift that is no such number, with linear and channel;
//          BM_E_NUMERIC with tensor and row or channel: a value that its type does not hold; BM_E_MEMORY, BM_E_DEVICE.
//          The masters are of no use then.
bm_status bm_fold_apply(bm_device *device, bm_block *masters, bm_folds *folds, bm_error *err);

// Tensors that a fold adds to a block of a checkpoint, told before anything is known but which stages are scaled and
// shifted.
typedef struct bm_fold_added {
    char name[BM_TENSOR_NAME_SIZE]; // biases of norms and linears, and "MODULE.shift_bias", "MODULE.smooth_weight"
    uint32_t width;
} bm_fold_added;
typedef struct bm_fold_wanted {
    bool scale, shift, as_operations;
} bm_fold_wanted;
#define BM_FOLD_MAX_ADDED (2 + BM_NUM_LINEARS + 4)
// Writes them to out and returns their number.
uint32_t bm_fold_added_tensors(const bm_model *model, uint32_t block, const bm_fold_wanted wanted[BM_NUM_STAGES],
                               bm_fold_added out[BM_FOLD_MAX_ADDED]);

#endif
