// split_parts: rows of float32 as float16 in two parts, for a product on matrix units.   Twin: shaders/split_parts.comp
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
#include "bitmill.h"
#include "split_parts.args.h"

inline uint2 float16_words(float4 v)
{
    return (uint2)(bm_f16_bits(v.x) | (bm_f16_bits(v.y) << 16), bm_f16_bits(v.z) | (bm_f16_bits(v.w) << 16));
}

BM_KERNEL split_parts(BM_PARAMETERS)
{
    BM_BEGIN
    __local float largest[GROUP];
    const uint lane = get_local_id(0), quads = (a.cols + 3) / 4;
    for (uint r = get_group_id(0); r < a.rows; r += get_num_groups(0)) { // same r for the whole group
        __global const float *row = x + (ulong)r * a.x_stride;
        float most = 0.0f;
        for (uint q = lane; q < quads; q += GROUP) {
            const float4 v = fabs(bm_mask4(vload4(q, row), q, a.cols, 0.0f));
            most = fmax(most, fmax(fmax(v.x, v.y), fmax(v.z, v.w)));
        }
        largest[lane] = most;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s)
                largest[lane] = fmax(largest[lane], largest[lane + s]);
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        most = largest[0];
        // Exponents as they are stored; the factor's inverse is one too.
        const uint exponent = most > 0.0f ? (uint)clamp(267 - (int)(as_uint(most) >> 23), 1, 253) : 127u;
        const float factor = as_float(exponent << 23);
        if (lane == 0)
            scale[r] = as_float((254u - exponent) << 23);
        for (uint q = lane; q < quads; q += GROUP) {
            const float4 v = bm_mask4(vload4(q, row), q, a.cols, 0.0f) * factor;
            const uint2 upper = float16_words(fabs(v) < 0x1p-14f ? (float4)(0.0f) : v);
            const float4 hi = (float4)(bm_f16_value(upper.x & 0xffffu), bm_f16_value(upper.x >> 16), bm_f16_value(upper.y & 0xffffu),
                                       bm_f16_value(upper.y >> 16));
            const uint2 lower = float16_words((v - hi) * 64.0f), other = float16_words(hi * 0x1p-6f);
            const size_t at = (size_t)r * (a.parts_stride / 2) + q;
            vstore2(a.is_right != 0 ? lower : other, at, parts);
            vstore2(a.is_right != 0 ? other : lower, at + quads, parts);
            vstore2(upper, at + 2 * quads, parts);
        }
        barrier(CLK_LOCAL_MEM_FENCE); // the next row overwrites the largest
    }
}
