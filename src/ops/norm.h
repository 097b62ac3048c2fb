// Normalization of rows.
#ifndef BM_OPS_NORM_H
#define BM_OPS_NORM_H

#include "device/tensor.h"

// y[r, c] = weight[c] * x[r, c] / sqrt(mean over c of x[r, c]^2 + epsilon).
//
//   x, y    [rows, cols]  real; y may be x
//   weight  [1, cols]     real
//
// Cost     bm_rmsnorm_operations; no allocation.
// Errors   BM_E_ARGUMENT shapes disagree.
// Source   Zhang and Sennrich, Root Mean Square Layer Normalization, 2019, equation 4.
bm_status bm_rmsnorm(bm_device *device, const bm_tensor *x, const bm_tensor *weight, float epsilon, const bm_tensor *y,
                     bm_error *err);
double bm_rmsnorm_operations(uint64_t rows, uint64_t cols);

// y[r, c] = weight[c] * (x[r, c] - mean) / sqrt(variance + epsilon) + bias[c], mean and variance (without correction) of
// row r of x.
//
//   x, y          [rows, cols]  real; y may be x
//   weight, bias  [1, cols]     real
//
// Cost     bm_layernorm_operations; no allocation.
// Errors   BM_E_ARGUMENT shapes disagree.
// Source   Ba, Kiros and Hinton, Layer Normalization, 2016, equation 4.
bm_status bm_layernorm(bm_device *device, const bm_tensor *x, const bm_tensor *weight, const bm_tensor *bias,
                       float epsilon, const bm_tensor *y, bm_error *err);
double bm_layernorm_operations(uint64_t rows, uint64_t cols);

#endif
