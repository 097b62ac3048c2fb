// quantize: codes[r, c] = clamp(rint(w[r, c] / step) + zero_point) of the column's group.   Twin: cl/quantize.cl
//
//   w                 [rows, cols]    real
//   step, zero_point  [rows, groups]  float32, int32
//   codes             [rows, cols]    int8; padding is written 0
//
// group_size is a multiple of 4, or cols. A work-item makes four codes; any number of work-groups is correct.
// Codes are the same on every device.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "quantization.glsl"
#include "quantize.args.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads;
        const uint at = r * a.step_stride + 4 * q / a.group_size;
        const vec4 v = bm_load4(a.w, w_type, r * (a.w_stride / 4) + q);
        const vec4 c = bm_mask4(bm_codes4(v, bm_inverse_step(a.step.v[at]), float(a.zero_point.v[at]), a.bits), q, a.cols, 0.0);
        a.codes.v[r * (a.code_stride / 4) + q] = bm_pack_bytes(c);
    }
}
