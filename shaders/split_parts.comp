// split_parts: rows of float32 as float16 in two parts, for a product on matrix units.   Twin: cl/split_parts.cl
//
//   x      [rows, cols]      float32
//   parts  [rows, 3 padded]  pairs of float16; padded: cols rounded up to 4. Each row is {hi / 64, 64 lo, hi}, with is_right 1
//                            {64 lo, hi / 64, hi}
//   scale  [1, rows]         float32: powers of two
//
// x / scale = hi + lo, where the largest of a row, divided, lies in 2^13 .. 2^14; hi is the nearest float16 or, where that is
// subnormal, 0; lo that of what is left, in 64ths. So the product of a left and a right row is hi lo + lo hi + hi hi: all but lo lo,
// which is 2^-22 of it, the small terms first. By 64 units that take subnormal float16 for 0 lose no more than 2^-32 of the largest.
// A row of zeros has the scale 1. NaN and infinity make a row's products NaN.
// One work-group walks one row at a time, so any number of groups is correct. GROUP: a power of two. Local memory: GROUP * 4 bytes.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "split_parts.args.glsl"

shared float largest[GROUP];

uvec2 float16_words(vec4 v)
{
    const uvec4 bits = bm_f16_bits(v);
    return bits.xz | bits.yw << 16;
}

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = (a.cols + 3) / 4;
    for (uint r = gl_WorkGroupID.x; r < a.rows; r += gl_NumWorkGroups.x) { // same r for the whole group
        const uint row = r * (a.x_stride / 4);
        float most = 0.0;
        for (uint q = lane; q < quads; q += GROUP) {
            const vec4 v = abs(bm_mask4(bm_floats4(uvec2(a.x)).v[row + q], q, a.cols, 0.0));
            most = max(most, max(max(v.x, v.y), max(v.z, v.w)));
        }
        largest[lane] = most;
        barrier();
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s)
                largest[lane] = max(largest[lane], largest[lane + s]);
            barrier();
        }
        most = largest[0];
        // Exponents as they are stored; the factor's inverse is one too.
        const uint exponent = most > 0.0 ? uint(clamp(267 - int(floatBitsToUint(most) >> 23), 1, 253)) : 127u;
        const float factor = uintBitsToFloat(exponent << 23);
        if (lane == 0)
            bm_floats(uvec2(a.scale)).v[r] = uintBitsToFloat((254u - exponent) << 23);
        for (uint q = lane; q < quads; q += GROUP) {
            const vec4 v = bm_mask4(bm_floats4(uvec2(a.x)).v[row + q], q, a.cols, 0.0) * factor;
            const uvec2 upper = float16_words(mix(v, vec4(0.0), lessThan(abs(v), vec4(6.103515625e-05)))); // 2^-14
            const vec4 hi = bm_f16_values(upper);
            const uvec2 lower = float16_words((v - hi) * 64.0), other = float16_words(hi * 0.015625);
            const uint at = r * (a.parts_stride / 2) + q;
            bm_words2(uvec2(a.parts)).v[at] = a.is_right != 0 ? lower : other;
            bm_words2(uvec2(a.parts)).v[at + quads] = a.is_right != 0 ? other : lower;
            bm_words2(uvec2(a.parts)).v[at + 2 * quads] = upper;
        }
        barrier(); // the next row overwrites the largest
    }
}
