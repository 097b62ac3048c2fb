// cholesky_block: the inverse of the Cholesky factor of one symmetric block: x = L L^T, inverse = L^-1.   Twin: cl/cholesky_block.cl
//
//   x        [rows, rows]  float32, rows at most 64; the lower triangle is read
//   inverse  [rows, rows]  float32, zeros above the diagonal; apart from x
//   pivots   [rows]        float32: the squares of the diagonal of L as they come out. Where one is not positive the factor goes
//                          on as if it were 1, so that nothing becomes NaN, and the result is of no use.
//
// One work-group does all, others nothing. GROUP: work-items; a row each where there are 64. Local memory: 16,896 bytes.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "cholesky_block.args.glsl"

#define MAX_ROWS 64
#define STRIDE 65 // odd: a column lies in different banks

shared float l[MAX_ROWS * STRIDE], column[MAX_ROWS];

void main()
{
    const uint lane = gl_LocalInvocationID.x, n = a.rows;
    if (gl_WorkGroupID.x != 0)
        return;
    for (uint i = lane; i < n; i += GROUP)
        for (uint j = 0; j <= i; j++)
            l[i * STRIDE + j] = a.x.v[i * a.x_stride + j];
    barrier();
    for (uint j = 0; j < n; j++) {
        for (uint i = j + lane; i < n; i += GROUP) {
            float sum = l[i * STRIDE + j];
            for (uint k = 0; k < j; k++)
                sum -= l[i * STRIDE + k] * l[j * STRIDE + k];
            column[i] = sum;
        }
        barrier();
        const float pivot = column[j], root = pivot > 0.0 ? sqrt(pivot) : 1.0;
        for (uint i = j + lane; i < n; i += GROUP)
            l[i * STRIDE + j] = i == j ? root : column[i] / root;
        if (lane == 0)
            a.pivots.v[j] = pivot;
        barrier();
    }
    for (uint end = n; end > 0; end--) { // the inverse takes the factor's place, last column first
        const uint j = end - 1;
        const float root = l[j * STRIDE + j];
        for (uint i = j + 1 + lane; i < n; i += GROUP) {
            float sum = 0.0;
            for (uint k = j + 1; k <= i; k++)
                sum += l[i * STRIDE + k] * l[k * STRIDE + j];
            column[i] = -sum / root;
        }
        barrier();
        for (uint i = j + lane; i < n; i += GROUP)
            l[i * STRIDE + j] = i == j ? 1.0 / root : column[i];
        barrier();
    }
    for (uint i = lane; i < n; i += GROUP)
        for (uint j = 0; j < n; j++)
            a.inverse.v[i * a.inverse_stride + j] = j <= i ? l[i * STRIDE + j] : 0.0;
}
