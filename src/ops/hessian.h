// X^T X of calibration inputs: the Hessian of a linear's output error, up to a factor, and the Gram matrix beside it.
// Source: Frantar et al., GPTQ, 2023, section 3 (H = 2 X X^T there; the factor does not matter here).
#ifndef BM_OPS_HESSIAN_H
#define BM_OPS_HESSIAN_H

#include "ops/matrix.h"

// h += factor x^T x, the lower triangle alone (what is above the diagonal is not wanted); or, with other, the whole
// square h += factor other^T x.
//
//   x, other  [tokens, channels]    real; other NULL: x itself. No padding: every row counts.
//   h         [channels, channels]  float32
//
// Sums are float32: over at most BM_HESSIAN_TOKENS tokens in the product, then from piece to piece. Over 128 x 2048 tokens
// that was measured to lose 3e-7 of the diagonal (in batches of 16 tokens: 4e-6), and 2e-5 (2e-4) in channels that are the
// same in every token: too little beside a damping of 0.01 to keep a compensation, which is as much memory as h, for.
// x in 16 bits, and other of the same type, go through matrix units where the device has them, BM_HESSIAN_NARROW_TOKENS at a time, since reading and
// writing h is what takes time there. They may cut sums instead of rounding them, always towards 0: of the diagonal about 2e-8 for
// each token of a piece, 1e-4 at most (simulated as NVIDIA's are told to cut; docs/performance.md).
// Cost     bm_hessian_operations; memory for two pieces of inputs at most, transposed or in panels, kept by the multiplier.
// Errors   BM_E_ARGUMENT shapes disagree; BM_E_MEMORY, BM_E_DEVICE.
#define BM_HESSIAN_TOKENS 2048
#define BM_HESSIAN_NARROW_TOKENS 4096
bm_status bm_hessian_add(bm_multiplier *multiplier, const bm_tensor *x, const bm_tensor *other, float factor,
                         const bm_tensor *h, bm_error *err);
// Device memory that the multiplier keeps from call to call, for inputs of up to that many tokens.
uint64_t bm_hessian_bytes(bm_device *device, uint64_t tokens, uint64_t channels, bool with_other);
double bm_hessian_operations(uint64_t tokens, uint64_t channels, bool whole);

#endif
