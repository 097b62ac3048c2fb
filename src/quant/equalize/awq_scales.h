// AWQ: a scale a channel from what its inputs are on the mean, raised to a ratio that a search chooses.
// Source: Lin et al., AWQ: Activation-aware Weight Quantization, 2024, equations 4 and 5; the second family, which weighs
// inputs against weights, is that of its reference implementation.
#ifndef BM_QUANT_EQUALIZE_AWQ_SCALES_H
#define BM_QUANT_EQUALIZE_AWQ_SCALES_H

#include "quant/equalize/smooth_grid.h"

// extended false: ratios 0, 1 / n_grid, .. (n_grid - 1) / n_grid of inputs alone, the published grid. True: 1 as well, then
// the published ratios of inputs against weights, where 1 would be the scales of inputs alone once more. The first is the identity.
// Errors   BM_E_MEMORY. bm_smooth_grid_free.
bm_status bm_awq_grid_create(uint32_t n_grid, bool extended, bm_smooth_grid *out, bm_error *err);

// The candidate that loses least. One that loses less by a hundred thousandth or less is as good: then the earlier one, on every
// device. Losses that are not finite lose against all; 0 where all are not.
uint32_t bm_awq_best(const double *losses, uint32_t count);

// s = m^r, or m^r / (w^(1-r) + 1e-4), at least 1e-4, over the geometric mean of its extremes. A channel without inputs or
// weights is dead: its scale is 1, and it does not count among the extremes.
//
//   m       [channels]: mean magnitudes of inputs
//   w       [channels]: mean magnitudes of weights, each over the largest of its row's group
//   scales  [channels]; written
void bm_awq_scales(const bm_smooth_candidate *candidate, uint32_t channels, const double *m, const double *w,
                   float *scales);

#endif
