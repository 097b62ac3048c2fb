// permute: y[i, j] = x[row_order[i], col_order[j]], plus diagonal[row_order[i]] where the two indices are equal.   Twin: shaders/permute.comp
//
//   x          [., .]        float32; with lower symmetric, and only its lower triangle is read
//   row_order  [rows]        u32, col_order [cols] u32: rows and columns of x; absent: first_row, ... and 0, 1, 2, ...
//   diagonal   [rows of x]   float32; absent: nothing is added
//   y          [rows, cols]  float32; apart from x
//
// A work-item writes four neighbours; any number of work-groups is correct.
#include "bitmill.h"
#include "permute.args.h"

BM_KERNEL permute(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads);
        const uint from = a.has_row_order != 0 ? row_order[r] : a.first_row + r;
        float v[4];
        for (uint k = 0; k < 4; k++) {
            const uint c = min(4 * q + k, a.cols - 1), column = a.has_col_order != 0 ? col_order[c] : c;
            const bool above = a.lower != 0 && column > from;
            v[k] = x[(ulong)(above ? column : from) * a.x_stride + (above ? from : column)];
            if (a.has_diagonal != 0 && column == from)
                v[k] += diagonal[from];
        }
        vstore4((float4)(v[0], v[1], v[2], v[3]), (ulong)r * (a.y_stride / 4) + q, y);
    }
}
