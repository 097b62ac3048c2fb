// transpose: y[c, r] = x[r, c].   Twin: cl/transpose.cl
//
//   x  [rows, cols]  real
//   y  [cols, rows]  real; apart from x
//
// A work-item moves four rows of one column: neighbours read neighbours. Any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "transpose.args.glsl"

void main()
{
    const uint quads = (a.rows + 3) / 4;
    const uint count = quads * a.cols;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint q = i / a.cols, c = i % a.cols;
        vec4 v;
        for (uint k = 0; k < 4; k++)
            v[k] = 4 * q + k < a.rows ? bm_load(a.x, x_type, (4 * q + k) * a.x_stride + c) : 0.0;
        bm_store4(a.y, y_type, c * (a.y_stride / 4) + q, v);
    }
}
