// gemm_int8_pack: lays rows of codes out in panels of floats for gemm_int8_packed.   Twin: cl/gemm_int8_pack.cl
//
//   codes   [rows, k]                          int8
//   packed  [panels of COLS rows][k][COLS]     float32: element (r, l) lies at (j / COLS * k + l) * COLS + j % COLS,
//                                              j = first_row + r
//
// Rows behind rows, up to padded_rows, are written as zeros; other elements stay as they are.
// A work-item moves four columns of one panel; any number of work-groups is correct.
// COLS: rows of a panel.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "gemm_int8_pack.args.glsl"

void main()
{
    const uint quads = (a.k + 3) / 4, first_panel = a.first_row / COLS;
    const uint panels = (a.first_row + a.padded_rows - 1) / COLS - first_panel + 1;
    const uint count = panels * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint panel = first_panel + i / quads, q = i % quads;
        const uint first = (panel * a.k + 4 * q) * COLS;
        [[unroll]] for (uint c = 0; c < COLS; c++) {
            const uint row = panel * COLS + c - a.first_row; // wraps around before the first
            if (row < a.padded_rows) {
                const int word = row < a.rows ? int(a.codes.v[row * (a.code_stride / 4) + q]) : 0;
                [[unroll]] for (uint l = 0; l < 4; l++)
                    if (4 * q + l < a.k)
                        a.packed.v[first + l * COLS + c] = float((word << (24 - 8 * l)) >> 24);
            }
        }
    }
}
