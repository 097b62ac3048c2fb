// permute: y[i, j] = x[row_order[i], col_order[j]], plus diagonal[row_order[i]] where the two indices are equal.   Twin: cl/permute.cl
//
//   x          [., .]        float32; with lower symmetric, and only its lower triangle is read
//   row_order  [rows]        u32, col_order [cols] u32: rows and columns of x; absent: first_row, ... and 0, 1, 2, ...
//   diagonal   [rows of x]   float32; absent: nothing is added
//   y          [rows, cols]  float32; apart from x
//
// A work-item writes a tile of four rows by four columns, so that what is read down columns, the mirror of a lower triangle, comes
// in vectors too: the tile's own mirror. first_row is a multiple of 4. Any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "permute.args.glsl"

// An element of row `from`, which lies in the lower triangle as that of row c where c is behind.
#define BELOW(c) a.x.v[max(c, from) * a.x_stride + min(c, from)]

void main()
{
    const uint quads = (a.cols + 3) / 4, count = (a.rows + 3) / 4 * quads;
    const bool moved = a.has_row_order != 0u || a.has_col_order != 0u;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads * 4, q = i % quads, rows = min(4, a.rows - r), c = 4 * q, last = a.cols - 1;
        if (a.lower != 0u && !moved && c > a.first_row + r) {
            mat4 tile;
            for (uint k = 0; k < 4; k++)
                tile[k] = bm_floats4(uvec2(a.x)).v[min(c + k, last) * (a.x_stride / 4) + (a.first_row + r) / 4];
            tile = transpose(tile);
            for (uint k = 0; k < rows; k++)
                bm_floats4(uvec2(a.y)).v[(r + k) * (a.y_stride / 4) + q] = tile[k];
            continue;
        }
        uvec4 column = min(uvec4(c, c + 1, c + 2, c + 3), uvec4(last));
        if (a.has_col_order != 0u)
            column = uvec4(a.col_order.v[column.x], a.col_order.v[column.y], a.col_order.v[column.z], a.col_order.v[column.w]);
        for (uint k = 0; k < 4; k++) { // the last row again in place of those behind it
            const uint j = r + min(k, rows - 1);
            const uint from = a.has_row_order != 0u ? a.row_order.v[j] : a.first_row + j, row = from * a.x_stride;
            vec4 v;
            if (a.lower != 0u && any(greaterThan(column, uvec4(from))))
                v = vec4(BELOW(column.x), BELOW(column.y), BELOW(column.z), BELOW(column.w));
            else if (a.has_col_order != 0u)
                v = vec4(a.x.v[row + column.x], a.x.v[row + column.y], a.x.v[row + column.z], a.x.v[row + column.w]);
            else
                v = bm_floats4(uvec2(a.x)).v[row / 4 + q];
            const bvec4 here = equal(column, uvec4(from));
            if (a.has_diagonal != 0u && any(here))
                v = mix(v, v + a.diagonal.v[from], here);
            bm_floats4(uvec2(a.y)).v[j * (a.y_stride / 4) + q] = v;
        }
    }
}
