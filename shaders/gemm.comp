// gemm: y[i, j] = sum over l of x[i, l] * w[j, l], times factor, plus bias[j].   Twin: cl/gemm.cl
//
//   x     [m, k]  real
//   w     [n, k]  real; the weights of a linear as checkpoints store them
//   bias  [1, n]  real; read where has_bias is 1
//   y     [m, n]  real; apart from x, w and bias
//
// y = bias + factor x w^T, with adds 1 y += that. With lower 1, y[i, j] is not wanted where j > diagonal + i (above
// the diagonal of a symmetric matrix): tiles that lie there stay as they are.
// A work-group of 64 computes a square of 32 x 32 outputs, a work-item 4 x 4 of them. Slices of SLICE columns of x and w go
// through local memory, transposed, so that a work-item reads its four rows with one load. Groups walk the squares, so any
// number of them is correct.
// GROUP: 64. SLICE: 4 or 8. Local memory: SLICE * 256 bytes.
// Bound: k * 2^-24 * sum |x||w|, then one rounding to the storage type.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "gemm.args.glsl"

shared vec4 xs[SLICE * 8], ws[SLICE * 8]; // [column of the slice][row of the square / 4], component: row % 4

// Columns 4 q .. 4 q + 3 of a row; zeros behind column k.
vec4 gemm_load(bm_words b, uint type, uint row, uint stride, uint q)
{
    return 4 * q < a.k ? bm_mask4(bm_load4(b, type, row * (stride / 4) + q), q, a.k, 0.0) : vec4(0.0);
}

void main()
{
    const uint lane = gl_LocalInvocationID.x;
    const uint x_quad = lane / 8, w_quad = lane % 8;                       // the 4 x 4 outputs of this work-item
    const uint load_row = lane / (SLICE / 4), load_quad = lane % (SLICE / 4); // what it brings in, with a stride of rows
    const uint rows_a_pass = GROUP / (SLICE / 4);
    const uint tiles_m = (a.m + 31) / 32, tiles_n = (a.n + 31) / 32;
    for (uint tile = gl_WorkGroupID.x; tile < tiles_m * tiles_n; tile += gl_NumWorkGroups.x) { // same tile for the group
        const uint first_m = tile / tiles_n * 32, first_n = tile % tiles_n * 32;
        const bool is_wanted = a.lower == 0 || int(first_n) < a.diagonal + int(first_m + 32);
        const uint k = is_wanted ? a.k : 0; // no branch around barriers
        vec4 sum[4];
        [[unroll]] for (uint r = 0; r < 4; r++)
            sum[r] = vec4(0.0);
        for (uint first_k = 0; first_k < k; first_k += SLICE) {
            for (uint row = load_row; row < 32; row += rows_a_pass) {
                const uint q = first_k / 4 + load_quad;
                const vec4 u = gemm_load(a.x, x_type, min(first_m + row, a.m - 1), a.x_stride, q);
                const vec4 v = gemm_load(a.w, w_type, min(first_n + row, a.n - 1), a.w_stride, q);
                [[unroll]] for (uint l = 0; l < 4; l++) {
                    xs[(4 * load_quad + l) * 8 + row / 4][row % 4] = u[l];
                    ws[(4 * load_quad + l) * 8 + row / 4][row % 4] = v[l];
                }
            }
            barrier();
            for (uint l = 0; l < SLICE; l++) {
                const vec4 u = xs[l * 8 + x_quad], v = ws[l * 8 + w_quad];
                [[unroll]] for (uint r = 0; r < 4; r++)
                    sum[r] = fma(vec4(u[r]), v, sum[r]);
            }
            barrier(); // the next slice overwrites this one
        }
        const uint quad = first_n / 4 + w_quad;
        [[unroll]] for (uint r = 0; r < 4; r++) {
            const uint row = first_m + 4 * x_quad + r;
            if (is_wanted && row < a.m && 4 * quad < a.n) {
                const uint at = row * (a.y_stride / 4) + quad;
                vec4 base = a.adds != 0 ? bm_load4(a.y, y_type, at) : vec4(0.0);
                if (a.has_bias != 0)
                    base += bm_load4(a.bias, bias_type, quad);
                bm_store4(a.y, y_type, at, base + sum[r] * a.factor);
            }
        }
    }
}
