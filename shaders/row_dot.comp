// row_dot: sums[r] = {sum over c of x[r, c] y[r, c], 0, 0, 0}; without y, of x[r, c].   Twin: cl/row_dot.cl
//
//   x     [rows, cols]  real
//   y     [rows, cols]  float32, read where has_y is 1
//   sums  [rows, 4]     float32, every element written
//
// One work-group walks one row at a time, so any number of groups is correct. Local memory: GROUP * 4 bytes.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "row_dot.args.glsl"

shared float parts[GROUP];

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = (a.cols + 3) / 4;
    for (uint r = gl_WorkGroupID.x; r < a.rows; r += gl_NumWorkGroups.x) { // same r for the whole group
        float sum = 0.0;
        for (uint q = lane; q < quads; q += GROUP) {
            const vec4 u = bm_mask4(bm_load4(a.x, x_type, r * (a.x_stride / 4) + q), q, a.cols, 0.0);
            const vec4 v = a.has_y == 0 ? vec4(1.0) : bm_mask4(bm_floats4(uvec2(a.y)).v[r * (a.y_stride / 4) + q], q, a.cols, 0.0);
            sum += (u.x * v.x + u.y * v.y) + (u.z * v.z + u.w * v.w);
        }
        parts[lane] = sum;
        barrier();
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s)
                parts[lane] += parts[lane + s];
            barrier();
        }
        if (lane == 0)
            bm_floats4(uvec2(a.sums)).v[r] = vec4(parts[0], 0.0, 0.0, 0.0);
        barrier(); // parts are reused by the next row
    }
}
