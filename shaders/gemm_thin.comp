// gemm, variant _thin: y[i, j] = sum over l of x[i, l] * w[j, l], times factor, plus bias[j], for few rows.   Twin: cl/gemm_thin.cl
//
//   x     [m, k]  real
//   w     [n, k]  real; the weights of a linear as checkpoints store them
//   bias  [1, n]  real; read where has_bias is 1
//   y     [m, n]  real; apart from x, w and bias
//
// y = bias + factor x w^T, with adds 1 y += that. With lower 1, y[i, j] is not wanted where j > diagonal + i (above
// the diagonal of a symmetric matrix): tiles that lie there stay as they are.
// Generation has one row of x a sequence: reading w is all the work. A work-group takes four rows of w and ROWS rows of x;
// its work-items share the columns and add up at the end. Groups walk the outputs, so any number of them is correct.
// GROUP: a power of two. ROWS: 1 to 8; m may be larger (w is then read once more for each ROWS rows).
// Local memory: GROUP * 16 bytes. Bound: k * 2^-24 * sum |x||w|, then one rounding to the storage type.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "gemm.args.glsl"

shared vec4 part[GROUP];

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = (a.k + 3) / 4, n_quads = (a.n + 3) / 4;
    const uint blocks = (a.m + ROWS - 1) / ROWS;
    for (uint tile = gl_WorkGroupID.x; tile < blocks * n_quads; tile += gl_NumWorkGroups.x) { // same tile for the group
        const uint first_m = tile / n_quads * ROWS, quad = tile % n_quads;
        vec4 sum[ROWS];
        [[unroll]] for (uint r = 0; r < ROWS; r++)
            sum[r] = vec4(0.0);
        for (uint q = lane; q < quads; q += GROUP) {
            vec4 v[4];
            [[unroll]] for (uint c = 0; c < 4; c++)
                v[c] = bm_mask4(bm_load4(a.w, w_type, min(4 * quad + c, a.n - 1) * (a.w_stride / 4) + q), q, a.k, 0.0);
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                const vec4 u = bm_mask4(bm_load4(a.x, x_type, min(first_m + r, a.m - 1) * (a.x_stride / 4) + q), q, a.k, 0.0);
                [[unroll]] for (uint l = 0; l < 4; l++)
                    sum[r] = fma(vec4(u[l]), vec4(v[0][l], v[1][l], v[2][l], v[3][l]), sum[r]);
            }
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            part[lane] = sum[r];
            barrier();
            for (uint s = GROUP / 2; s > 0; s /= 2) {
                if (lane < s)
                    part[lane] += part[lane + s];
                barrier();
            }
            if (lane == 0 && first_m + r < a.m) {
                const uint at = (first_m + r) * (a.y_stride / 4) + quad;
                vec4 base = a.adds != 0 ? bm_load4(a.y, y_type, at) : vec4(0.0);
                if (a.has_bias != 0)
                    base += bm_load4(a.bias, bias_type, quad);
                bm_store4(a.y, y_type, at, base + part[0] * a.factor);
            }
            barrier(); // part is reused by the next row
        }
    }
}
