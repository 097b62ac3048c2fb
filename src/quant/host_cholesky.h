// The inverse of a Cholesky factor in float64 on the host: the last try for a Hessian that float32 cannot factor.
#ifndef BM_QUANT_HOST_CHOLESKY_H
#define BM_QUANT_HOST_CHOLESKY_H

#include "base/progress.h"

// inverse = L^-1 (zeros above the diagonal), x = L L^T; both [n, n] row-major, x's lower triangle is read and destroyed.
// *is_definite: false when a pivot was not positive; inverse is of no use then. LAPACK of OpenBLAS, found at run time.
//
//   phase  told between blocks of columns; NULL: nobody asks
//
// Errors: BM_E_UNSUPPORTED when there is none: the words name the package; BM_E_CANCELLED.
bm_status bm_host_cholesky_inverse(double *x, uint32_t n, bm_phase *phase, bool *is_definite, bm_error *err);

#endif
