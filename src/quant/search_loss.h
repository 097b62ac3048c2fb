// The loss of piecewise search on a device: what a group of linears that share their inputs loses when weights, and inputs with
// them, are quantized behind the scales of a candidate.
//
//   J(s) = sum over linears l of weighting l, sum over tokens t of weight t |(x_t - z) W_l^T - Q((x_t - z) / s) Q(W_l s)^T|^2
//          / (sum of weights * rows of all linears)
//
// Each linear is rounded on its own grid. Where all weights have 8 bits, symmetric, one step a row that is not searched, and inputs
// have codes too, J is what quant/equalize/int8_loss.h defines: the same codes, exact sums of their products, then float32. Else
// all are rounded and multiplied in float32.
#ifndef BM_QUANT_SEARCH_LOSS_H
#define BM_QUANT_SEARCH_LOSS_H

#include "base/progress.h"
#include "ops/gemm.h"
#include "quant/codes.h"
#include "quant/equalize/smooth_search.h"

typedef struct bm_search_loss_params {
    const bm_tensor *inputs;  // [tokens, channels] real: the sample; needed by create alone
    const double *zero_point; // [channels]: what shift takes off the inputs; NULL: nothing. Needed by create alone.
    const bm_weights *const *linears; // [num_linears]: float32 in plain rows, as masters are; the weights live on
    uint32_t num_linears;
    const bm_grid_params *grids; // [num_linears]; group_size channels: one step a row. Needed by create alone.
    bm_input_kind input;         // static: the largest magnitude is the batch's act_amax
    bool nmse;                   // search_loss: a linear's errors count relative to the mean square of its outputs
    const double *token_weights; // [tokens], not negative; NULL: ones. Needed by create alone.
    const uint8_t *part; // [tokens]: 1 or 2, which part of a batch each is of; NULL: none is. Needed by create alone.
    bm_phase *phase;     // told now and then that work goes on; NULL: nobody asks. Lives on.
} bm_search_loss_params;

typedef struct bm_search_loss bm_search_loss;

// Copies the inputs and computes the wanted outputs. Waits.
//
// Errors   BM_E_ARGUMENT no linear, shapes or types disagree; BM_E_UNSUPPORTED as of bm_gemm_int8 and bm_grid_search;
//          BM_E_NUMERIC weights that are not finite; BM_E_MEMORY, BM_E_DEVICE. *out is NULL then.
bm_status bm_search_loss_create(bm_device *device, const bm_search_loss_params *params, bm_search_loss **out,
                                bm_error *err);
void bm_search_loss_destroy(bm_search_loss **loss);
// Device memory that one takes at most, create and runs included, for linears of rows output features together, on these grids;
// without what products take as bm_device_scratch.
uint64_t bm_search_loss_bytes(bm_device *device, uint64_t tokens, uint64_t channels, uint64_t rows,
                              const bm_grid_params *grids, uint32_t num_grids, bm_input_kind input);

// A bm_smooth_loss: context is a bm_search_loss. A candidate whose inputs or weights are not finite behind its scales loses NaN; in
// float32 weights saturate instead, and it loses nearly all.
//
// Order    nothing that was recorded before may still have something to report.
// Errors   BM_E_ARGUMENT a token_share that is neither 1 nor BM_SMOOTH_PRUNE_SHARE, a part without tokens, a share of the whole
//          where there are parts; BM_E_CANCELLED; BM_E_DEVICE.
bm_status bm_search_loss_run(void *context, const bm_smooth_batch *batch, double *losses, bm_error *err);

#endif
