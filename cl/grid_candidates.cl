// grid_candidates: what the columns of one group lose under each of several grids.   Twin: shaders/grid_candidates.comp
//
// difference[f rows + r, c] = w - value of the grid that factor first_factor + f gives the group; with relative that factor is
// added to the row's best so far. Grids are those of kernel scale_search.
//
//   w                 [rows, cols]                float32: the group's columns
//   minimum, maximum  [rows, groups]              float32, of kernel group_range; column group is read
//   factors           [.]                         float32
//   best              [rows, 4]                   float32, of kernel grid_choose; absent unless relative
//   difference        [num_factors * rows, cols]  float32, zeros in the row's padding
//
// A work-item writes four neighbours; any number of work-groups is correct.
#include "quantization.h"
#include "grid_candidates.args.h"

BM_KERNEL grid_candidates(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.num_factors * a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint q = (uint)(i % quads), f = (uint)(i / quads / a.rows), r = (uint)(i / quads % a.rows);
        const ulong at = (ulong)r * a.range_stride + a.group;
        const float factor = factors[a.first_factor + f] + (a.relative != 0 ? best[4 * (ulong)r + 1] : 0.0f);
        const bm_grid grid = bm_group_grid(minimum[at], maximum[at], factor, a.bits, a.symmetric, a.scale_type);
        const float4 v = vload4((ulong)r * (a.w_stride / 4) + q, w);
        const float4 codes = bm_codes4(v, bm_inverse_step(grid.step), grid.zero_point, a.bits);
        const float4 value = (codes - grid.zero_point) * grid.step;
        vstore4(bm_mask4(v - value, q, a.cols, 0.0f), ((ulong)f * a.rows + r) * (a.difference_stride / 4) + q, difference);
    }
}
