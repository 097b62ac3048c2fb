// permute: y[i, j] = x[row_order[i], col_order[j]], plus diagonal[row_order[i]] where the two indices are equal.   Twin: cl/permute.cl
//
//   x          [., .]        float32; with lower symmetric, and only its lower triangle is read
//   row_order  [rows]        u32, col_order [cols] u32: rows and columns of x; absent: first_row, ... and 0, 1, 2, ...
//   diagonal   [rows of x]   float32; absent: nothing is added
//   y          [rows, cols]  float32; apart from x
//
// A work-item writes four neighbours; any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "permute.args.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads;
        const uint from = a.has_row_order != 0u ? a.row_order.v[r] : a.first_row + r;
        vec4 v;
        for (uint k = 0; k < 4; k++) {
            const uint c = min(4 * q + k, a.cols - 1), column = a.has_col_order != 0u ? a.col_order.v[c] : c;
            const bool above = a.lower != 0u && column > from;
            v[k] = a.x.v[(above ? column : from) * a.x_stride + (above ? from : column)];
            if (a.has_diagonal != 0u && column == from)
                v[k] += a.diagonal.v[from];
        }
        bm_floats4(uvec2(a.y)).v[r * (a.y_stride / 4) + q] = v;
    }
}
