// gemm_unpack_weights: rows of w out of the panels of gemm_pack_weights.   Twin: cl/gemm_unpack_weights.cl
//
//   packed  [panels of COLS rows][k][COLS]  real: element (j, l) of w lies at (j / COLS * k + l) * COLS + j % COLS
//   y       [rows, k]                       real; rows first_row .. first_row + rows - 1 of w
//
// A work-item moves four columns of a row; any number of work-groups is correct.
// COLS: rows of w (columns of y) of a panel, a multiple of 4.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "gemm_unpack_weights.args.glsl"

void main()
{
    const uint quads = (a.k + 3) / 4;
    const uint count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads, row = a.first_row + r;
        const uint panel = row / COLS * a.k;
        vec4 v = vec4(0.0);
        [[unroll]] for (uint l = 0; l < 4; l++)
            if (4 * q + l < a.k)
                v[l] = bm_load(a.packed, packed_type, (panel + 4 * q + l) * COLS + row % COLS);
        bm_store4(a.y, y_type, r * (a.y_stride / 4) + q, v);
    }
}
