// row_error: sums[r] = {sum over c of (x[r, c] - y[r, c])^2, of x[r, c]^2, of y[r, c]^2, largest |x[r, c] - y[r, c]|}.
// Twin: cl/row_error.cl
//
//   x, y  [rows, cols]  real
//   sums  [rows, 4]     float32, every element written
//
// One work-group walks one row at a time, so any number of groups is correct. Local memory: GROUP * 16 bytes.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "row_error.args.glsl"

shared float part_error[GROUP], part_norm[GROUP], part_other[GROUP], part_most[GROUP];

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = (a.cols + 3) / 4;
    for (uint r = gl_WorkGroupID.x; r < a.rows; r += gl_NumWorkGroups.x) { // same r for the whole group
        const uint x_row = r * (a.x_stride / 4), y_row = r * (a.y_stride / 4);
        vec4 error = vec4(0.0), norm = vec4(0.0), other = vec4(0.0), most = vec4(0.0);
        for (uint q = lane; q < quads; q += GROUP) {
            const vec4 u = bm_mask4(bm_load4(a.x, x_type, x_row + q), q, a.cols, 0.0);
            const vec4 v = bm_mask4(bm_load4(a.y, y_type, y_row + q), q, a.cols, 0.0), d = u - v;
            error += d * d;
            norm += u * u;
            other += v * v;
            most = max(most, abs(d));
        }
        part_error[lane] = (error.x + error.y) + (error.z + error.w);
        part_norm[lane] = (norm.x + norm.y) + (norm.z + norm.w);
        part_other[lane] = (other.x + other.y) + (other.z + other.w);
        part_most[lane] = max(max(most.x, most.y), max(most.z, most.w));
        barrier();
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s) {
                part_error[lane] += part_error[lane + s];
                part_norm[lane] += part_norm[lane + s];
                part_other[lane] += part_other[lane + s];
                part_most[lane] = max(part_most[lane], part_most[lane + s]);
            }
            barrier();
        }
        if (lane == 0)
            bm_floats4(uvec2(a.sums)).v[r] = vec4(part_error[0], part_norm[0], part_other[0], part_most[0]);
        barrier(); // the parts are reused by the next row
    }
}
