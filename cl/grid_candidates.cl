// grid_candidates: what the columns of one group lose under each of several grids: difference[f rows + r, c] = w - value of the   Twin: shaders/grid_candidates.comp
// grid that factor first_factor + f gives the group. Grids are those of kernel scale_search.
//
//   w                 [rows, cols]                float32: the group's columns
//   minimum, maximum  [rows, groups]              float32, of kernel group_range; column group is read
//   factors           [.]                         float32
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
        const float low = bm_range_low(minimum[at]), high = bm_range_high(maximum[at]), factor = factors[a.first_factor + f];
        const float4 v = vload4((ulong)r * (a.w_stride / 4) + q, w);
        float s = bm_zero_step(a.scale_type), zero = 0.0f;
        if (fmax(-low, high) >= BM_ZERO_PEAK) {
            s = bm_group_step(low, high, factor, a.bits, a.symmetric, a.scale_type);
            zero = bm_group_zero_point(low, factor, bm_inverse_step(s), a.bits, a.symmetric);
        }
        const float4 value = (bm_codes4(v, bm_inverse_step(s), zero, a.bits) - zero) * s;
        vstore4(bm_mask4(v - value, q, a.cols, 0.0f), ((ulong)f * a.rows + r) * (a.difference_stride / 4) + q, difference);
    }
}
