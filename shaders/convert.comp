// convert: y[r, c] = x[r, c], from one storage type to another; NaN and infinity are reported.  Twin: cl/convert.cl
//
//   x  [rows, cols]  real
//   y  [rows, cols]  real, rounded half to even; a value above float16's range becomes infinity and is reported
//
// A work-item converts four neighbours; any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "convert.args.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads;
        const vec4 v = bm_mask4(bm_load4(a.x, x_type, r * (a.x_stride / 4) + q), q, a.cols, 0.0);
        const bool fits = y_type != BM_F16 || all(lessThan(abs(v), vec4(65520.0)));
        if (!(bm_is_finite(v.x) && bm_is_finite(v.y) && bm_is_finite(v.z) && bm_is_finite(v.w) && fits))
            bm_report(BM_REPORT_NOT_FINITE, r * a.cols + 4 * q);
        bm_store4(a.y, y_type, r * (a.y_stride / 4) + q, v);
    }
}
