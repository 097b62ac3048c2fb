// gemm_pack_columns: lays the columns of x out in panels for gemm_packed, as gemm_pack_inputs and gemm_pack_weights lay out the
// rows of x transposed.   Twin: cl/gemm_pack_columns.cl
//
//   x       [rows, cols]                          real
//   packed  [panels of COLS columns][rows][COLS]  float32: element (r, c) lies at (c / COLS * rows + r) * COLS + c % COLS;
//                                                 columns behind cols are zeros
//
// A work-item moves one row of one panel, neighbours have neighbouring rows; any number of work-groups is correct.
// COLS: columns of a panel.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "gemm_pack_columns.args.glsl"

void main()
{
    const uint count = (a.cols + COLS - 1) / COLS * a.rows;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint panel = i / a.rows, r = i % a.rows;
        const uint first = r * a.x_stride + panel * COLS;
        [[unroll]] for (uint c = 0; c < COLS; c++)
            a.packed.v[i * COLS + c] = panel * COLS + c < a.cols ? bm_load(a.x, x_type, first + c) : 0.0;
    }
}
