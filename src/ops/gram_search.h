// Steps by the output error itself: for each row and group the grid with the least d G d^T, d = w - rounded, G the group's
// block of X^T X.
#ifndef BM_OPS_GRAM_SEARCH_H
#define BM_OPS_GRAM_SEARCH_H

#include "ops/matrix.h"
#include "ops/rounding.h"

// Candidates, their order and what a group of zeros gets are those of bm_grid_search. Of groups wider than 512 columns every
// fourth is tried, then the six around the best: 48 products instead of 172 with signed scales, for an error that was 0 to
// 3 percent above the least (less the wider). It is never above that of the abs-max.
//
//   w           [rows, cols]    float32
//   gram        [cols, cols]    float32, symmetric, both triangles: X^T X
//   step        [rows, groups]  float32; written
//   zero_point  [rows, groups]  int32; written
//
// Where the device has matrix units and groups are at least 64 columns, more than one of them, differences and squares are float16, one
// product each: so a candidate may be taken that loses up to a thousandth more than the least (in no case of test_gram_search more than 1e-5).
//
// Cost     bm_gram_search_operations for a search, as products of [candidates * rows, group_size] by [group_size, group_size]; memory for
//          as many candidates as fit 64 MiB, twice.
// Errors   BM_E_ARGUMENT shapes disagree; BM_E_MEMORY, BM_E_DEVICE.
// Source   Lin et al., AWQ, 2024, section 3 (clipping by output error), per group and exact by the Gram matrix.
bm_status bm_gram_search(bm_multiplier *multiplier, const bm_tensor *w, const bm_tensor *gram,
                         const bm_grid_params *params, const bm_tensor *step, const bm_tensor *zero_point,
                         bm_error *err);
// Device memory, but for what grows with rows.
uint64_t bm_gram_search_bytes(const bm_device *device, uint64_t group_cols);
double bm_gram_search_operations(uint64_t rows, uint64_t cols, const bm_grid_params *params);

#endif
