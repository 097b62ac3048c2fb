// row_error: sums[r] = {sum over c of (x[r, c] - y[r, c])^2, sum over c of x[r, c]^2, 0, 0}.   Twin: shaders/row_error.comp
//
//   x, y  [rows, cols]  real
//   sums  [rows, 4]     float32, every element written
//
// One work-group walks one row at a time, so any number of groups is correct. Local memory: GROUP * 8 bytes.
#include "bitmill.h"
#include "row_error.args.h"

BM_KERNEL row_error(BM_PARAMETERS)
{
    BM_BEGIN
    __local float part_error[GROUP], part_norm[GROUP];
    const uint lane = get_local_id(0), quads = (a.cols + 3) / 4;
    for (uint r = get_group_id(0); r < a.rows; r += get_num_groups(0)) { // same r for the whole group
        const size_t x_row = (size_t)r * (a.x_stride / 4), y_row = (size_t)r * (a.y_stride / 4);
        float4 error = 0.0f, norm = 0.0f;
        for (uint q = lane; q < quads; q += GROUP) {
            const float4 u = bm_mask4(bm_load4(x, x_type, x_row + q), q, a.cols, 0.0f);
            const float4 d = u - bm_mask4(bm_load4(y, y_type, y_row + q), q, a.cols, 0.0f);
            error += d * d;
            norm += u * u;
        }
        part_error[lane] = (error.x + error.y) + (error.z + error.w);
        part_norm[lane] = (norm.x + norm.y) + (norm.z + norm.w);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s) {
                part_error[lane] += part_error[lane + s];
                part_norm[lane] += part_norm[lane + s];
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        if (lane == 0)
            vstore4((float4)(part_error[0], part_norm[0], 0.0f, 0.0f), r, sums);
        barrier(CLK_LOCAL_MEM_FENCE); // the parts are reused by the next row
    }
}
