// group_normalize: normalized[r, c] = |w[r, c]| / peak, the largest magnitude of the group of c in row r.   Twin: cl/group_normalize.cl
//
//   w                 [rows, cols]    real
//   minimum, maximum  [rows, groups]  float32: what group_range finds of w
//   normalized        [rows, cols]    float32; may be w
//
// group_size is a multiple of 4, or cols. A group whose peak counts as zero gives zeros, magnitudes saturate as on the way to
// codes, and NaN stays NaN. A work-item makes four elements; any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "quantization.glsl"
#include "group_normalize.args.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads;
        const uint at = r * a.range_stride + 4 * q / a.group_size;
        const float peak = max(abs(a.minimum.v[at]), abs(a.maximum.v[at]));
        const float inverse = peak < BM_ZERO_PEAK ? 0.0 : bm_divide(1.0, min(peak, BM_LARGEST_PEAK));
        const vec4 v = abs(bm_load4(a.w, w_type, r * (a.w_stride / 4) + q));
        // By the bits: compilers make a minimum of a comparison of numbers, which loses NaN.
        const uvec4 bits = floatBitsToUint(v), most = uvec4(floatBitsToUint(BM_LARGEST_PEAK)), infinity = uvec4(0x7f800000u);
        const bvec4 saturates = lessThan(bits - most - 1u, infinity - most);
        const vec4 magnitude = mix(v, vec4(BM_LARGEST_PEAK), saturates);
        bm_floats4(uvec2(a.normalized)).v[r * (a.out_stride / 4) + q] = magnitude * inverse;
    }
}
