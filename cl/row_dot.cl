// row_dot: sums[r] = {sum over c of x[r, c] y[r, c], 0, 0, 0}; without y, of x[r, c].   Twin: shaders/row_dot.comp
//
//   x     [rows, cols]  real
//   y     [rows, cols]  float32, read where has_y is 1
//   sums  [rows, 4]     float32, every element written
//
// One work-group walks one row at a time, so any number of groups is correct. Local memory: GROUP * 4 bytes.
#include "bitmill.h"
#include "row_dot.args.h"

BM_KERNEL row_dot(BM_PARAMETERS)
{
    BM_BEGIN
    __local float parts[GROUP];
    const uint lane = get_local_id(0), quads = (a.cols + 3) / 4;
    for (uint r = get_group_id(0); r < a.rows; r += get_num_groups(0)) { // same r for the whole group
        float sum = 0.0f;
        for (uint q = lane; q < quads; q += GROUP) {
            const float4 u = bm_mask4(bm_load4(x, x_type, (ulong)r * (a.x_stride / 4) + q), q, a.cols, 0.0f);
            const float4 v = a.has_y == 0 ? (float4)(1.0f) : bm_mask4(vload4((ulong)r * (a.y_stride / 4) + q, y), q, a.cols, 0.0f);
            sum += (u.x * v.x + u.y * v.y) + (u.z * v.z + u.w * v.w);
        }
        parts[lane] = sum;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s)
                parts[lane] += parts[lane + s];
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        if (lane == 0)
            vstore4((float4)(parts[0], 0.0f, 0.0f, 0.0f), r, sums);
        barrier(CLK_LOCAL_MEM_FENCE); // parts are reused by the next row
    }
}
