// scale_columns: x[r, c] = x[r, c] factors[c].   Twin: cl/scale_columns.cl
//
//   x        [rows, cols]  float32
//   factors  [cols]        float32
//
// A work-item scales four neighbours; any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "scale_columns.args.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads;
        bm_floats4(uvec2(a.x)).v[r * (a.x_stride / 4) + q] *= bm_floats4(uvec2(a.factors)).v[q];
    }
}
