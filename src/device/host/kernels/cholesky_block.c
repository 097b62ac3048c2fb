// cholesky_block: the inverse of the Cholesky factor of one symmetric block: x = L L^T, inverse = L^-1 (zeros above its
// diagonal). Of x the lower triangle is read. pivots[i]: the square of L[i, i] as it comes out; where it is not positive,
// the factor goes on as if it were 1, so that nothing becomes NaN, and the result is of no use.
// Source: Golub and Van Loan, Matrix Computations, 4th edition, algorithm 4.2.1; 3.1 for the triangular inverse.
#include "device/host_kernels.h"

#include <math.h>
#include <string.h>

#define MAX_ROWS 128

void host_cholesky_block(const host_call *call)
{
    const bm_cholesky_block_scalars *a = call->scalars;
    const float *x = call->buffers[0];
    float *inverse = call->buffers[1], *pivots = call->buffers[2];
    const uint32_t n = a->rows;
    double l[MAX_ROWS][MAX_ROWS] = {{0}};
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j <= i; j++)
            l[i][j] = x[(uint64_t)i * a->x_stride + j];
    for (uint32_t j = 0; j < n; j++) {
        for (uint32_t i = j; i < n; i++)
            for (uint32_t k = 0; k < j; k++)
                l[i][j] -= l[i][k] * l[j][k];
        pivots[j] = (float)l[j][j];
        const double root = l[j][j] > 0 ? sqrt(l[j][j]) : 1;
        for (uint32_t i = j + 1; i < n; i++)
            l[i][j] /= root;
        l[j][j] = root;
    }
    for (uint32_t j = 0; j < n; j++) { // column j of the inverse: L z = e_j
        double z[MAX_ROWS] = {0};
        for (uint32_t i = j; i < n; i++) {
            double sum = i == j ? 1 : 0;
            for (uint32_t k = j; k < i; k++)
                sum -= l[i][k] * z[k];
            z[i] = sum / l[i][i];
        }
        for (uint32_t i = 0; i < n; i++)
            inverse[(uint64_t)i * a->inverse_stride + j] = (float)z[i];
    }
}
