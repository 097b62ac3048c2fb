// rmsnorm: y[r, c] = weight[c] * x[r, c] / sqrt(mean over c of x[r, c]^2 + epsilon).   Twin: shaders/rmsnorm.comp
//
//   x, y    [rows, cols]  real; y may be x
//   weight  [1, cols]     real
//
// One work-group walks one row at a time, so any number of groups is correct.
// Source: Zhang and Sennrich, Root Mean Square Layer Normalization, 2019, equation 4.
#include "bitmill.h"
#include "rmsnorm.args.h"

BM_KERNEL rmsnorm(BM_PARAMETERS)
{
    BM_BEGIN
    __local float part[GROUP];
    const uint lane = get_local_id(0), quads = (a.cols + 3) / 4;
    for (uint r = get_group_id(0); r < a.rows; r += get_num_groups(0)) { // same r for the whole group
        const size_t x_row = (size_t)r * (a.x_stride / 4), y_row = (size_t)r * (a.y_stride / 4);
        float4 sums = 0.0f;
        for (uint q = lane; q < quads; q += GROUP) {
            const float4 v = bm_mask4(bm_load4(x, x_type, x_row + q), q, a.cols, 0.0f);
            sums += v * v;
        }
        part[lane] = (sums.x + sums.y) + (sums.z + sums.w);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s)
                part[lane] += part[lane + s];
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        const float scale = 1.0f / sqrt(part[0] / (float)a.cols + a.epsilon);
        for (uint q = lane; q < quads; q += GROUP)
            bm_store4(y, y_type, y_row + q, bm_load4(weight, weight_type, q) * (bm_load4(x, x_type, x_row + q) * scale));
        barrier(CLK_LOCAL_MEM_FENCE); // part is reused by the next row
    }
}
