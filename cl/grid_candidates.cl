// grid_candidates: what the columns of one group lose under each of several grids.   Twin: shaders/grid_candidates.comp
//
// difference[f rows + r, c] = w - value of the grid that factor first_factor + f gives the group; with relative that factor is
// added to the row's best so far. Grids are those of kernel scale_search.
//
//   w                 [rows, cols]                float32: the group's columns
//   minimum, maximum  [rows, groups]              float32, of kernel group_range; column group is read
//   factors           [.]                         float32
//   best              [rows, 4]                   float32, of kernel grid_choose; absent unless relative
//   difference        [num_factors * rows, cols]  real, zeros in the row's padding; with scales times the power of two that brings the
//                                                 group's range to 2^10 .. 2^11, so that float16 holds it
//
// One work-group walks one row at a time, so any number of groups is correct; its lanes find the grids of GROUP factors, then
// write them side by side, as many lanes a factor as there are quads. Local memory: GROUP * 12 bytes.
#include "quantization.h"
#include "grid_candidates.args.h"

BM_KERNEL grid_candidates(BM_PARAMETERS)
{
    BM_BEGIN
    __local float steps[GROUP], inverses[GROUP], zero_points[GROUP];
    const uint lane = get_local_id(0), quads = (a.cols + 3) / 4;
    const uint width = min(quads, (uint)GROUP), slots = GROUP / width, slot = lane / width, first_quad = lane % width;
    for (uint r = get_group_id(0); r < a.rows; r += get_num_groups(0)) { // same r for the whole group
        for (uint done = 0; done < a.num_factors; done += GROUP) {
            const uint count = min(a.num_factors - done, (uint)GROUP);
            if (lane < count) {
                const ulong at = (ulong)r * a.range_stride + a.group;
                const float factor = factors[a.first_factor + done + lane] + (a.relative != 0 ? best[4 * (ulong)r + 1] : 0.0f);
                const bm_grid grid = bm_group_grid(minimum[at], maximum[at], factor, a.bits, a.symmetric, a.scale_type);
                steps[lane] = grid.step;
                inverses[lane] = bm_inverse_step(grid.step);
                zero_points[lane] = grid.zero_point;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            const float unit = a.scales != 0 ? bm_half_unit(minimum[(ulong)r * a.range_stride + a.group], maximum[(ulong)r * a.range_stride + a.group]) : 1.0f;
            for (uint f = slot; slot < slots && f < count; f += slots) {
                const float step = steps[f], inverse = inverses[f], zero_point = zero_points[f];
                const ulong row = ((ulong)(done + f) * a.rows + r) * (a.difference_stride / 4);
                for (uint q = first_quad; q < quads; q += width) {
                    const float4 v = vload4((ulong)r * (a.w_stride / 4) + q, w);
                    const float4 value = (bm_codes4(v, inverse, zero_point, a.bits) - zero_point) * step;
                    bm_store4(difference, difference_type, row + q, bm_mask4((v - value) * unit, q, a.cols, 0.0f));
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE); // the grids are replaced
        }
    }
}
