// grid_candidates: what the columns of one group lose under each of several grids.   Twin: cl/grid_candidates.cl
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
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "quantization.glsl"
#include "grid_candidates.args.glsl"

shared float steps[GROUP], inverses[GROUP], zero_points[GROUP];

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = (a.cols + 3) / 4;
    const uint width = min(quads, uint(GROUP)), slots = GROUP / width, slot = lane / width, first_quad = lane % width;
    for (uint r = gl_WorkGroupID.x; r < a.rows; r += gl_NumWorkGroups.x) { // same r for the whole group
        for (uint done = 0; done < a.num_factors; done += GROUP) {
            const uint count = min(a.num_factors - done, uint(GROUP));
            if (lane < count) {
                const uint at = r * a.range_stride + a.group;
                float factor = a.factors.v[a.first_factor + done + lane];
                if (a.relative != 0u)
                    factor += a.best.v[4 * r + 1];
                const bm_grid grid = bm_group_grid(a.minimum.v[at], a.maximum.v[at], factor, a.bits, a.symmetric, a.scale_type);
                steps[lane] = grid.step;
                inverses[lane] = bm_inverse_step(grid.step);
                zero_points[lane] = grid.zero_point;
            }
            barrier();
            const uint own = r * a.range_stride + a.group;
            const float unit = a.scales != 0u ? bm_half_unit(a.minimum.v[own], a.maximum.v[own]) : 1.0;
            for (uint f = slot; slot < slots && f < count; f += slots) {
                const float step = steps[f], zero_point = zero_points[f];
                const uint row = ((done + f) * a.rows + r) * (a.difference_stride / 4);
                for (uint q = first_quad; q < quads; q += width) {
                    const vec4 v = bm_floats4(uvec2(a.w)).v[r * (a.w_stride / 4) + q];
                    precise const vec4 value = (bm_codes4(v, inverses[f], zero_point, a.bits) - zero_point) * step;
                    precise const vec4 d = v - value;
                    bm_store4(a.difference, difference_type, row + q, bm_mask4(d * unit, q, a.cols, 0.0));
                }
            }
            barrier(); // the grids are replaced
        }
    }
}
