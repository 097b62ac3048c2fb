// permute: y[i, j] = x[row_order[i], col_order[j]], plus diagonal[row_order[i]] where the two indices are equal.   Twin: shaders/permute.comp
//
//   x          [., .]        float32; with lower symmetric, and only its lower triangle is read
//   row_order  [rows]        u32, col_order [cols] u32: rows and columns of x; absent: first_row, ... and 0, 1, 2, ...
//   diagonal   [rows of x]   float32; absent: nothing is added
//   y          [rows, cols]  float32; apart from x
//
// A work-item writes a tile of four rows by four columns, so that what is read down columns, the mirror of a lower triangle, comes
// in vectors too: the tile's own mirror. first_row is a multiple of 4. Any number of work-groups is correct.
#include "bitmill.h"
#include "permute.args.h"

// An element of row `from`, which lies in the lower triangle as that of row c where c is behind.
#define BELOW(c) x[(ulong)max(c, from) * a.x_stride + min(c, from)]

BM_KERNEL permute(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4, count = (a.rows + 3) / 4 * quads;
    const bool moved = a.has_row_order != 0 || a.has_col_order != 0;
    for (uint i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = i / quads * 4, q = i % quads, rows = min(4u, a.rows - r), c = 4 * q, last = a.cols - 1;
        if (a.lower != 0 && !moved && c > a.first_row + r) {
            float4 v[4];
            for (uint k = 0; k < 4; k++)
                v[k] = vload4((ulong)min(c + k, last) * (a.x_stride / 4) + (a.first_row + r) / 4, x);
            const float4 mirror[4] = {(float4)(v[0].x, v[1].x, v[2].x, v[3].x), (float4)(v[0].y, v[1].y, v[2].y, v[3].y),
                                      (float4)(v[0].z, v[1].z, v[2].z, v[3].z), (float4)(v[0].w, v[1].w, v[2].w, v[3].w)};
            for (uint k = 0; k < rows; k++)
                vstore4(mirror[k], (ulong)(r + k) * (a.y_stride / 4) + q, y);
            continue;
        }
        uint4 column = (uint4)(c, min(c + 1, last), min(c + 2, last), min(c + 3, last));
        if (a.has_col_order != 0)
            column = (uint4)(col_order[column.x], col_order[column.y], col_order[column.z], col_order[column.w]);
        #pragma unroll // CPUs fetch ahead for each load apart
        for (uint k = 0; k < 4; k++) { // the last row again in place of those behind it
            const uint j = r + min(k, rows - 1);
            const uint from = a.has_row_order != 0 ? row_order[j] : a.first_row + j;
            __global const float *row = x + (ulong)from * a.x_stride;
            float4 v;
            if (a.lower != 0 && any(column > from))
                v = (float4)(BELOW(column.x), BELOW(column.y), BELOW(column.z), BELOW(column.w));
            else if (a.has_col_order != 0)
                v = (float4)(row[column.x], row[column.y], row[column.z], row[column.w]);
            else
                v = vload4(q, row);
            if (a.has_diagonal != 0 && any(column == from))
                v = select(v, v + diagonal[from], column == from);
            vstore4(v, (ulong)j * (a.y_stride / 4) + q, y);
        }
    }
}
