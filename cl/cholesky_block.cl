// cholesky_block: the inverse of the Cholesky factor of one symmetric block: x = L L^T, inverse = L^-1.   Twin: shaders/cholesky_block.comp
//
//   x        [rows, rows]  float32, rows at most 64; the lower triangle is read
//   inverse  [rows, rows]  float32, zeros above the diagonal; apart from x
//   pivots   [rows]        float32: the squares of the diagonal of L as they come out. Where one is not positive the factor goes
//                          on as if it were 1, so that nothing becomes NaN, and the result is of no use.
//
// One work-group does all, others nothing. GROUP: work-items; a row each where there are 64. Local memory: 16,896 bytes.
#include "bitmill.h"
#include "cholesky_block.args.h"

#define MAX_ROWS 64
#define STRIDE 65 // odd: a column lies in different banks

BM_KERNEL cholesky_block(BM_PARAMETERS)
{
    BM_BEGIN
    __local float l[MAX_ROWS * STRIDE], column[MAX_ROWS];
    const uint lane = get_local_id(0), n = a.rows;
    if (get_group_id(0) != 0)
        return;
    for (uint i = lane; i < n; i += GROUP)
        for (uint j = 0; j <= i; j++)
            l[i * STRIDE + j] = x[(ulong)i * a.x_stride + j];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint j = 0; j < n; j++) {
        for (uint i = j + lane; i < n; i += GROUP) {
            float sum = l[i * STRIDE + j];
            for (uint k = 0; k < j; k++)
                sum = fma(-l[i * STRIDE + k], l[j * STRIDE + k], sum);
            column[i] = sum;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        const float pivot = column[j], root = pivot > 0.0f ? sqrt(pivot) : 1.0f;
        for (uint i = j + lane; i < n; i += GROUP)
            l[i * STRIDE + j] = i == j ? root : column[i] / root;
        if (lane == 0)
            pivots[j] = pivot;
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (uint end = n; end > 0; end--) { // the inverse takes the factor's place, last column first
        const uint j = end - 1;
        const float root = l[j * STRIDE + j];
        for (uint i = j + 1 + lane; i < n; i += GROUP) {
            float sum = 0.0f;
            for (uint k = j + 1; k <= i; k++)
                sum = fma(l[i * STRIDE + k], l[k * STRIDE + j], sum);
            column[i] = -sum / root;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint i = j + lane; i < n; i += GROUP)
            l[i * STRIDE + j] = i == j ? 1.0f / root : column[i];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (uint i = lane; i < n; i += GROUP)
        for (uint j = 0; j < n; j++)
            inverse[(ulong)i * a.inverse_stride + j] = j <= i ? l[i * STRIDE + j] : 0.0f;
}
