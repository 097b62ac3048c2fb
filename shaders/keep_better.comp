// keep_better: row r of x becomes that of y where y_error[4 r] < x_error[4 r].   Twin: cl/keep_better.cl
//
//   x, y              [rows, cols]  float32
//   x_error, y_error  [rows, 4]     float32, as kernel row_dot writes them
//
// A work-item copies four neighbours; any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "keep_better.args.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads;
        if (a.y_error.v[4 * r] < a.x_error.v[4 * r])
            bm_floats4(uvec2(a.x)).v[r * (a.x_stride / 4) + q] = bm_floats4(uvec2(a.y)).v[r * (a.y_stride / 4) + q];
    }
}
