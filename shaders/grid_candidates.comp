// grid_candidates: what the columns of one group lose under each of several grids: difference[f rows + r, c] = w - value of the   Twin: cl/grid_candidates.cl
// grid that factor first_factor + f gives the group. Grids are those of kernel scale_search.
//
//   w                 [rows, cols]                float32: the group's columns
//   minimum, maximum  [rows, groups]              float32, of kernel group_range; column group is read
//   factors           [.]                         float32
//   difference        [num_factors * rows, cols]  float32, zeros in the row's padding
//
// A work-item writes four neighbours; any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "quantization.glsl"
#include "grid_candidates.args.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.num_factors * a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint q = i % quads, f = i / quads / a.rows, r = i / quads % a.rows;
        const uint at = r * a.range_stride + a.group;
        const float low = bm_range_low(a.minimum.v[at]), high = bm_range_high(a.maximum.v[at]);
        const float factor = a.factors.v[a.first_factor + f];
        const vec4 v = bm_floats4(uvec2(a.w)).v[r * (a.w_stride / 4) + q];
        float s = bm_zero_step(a.scale_type), zero = 0.0;
        if (max(-low, high) >= BM_ZERO_PEAK) {
            s = bm_group_step(low, high, factor, a.bits, a.symmetric, a.scale_type);
            zero = bm_group_zero_point(low, factor, bm_inverse_step(s), a.bits, a.symmetric);
        }
        precise const vec4 value = (bm_codes4(v, bm_inverse_step(s), zero, a.bits) - zero) * s;
        precise const vec4 d = v - value;
        bm_floats4(uvec2(a.difference)).v[(f * a.rows + r) * (a.difference_stride / 4) + q] = bm_mask4(d, q, a.cols, 0.0);
    }
}
