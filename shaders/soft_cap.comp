// soft_cap: y[r, c] = cap tanh(x[r, c] / cap).   Twin: cl/soft_cap.cl
//
//   x, y  [rows, cols]  real; y may be x
//   cap                 positive
//
// A work-item takes four neighbours; any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "soft_cap.args.glsl"
#include "soft_cap.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads;
        bm_store4(a.y, y_type, r * (a.y_stride / 4) + q, bm_soft_cap(bm_load4(a.x, x_type, r * (a.x_stride / 4) + q), a.cap));
    }
}
