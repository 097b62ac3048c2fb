// What linears lose when their weights are rounded behind scales of the channels, by the Gram matrix of their inputs: of every
// token that the matrix is of, at a cost that does not grow with tokens.
//
//   J(s) = sum over rows o of e_o G e_o^T, e_o = w_o - Q(w_o s) / s, G = X^T X
//        = sum over tokens and outputs of (x_t W^T - (x_t / s) Q(W s)^T)^2
//
// Source: Lin et al., AWQ, 2024, equation 4, written with G.
#ifndef BM_QUANT_GRAM_LOSS_H
#define BM_QUANT_GRAM_LOSS_H

#include "base/progress.h"
#include "ops/matrix.h"
#include "ops/rounding.h"

typedef struct bm_gram_loss_params {
    const bm_tensor *gram;            // [channels, channels] float32: X^T X, both triangles
    const bm_weights *const *linears; // [num_linears]: float32 in plain rows, as masters are
    uint32_t num_linears;
    // [num_linears]: each is rounded on its own; group_size channels: one step a row. Steps as of scaled_rounding.h.
    const bm_grid_params *grids;
    bm_phase *phase; // told now and then that work goes on; NULL: nobody asks
} bm_gram_loss_params;

// Several candidates at once, so that their products are tall.
//
//   scales  [count, channels]  above 0
//   losses  [count]            J, summed in double over rows; not finite where weights are not, behind the scales
//
// Cost     count rows channels^2 operations, and an eighth more or what panels of 256 channels take; scratch for as many rows of candidates as fit 128 MiB, three times, and for steps. Waits.
// Errors   BM_E_ARGUMENT shapes or types disagree; BM_E_MEMORY, BM_E_DEVICE, BM_E_CANCELLED.
bm_status bm_gram_losses(bm_multiplier *multiplier, const bm_gram_loss_params *params, const float *scales,
                         uint32_t count, double *losses, bm_error *err);
// What it refuses: linears with other inputs than the matrix has.
bm_status bm_gram_loss_check(const bm_gram_loss_params *params, bm_error *err);
// Device memory that it takes at most, without scales and what the multiplier keeps.
// rows: of a linear, at most; count: of scales at once.
uint64_t bm_gram_loss_bytes(const bm_device *device, uint64_t channels, uint64_t rows, uint32_t count);
// Of that, rows that are multiplied at a time.
uint64_t bm_gram_loss_rows(const bm_device *device, uint64_t channels, uint64_t rows, uint32_t count);

#endif
