// shift_scale: y[r, c] = (x[r, c] + shift[c]) factor[c].   Twin: cl/shift_scale.cl
//
//   x, y           [rows, cols]  real; y may be x
//   shift, factor  [1, cols]     real; read where has_shift and has_factor are 1
//
// A work-item takes four neighbours; any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "shift_scale.args.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads;
        vec4 v = bm_load4(a.x, x_type, r * (a.x_stride / 4) + q);
        if (a.has_shift != 0)
            v += bm_load4(a.shift, shift_type, q);
        if (a.has_factor != 0)
            v *= bm_load4(a.factor, factor_type, q);
        bm_store4(a.y, y_type, r * (a.y_stride / 4) + q, v);
    }
}
