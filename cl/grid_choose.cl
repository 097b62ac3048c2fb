// grid_choose: of the candidates of kernel grid_candidates each row keeps the best.   Twin: shaders/grid_choose.comp
//
// The best is the one with the least sum over c of difference product; the first wins ties. With product = difference G, G the
// group's block of X^T X, that is the least output error.
//
//   difference, product  [num_factors * rows, cols]  float32
//   minimum, maximum     [rows, groups]              float32, of kernel group_range
//   factors              [.]                         float32
//   best                 [rows, 4]                   float32 {least loss, its factor, 0, 0}; where first_factor is 0 written, else what came
//                                                    before; with relative all factors here are added to the one that came before
//   step, zero_point     [rows, groups]              column group: the grid of the best so far
//
// One work-group walks one row at a time, so any number of groups is correct. Local memory: GROUP * 4 bytes.
#include "quantization.h"
#include "grid_choose.args.h"

BM_KERNEL grid_choose(BM_PARAMETERS)
{
    BM_BEGIN
    __local float parts[GROUP];
    const uint lane = get_local_id(0), quads = (a.cols + 3) / 4;
    for (uint r = get_group_id(0); r < a.rows; r += get_num_groups(0)) { // same r for the whole group
        float least = 0.0f; // of lane 0: the others only add up
        float choice = 0.0f;
        if (lane == 0 && a.first_factor != 0) {
            least = best[4 * (ulong)r];
            choice = best[4 * (ulong)r + 1];
        }
        const float base = a.relative != 0 ? choice : 0.0f;
        for (uint f = 0; f < a.num_factors; f++) {
            const ulong row = (ulong)f * a.rows + r;
            float sum = 0.0f;
            for (uint q = lane; q < quads; q += GROUP) {
                const float4 u = bm_mask4(vload4(row * (a.difference_stride / 4) + q, difference), q, a.cols, 0.0f);
                const float4 v = bm_mask4(vload4(row * (a.product_stride / 4) + q, product), q, a.cols, 0.0f);
                sum += (u.x * v.x + u.y * v.y) + (u.z * v.z + u.w * v.w);
            }
            parts[lane] = sum;
            barrier(CLK_LOCAL_MEM_FENCE);
            for (uint s = GROUP / 2; s > 0; s /= 2) {
                if (lane < s)
                    parts[lane] += parts[lane + s];
                barrier(CLK_LOCAL_MEM_FENCE);
            }
            if (lane == 0 && (a.first_factor + f == 0 || parts[0] < least)) {
                least = parts[0];
                choice = factors[a.first_factor + f] + base;
            }
            barrier(CLK_LOCAL_MEM_FENCE); // parts are reused by the next factor
        }
        if (lane == 0) {
            const ulong at = (ulong)r * a.range_stride + a.group;
            const bm_grid grid = bm_group_grid(minimum[at], maximum[at], choice, a.bits, a.symmetric, a.scale_type);
            vstore4((float4)(least, choice, 0.0f, 0.0f), r, best);
            step[at] = grid.step;
            zero_point[at] = (int)grid.zero_point;
        }
    }
}
