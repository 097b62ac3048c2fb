// AWQ: a scale a channel from what its inputs are on the mean, raised to a ratio that a search chooses.
// Source: Lin et al., AWQ: Activation-aware Weight Quantization, 2024, equations 4 and 5; the second family, which weighs
// inputs against weights, is that of its reference implementation.
#ifndef BM_QUANT_EQUALIZE_AWQ_SCALES_H
#define BM_QUANT_EQUALIZE_AWQ_SCALES_H

#include "quant/equalize/smooth_grid.h"

// extended false: ratios 0, 1 / n_grid, .. (n_grid - 1) / n_grid of inputs alone, the published grid. True: 1 as well, then
// the same ratios of inputs against weights. The first is the identity.
// Errors   BM_E_MEMORY. bm_smooth_grid_free.
bm_status bm_awq_grid_create(uint32_t n_grid, bool extended, bm_smooth_grid *out, bm_error *err);

// s = m^r, or m^r / (w^(1-r) + 1e-4), at least 1e-4, over the geometric mean of its extremes. A channel without inputs or
// weights is dead: its scale is 1, and it does not count among the extremes.
//
//   m       [channels]: mean magnitudes of inputs
//   w       [channels]: mean magnitudes of weights, each over the largest of its row's group
//   scales  [channels]; written
void bm_awq_scales(const bm_smooth_candidate *candidate, uint32_t channels, const double *m, const double *w,
                   float *scales);

#endif
