// add: z[r, c] = x[r, c] + factor y[r, c], with halves half of that.   Twin: cl/add.cl
//
//   x, y, z  [rows, cols]  real; z may be x or y
//
// A work-item adds four neighbours; any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "add.args.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads;
        const vec4 u = bm_load4(a.x, x_type, r * (a.x_stride / 4) + q);
        const vec4 v = bm_load4(a.y, y_type, r * (a.y_stride / 4) + q);
        bm_store4(a.z, z_type, r * (a.z_stride / 4) + q, (a.halves != 0 ? 0.5 : 1.0) * (u + a.factor * v));
    }
}
