// grid_choose: of the candidates of kernel grid_candidates each row keeps the best.   Twin: cl/grid_choose.cl
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
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "quantization.glsl"
#include "grid_choose.args.glsl"

shared float parts[GROUP];

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = (a.cols + 3) / 4;
    for (uint r = gl_WorkGroupID.x; r < a.rows; r += gl_NumWorkGroups.x) { // same r for the whole group
        float least = 0.0; // of lane 0: the others only add up
        float choice = 0.0;
        if (lane == 0 && a.first_factor != 0) {
            least = a.best.v[4 * r];
            choice = a.best.v[4 * r + 1];
        }
        const float base = a.relative != 0u ? choice : 0.0;
        for (uint f = 0; f < a.num_factors; f++) {
            const uint row = f * a.rows + r;
            float sum = 0.0;
            for (uint q = lane; q < quads; q += GROUP) {
                const vec4 u = bm_mask4(bm_floats4(uvec2(a.difference)).v[row * (a.difference_stride / 4) + q], q, a.cols, 0.0);
                const vec4 v = bm_mask4(bm_floats4(uvec2(a.product)).v[row * (a.product_stride / 4) + q], q, a.cols, 0.0);
                sum += (u.x * v.x + u.y * v.y) + (u.z * v.z + u.w * v.w);
            }
            parts[lane] = sum;
            barrier();
            for (uint s = GROUP / 2; s > 0; s /= 2) {
                if (lane < s)
                    parts[lane] += parts[lane + s];
                barrier();
            }
            if (lane == 0 && (a.first_factor + f == 0 || parts[0] < least)) {
                least = parts[0];
                choice = a.factors.v[a.first_factor + f] + base;
            }
            barrier(); // parts are reused by the next factor
        }
        if (lane == 0) {
            const uint at = r * a.range_stride + a.group;
            const bm_grid grid = bm_group_grid(a.minimum.v[at], a.maximum.v[at], choice, a.bits, a.symmetric, a.scale_type);
            bm_floats4(uvec2(a.best)).v[r] = vec4(least, choice, 0.0, 0.0);
            a.step.v[at] = grid.step;
            a.zero_point.v[at] = int(grid.zero_point);
        }
    }
}
