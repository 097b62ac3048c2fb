// For bm_inverse_factor_create and GPTQ alone: a factor where there is memory for one square. The Hessian is in a file (bm_gram_spill).
#ifndef BM_QUANT_FACTOR_IN_PLACE_H
#define BM_QUANT_FACTOR_IN_PLACE_H

#include "quant/gram.h"

// gram->hessian becomes U (inverse_factor.h) with zeros below its diagonal.
//
//   reversed_order  [channels]: the order of columns, from the last to the first
//   added           [channels]: to the diagonal, by channel
//   pivots          [1, channels] float32: as of bm_cholesky_inverse
bm_status bm_factor_in_place(bm_multiplier *multiplier, const bm_gram *gram, const uint32_t *reversed_order,
                             const float *added, const bm_tensor *pivots, bm_error *err);
// Below the diagonal of U comes U^T: what is apart from the diagonal of either is there then.
bm_status bm_factor_mirror(bm_device *device, const bm_tensor *upper, bm_error *err);
// half = z U^T, out = half U, for a z of few rows, before it is mirrored; apart from one another.
bm_status bm_factor_multiply(bm_multiplier *multiplier, const bm_tensor *upper, const bm_tensor *z,
                             const bm_tensor *half, const bm_tensor *out, bm_error *err);
// Device memory of square and rows, without the multiplier's, which are of BM_GRAM_ROWS too.
uint64_t bm_factor_in_place_bytes(uint32_t channels);

#endif
