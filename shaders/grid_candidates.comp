// grid_candidates: what the columns of one group lose under each of several grids.   Twin: cl/grid_candidates.cl
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
        float factor = a.factors.v[a.first_factor + f];
        if (a.relative != 0u)
            factor += a.best.v[4 * r + 1];
        const bm_grid grid = bm_group_grid(a.minimum.v[at], a.maximum.v[at], factor, a.bits, a.symmetric, a.scale_type);
        const vec4 v = bm_floats4(uvec2(a.w)).v[r * (a.w_stride / 4) + q];
        const vec4 codes = bm_codes4(v, bm_inverse_step(grid.step), grid.zero_point, a.bits);
        precise const vec4 value = (codes - grid.zero_point) * grid.step;
        precise const vec4 d = v - value;
        bm_floats4(uvec2(a.difference)).v[(f * a.rows + r) * (a.difference_stride / 4) + q] = bm_mask4(d, q, a.cols, 0.0);
    }
}
