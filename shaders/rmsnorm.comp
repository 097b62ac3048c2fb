// rmsnorm: y[r, c] = weight[c] * x[r, c] / sqrt(mean over c of x[r, c]^2 + epsilon).   Twin: cl/rmsnorm.cl
//
//   x, y    [rows, cols]  real; y may be x
//   weight  [1, cols]     real
//
// One work-group walks one row at a time, so any number of groups is correct.
// Source: Zhang and Sennrich, Root Mean Square Layer Normalization, 2019, equation 4.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "rmsnorm.args.glsl"

shared float part[GROUP];

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = (a.cols + 3) / 4;
    for (uint r = gl_WorkGroupID.x; r < a.rows; r += gl_NumWorkGroups.x) { // same r for the whole group
        const uint x_row = r * (a.x_stride / 4), y_row = r * (a.y_stride / 4);
        vec4 sums = vec4(0.0);
        for (uint q = lane; q < quads; q += GROUP) {
            const vec4 v = bm_mask4(bm_load4(a.x, x_type, x_row + q), q, a.cols, 0.0);
            sums += v * v;
        }
        part[lane] = (sums.x + sums.y) + (sums.z + sums.w);
        barrier();
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s)
                part[lane] += part[lane + s];
            barrier();
        }
        const float scale = 1.0 / sqrt(part[0] / float(a.cols) + a.epsilon);
        for (uint q = lane; q < quads; q += GROUP)
            bm_store4(a.y, y_type, y_row + q, bm_load4(a.weight, weight_type, q) * (bm_load4(a.x, x_type, x_row + q) * scale));
        barrier(); // part is reused by the next row
    }
}
