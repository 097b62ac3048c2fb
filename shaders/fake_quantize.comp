// fake_quantize: y[r, c] = what w[r, c] becomes when it is quantized and dequantized.   Twin: cl/fake_quantize.cl
//
//   w                 [rows, cols]    real
//   step, zero_point  [rows, groups]  float32, int32
//   y                 [rows, cols]    real; may be w
//
// group_size is a multiple of 4, or cols. A work-item makes four elements; any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "quantization.glsl"
#include "fake_quantize.args.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads;
        const uint at = r * a.step_stride + 4 * q / a.group_size;
        const vec4 v = bm_load4(a.w, w_type, r * (a.w_stride / 4) + q);
        const float zero = float(a.zero_point.v[at]);
        const vec4 c = bm_codes4(v, bm_inverse_step(a.step.v[at]), zero, a.bits);
        bm_store4(a.y, y_type, r * (a.y_stride / 4) + q, (c - zero) * a.step.v[at]);
    }
}
