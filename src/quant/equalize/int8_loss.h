// The loss of piecewise search in plain C: what the outputs of a group of linears lose when inputs and weights become
// 8-bit codes. The judge of kernels that compute it, and the host's own way.
//
//   J(s) = sum over linears l of ||X W_l^T - Xq(s) Wq_l(s)^T||^2 / (tokens * rows of all linears)
//
// To the bit, in float32:
//
//   x' = fl(x * fl(1 / s));  w' = fl(w * s)
//   step = fl(S / 127);  inv = fl(127 / S), 0 where S < 1e-30
//   code = clamp(rint(fl(x' * inv)), -128, 127), halves to even; codes of w' likewise
//   S of inputs: the observer's amax as float32, or the token's largest |x'|; of weights: that of the row or group
//
// Sums of products of codes are integers; times both steps, and all that follows, in float64.
#ifndef BM_QUANT_EQUALIZE_INT8_LOSS_H
#define BM_QUANT_EQUALIZE_INT8_LOSS_H

#include "quant/equalize/smooth_search.h"

typedef struct bm_int8_loss_params {
    const float *inputs;  // [tokens, channels]: the sample; lives on
    const float *weights; // [rows, channels]: the group's linears stacked; lives on
    uint64_t tokens, rows;
    uint32_t channels;
    const uint64_t *linear_rows; // [num_linears]: rows of each, rows in all; needed by init alone
    uint32_t num_linears;
    uint32_t group_size;    // of weights; channels: one scale a row
    bool per_token;         // each token has an amax of its own; the batch's are not looked at
    bool nmse;              // search_loss: a linear's errors count relative to the mean square of its outputs
    bool compat_paddleslim; // x' = fl(x / s) and PaddleSlim's codes
} bm_int8_loss_params;

typedef struct bm_int8_loss {
    bm_int8_loss_params params;
    double *outputs;   // [tokens, rows]: X W^T
    double *weighting; // [rows]: what a squared error counts
    float *scaled;     // [max(tokens, rows), channels]: X / s or W s
    int8_t *input_codes, *weight_codes;
    float *input_steps;  // [tokens]
    float *weight_amax;  // [rows, groups]
    float *weight_steps; // [rows, groups]
} bm_int8_loss;

// Errors: BM_E_ARGUMENT the group size does not divide, or rows do not add up; BM_E_MEMORY. bm_int8_loss_free in any
// case.
bm_status bm_int8_loss_init(bm_int8_loss *loss, const bm_int8_loss_params *params, bm_error *err);
void bm_int8_loss_free(bm_int8_loss *loss);

// A bm_smooth_loss: context is a bm_int8_loss. token_share n: tokens 0, n, 2 n, ...
bm_status bm_int8_loss_run(void *context, const bm_smooth_batch *batch, double *losses, bm_error *err);

#endif
