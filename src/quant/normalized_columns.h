// How large the weights of each channel are beside their groups.
//
//   out[c] = mean over the rows o of all linears of |W[o, c]| / (largest |W[o, .]| of the group of row o that c is in)
//
// What a search over scales of channels takes for their weights.
// Source   Lin et al., AWQ, 2024: the scales of AutoAWQ's duo_scaling, which adds 1e-6 to every largest magnitude. Here none is added, so
//          that the result does not depend on the unit of weights; groups of zeros (below 1e-30) count as 0.
#ifndef BM_QUANT_NORMALIZED_COLUMNS_H
#define BM_QUANT_NORMALIZED_COLUMNS_H

#include "ops/gemm.h"
#include "ops/rounding.h"

// linears of the same input features, in plain rows (as masters are).
//
//   grids       [num_linears]: of which group_size is looked at; channels: one group a row
//   out         [channels] 0..1, each row of each linear counted once; NaN where a weight of the column is NaN
//
// Quotients and their sums over a slice of rows are float32 (bm_group_normalize, bm_column_range), the rest double.
//
// Cost     weights are read twice; waits for the device after each slice. Memory: bm_normalized_columns_bytes.
// Order    nothing that was recorded before may still have something to report.
// Errors   BM_E_ARGUMENT no linear, other shapes, weights in panels, group_size; BM_E_MEMORY, BM_E_DEVICE.
bm_status bm_normalized_columns(bm_device *device, const bm_weights *const *linears, uint32_t num_linears,
                                const bm_grid_params *grids, double *out, bm_error *err);
// Device memory at most, scratch included, for linears of so many rows at most and this group_size: below 64 MiB, or what 64 rows
// take.
uint64_t bm_normalized_columns_bytes(uint64_t rows, uint64_t channels, uint32_t group_size);

#endif
