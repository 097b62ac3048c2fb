// Inside folds: what becomes of the rows of one linear.
#ifndef BM_MODEL_FOLD_ROWS_H
#define BM_MODEL_FOLD_ROWS_H

#include "ops/gemm.h"

// Each may be NULL: ones, or zeros.
typedef struct bm_fold_row_change {
    const double *in_scale, *in_shift;   // [in_features]: of its inputs
    const double *out_scale, *out_shift; // [out_features]: of its outputs, which are (output - shift) / scale then
} bm_fold_row_change;

// W'[o, c] = W[o, c] in_scale[c] / out_scale[o] and bias'[o] = (bias[o] + sum over c of W[o, c] in_shift[c] -
// out_shift[o]) / out_scale[o], in double from what is there, W' rounded once.
//
//   weights  float32 or float64, in plain rows
//   bias     [out_features]; read and written, in host memory
//
// Errors   BM_E_NUMERIC with name and row: a value that the type does not hold; BM_E_MEMORY, BM_E_DEVICE.
bm_status bm_fold_rows(bm_device *device, bm_weights *weights, const bm_fold_row_change *change, double *bias,
                       bm_error *err);

#endif
