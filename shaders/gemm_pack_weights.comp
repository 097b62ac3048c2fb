// gemm_pack_weights: lays rows of w out in panels for gemm_packed.   Twin: cl/gemm_pack_weights.cl
//
//   x       [rows, k]                       real; rows first_row .. first_row + rows - 1 of w
//   packed  [panels of COLS rows][k][COLS]  real: element (j, l) of w lies at (j / COLS * k + l) * COLS + j % COLS;
//                                           elements of other rows stay as they are
//
// NaN and infinity are reported, with their place in x, and so is a value above float16's range.
// A work-item moves four rows and four columns, neighbours those of neighbouring rows of a panel, so that panels are written
// in sequence; any number of work-groups is correct.
// COLS: rows of w (columns of y) of a panel, a multiple of 4.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "gemm_pack_weights.args.glsl"

void main()
{
    const uint quads = (a.k + 3) / 4, first_panel = a.first_row / COLS, end = a.first_row + a.rows;
    const uint count = ((end + COLS - 1) / COLS - first_panel) * quads * (COLS / 4);
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint step = i / (COLS / 4), panel = step / quads, q = step - panel * quads;
        const uint row = (first_panel + panel) * COLS + i % (COLS / 4) * 4;
        if (row + 3 < a.first_row || row >= end)
            continue;
        vec4 v[4];
        bvec4 inside;
        [[unroll]] for (uint r = 0; r < 4; r++) {
            inside[r] = row + r >= a.first_row && row + r < end;
            v[r] = vec4(0.0);
            const uint x_row = row + r - a.first_row;
            if (inside[r])
                v[r] = bm_mask4(bm_load4(a.x, x_type, x_row * (a.x_stride / 4) + q), q, a.k, 0.0);
            const bool fits = packed_type != BM_F16 || all(lessThan(abs(v[r]), vec4(65520.0)));
            if (!(bm_is_finite(v[r].x) && bm_is_finite(v[r].y) && bm_is_finite(v[r].z) && bm_is_finite(v[r].w) && fits))
                bm_report(BM_REPORT_NOT_FINITE, x_row * a.k + 4 * q);
        }
        [[unroll]] for (uint l = 0; l < 4; l++) {
            if (4 * q + l < a.k) {
                const uint at = ((row / COLS * a.k + 4 * q + l) * COLS + row % COLS) / 4;
                vec4 c = vec4(v[0][l], v[1][l], v[2][l], v[3][l]);
                if (!(inside[0] && inside[3])) // a quad that holds rows of another call
                    c = mix(bm_load4(a.packed, packed_type, at), c, inside);
                bm_store4(a.packed, packed_type, at, c);
            }
        }
    }
}
