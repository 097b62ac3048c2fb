// join_parts: y = factor product[i, j] x_scale[i] w_scale[j], with adds 1 y += that.   Twin: cl/join_parts.cl
//
//   product           [rows, cols]              float32: of rows in parts (split_parts)
//   x_scale, w_scale  [1, rows] and [1, cols]   float32: powers of two
//   y                 [rows, cols]              float32; apart from the others
//
// A work-item makes a quad; any number of work-groups is correct. Both scales together go in two halves, which are powers of two as
// well: so nothing between overflows, or vanishes, that y does not. A product of parts is below 2^41; the factor is not below 2^-78.
// Bound: that of a sum and three products, of which those with powers of two round nothing.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "join_parts.args.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4, count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads, at = r * (a.y_stride / 4) + q;
        const uvec4 exponents = (floatBitsToUint(bm_floats(uvec2(a.x_scale)).v[r]) >> 23) +
                                (floatBitsToUint(bm_floats4(uvec2(a.w_scale)).v[q]) >> 23);
        const uvec4 low = exponents / 2;
        const vec4 v = bm_floats4(uvec2(a.product)).v[r * (a.product_stride / 4) + q] * a.factor * uintBitsToFloat(low << 23) *
                       uintBitsToFloat((exponents - low) << 23);
        bm_floats4(uvec2(a.y)).v[at] = a.adds != 0 ? bm_floats4(uvec2(a.y)).v[at] + v : v;
    }
}
