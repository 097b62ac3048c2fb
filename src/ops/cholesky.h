// The inverse of a Cholesky factor, blocked, in float32.
#ifndef BM_OPS_CHOLESKY_H
#define BM_OPS_CHOLESKY_H

#include "ops/matrix.h"

// inverse = L^-1, lower triangular with zeros above, where x = L L^T.
//
//   x        [n, n]  float32, symmetric; the lower triangle is read, all of it is destroyed
//   inverse  [n, n]  float32; apart from x
//   pivots   [1, n]  float32: squares of the diagonal of L. One that is not positive (or NaN): x is not positive definite
//                    in this arithmetic, and inverse is of no use.
//
// One recursion computes factor and inverse together, so that all but blocks of 64 rows (128 on GPUs) is products:
// x = [[A, .], [B, C]], L = [[P, 0], [Q, R]]: P^-1 from A, Q = B P^-T, R^-1 from C - Q Q^T, and the inverse's corner is -R^-1 Q P^-1.
// Cost     bm_cholesky_operations.
// Errors   BM_E_ARGUMENT shapes disagree; BM_E_MEMORY, BM_E_DEVICE; BM_E_CANCELLED, as of products.
// Source   Golub and Van Loan, Matrix Computations, 4th edition, 4.2.9 and 3.1.
bm_status bm_cholesky_inverse(bm_multiplier *multiplier, const bm_tensor *x, const bm_tensor *inverse,
                              const bm_tensor *pivots, bm_error *err);
double bm_cholesky_operations(uint64_t n);
// The same in the place of x, for lack of memory: a third more work, and two panels of BM_CHOLESKY_PANEL columns beside it.
#define BM_CHOLESKY_PANEL 512
bm_status bm_cholesky_inverse_in_place(bm_multiplier *multiplier, const bm_tensor *x, const bm_tensor *pivots,
                                       bm_error *err);
// Work-items of kernel cholesky_block: GPUs want large blocks, which end chains of small dispatches.
uint32_t bm_cholesky_group(const bm_device *device);

#endif
