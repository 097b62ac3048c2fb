// Weights that are rounded behind scales of their columns, as they act on inputs that were not divided: Q(W s) / s.
#ifndef BM_QUANT_SCALED_ROUNDING_H
#define BM_QUANT_SCALED_ROUNDING_H

#include "ops/rounding.h"

typedef struct bm_scaled_rounding {
    bm_tensor scales, inverses; // [count, channels]
    bm_tensor step, zero_point; // room for those of some rows, on any of the grids
} bm_scaled_rounding;

// For up to max_rows rows at once, on any of some grids. group_size of a grid is channels where there is one step a row.
//
//   scales  [count, channels]  above 0: of count candidates
//
// Errors   BM_E_MEMORY, BM_E_DEVICE. bm_scaled_rounding_end in any case.
bm_status bm_scaled_rounding_begin(bm_device *device, const bm_grid_params *grids, uint32_t num_grids,
                                   uint64_t max_rows, uint64_t channels, const float *scales, uint32_t count,
                                   bm_scaled_rounding *out, bm_error *err);
void bm_scaled_rounding_end(bm_scaled_rounding *rounding);

// out = Q(w s) / s with the scales of a candidate. Nothing waits.
//
// Steps are those of each group's abs-max, or range: search and nested are not looked at. Nested steps chose no better scales
// (docs/interop.md, K-quants beside llama-quantize).
//
//   w, out  [rows, channels]  real, float32; apart
//
// Errors   those of bm_grid_search.
bm_status bm_scaled_rounding_run(bm_device *device, const bm_scaled_rounding *rounding, const bm_grid_params *grid,
                                 const bm_tensor *w, uint32_t candidate, const bm_tensor *out, bm_error *err);

// out / units = (w - Q(w s) / s) factor in one dispatch: what bm_scaled_rounding_run makes, subtracted from w, weighed and rounded to
// float16.
//
//   w       [rows, channels]  float32
//   factor  [1, channels]     float32
//   out     [rows, channels]  float16
//   units   [1, rows]         float32: powers of two that out is to be multiplied by
bm_status bm_scaled_difference(bm_device *device, const bm_scaled_rounding *rounding, const bm_grid_params *grid,
                               const bm_tensor *w, uint32_t candidate, const bm_tensor *factor, const bm_tensor *out,
                               const bm_tensor *units, bm_error *err);

#endif
