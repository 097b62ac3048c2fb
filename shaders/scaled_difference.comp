// scaled_difference: what rows of weights lose when they are rounded behind scales of their columns, weighed, in float16.   Twin: cl/scaled_difference.cl
//
//   parts / unit = (w - Q(w scale) inverse) factor, Q the grid of the abs-max of each group, that of scale_search for factor 1
//
//   w                       [rows, cols]    float32
//   scale, inverse, factor  [1, cols]       float32; inverse: 1 / scale
//   parts                   [rows, padded]  pairs of float16; padded: cols rounded up to 4
//   unit                    [1, rows]       float32: what the products of a row are multiplied by, a power of two; the largest
//                                           of a row, divided, lies in 2^13 .. 2^14
//
// A row of zeros has the unit 1. NaN and infinity make a row's products NaN or infinite.
// One work-group walks one row at a time, so any number of groups is correct. The first pass finds the largest of a row, the second
// writes: grids are found twice, which costs less than to keep them. GROUP: a power of two. Local memory: GROUP * 8 bytes.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "quantization.glsl"
#include "scaled_difference.args.glsl"

shared float low[GROUP], high[GROUP];

vec4 load(uvec2 address, uint i) { return bm_floats4(address).v[i]; }

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = (a.cols + 3) / 4, group_quads = (min(a.group_size, a.cols) + 3) / 4;
    const uint groups = (quads + group_quads - 1) / group_quads;
    uint width = 1; // lanes that a group has, a power of two
    while (width < group_quads && width < uint(GROUP))
        width *= 2;
    const uint slots = GROUP / width, slot = lane / width, t = lane % width;
    for (uint r = gl_WorkGroupID.x; r < a.rows; r += gl_NumWorkGroups.x) { // same r for the whole group
        const uint row = r * (a.w_stride / 4);
        float most = 0.0, power = 1.0;
        for (uint pass = 0; pass < 2; pass++) {
            for (uint first = 0; first < groups; first += slots) {
                const uint begin = min((first + slot) * group_quads, quads), end = min(begin + group_quads, quads);
                float least = 0.0, largest = 0.0;
                for (uint q = begin + t; q < end; q += width) {
                    const vec4 v = bm_mask4(load(uvec2(a.w), row + q) * load(uvec2(a.scale), q), q, a.cols, 0.0);
                    least = min(least, min(min(v.x, v.y), min(v.z, v.w)));
                    largest = max(largest, max(max(v.x, v.y), max(v.z, v.w)));
                }
                low[lane] = least;
                high[lane] = largest;
                barrier();
                for (uint s = width / 2; s > 0; s /= 2) {
                    if (t < s) {
                        low[lane] = min(low[lane], low[lane + s]);
                        high[lane] = max(high[lane], high[lane + s]);
                    }
                    barrier();
                }
                const bm_grid grid = bm_group_grid(low[slot * width], high[slot * width], 1.0, a.bits, a.symmetric, a.scale_type);
                const float inverse_step = bm_inverse_step(grid.step);
                for (uint q = begin + t; q < end; q += width) {
                    const vec4 v = load(uvec2(a.w), row + q);
                    precise const vec4 scaled = v * load(uvec2(a.scale), q);
                    const vec4 code = bm_codes4(scaled, inverse_step, grid.zero_point, a.bits);
                    precise const vec4 value = (code - grid.zero_point) * grid.step * load(uvec2(a.inverse), q);
                    precise const vec4 off = (v - value) * load(uvec2(a.factor), q);
                    const vec4 e = bm_mask4(off, q, a.cols, 0.0) * power;
                    if (pass == 0)
                        most = max(most, max(max(abs(e.x), abs(e.y)), max(abs(e.z), abs(e.w))));
                    else
                        bm_store4(a.parts, BM_F16, r * (a.parts_stride / 2) + q, e);
                }
                barrier(); // ranges are replaced
            }
            if (pass == 0) {
                low[lane] = most;
                barrier();
                for (uint s = GROUP / 2; s > 0; s /= 2) {
                    if (lane < s)
                        low[lane] = max(low[lane], low[lane + s]);
                    barrier();
                }
                // As kernel split_parts has it.
                const uint exponent = low[0] > 0.0 ? uint(clamp(267 - int(floatBitsToUint(low[0]) >> 23), 1, 253)) : 127u;
                power = uintBitsToFloat(exponent << 23);
                if (lane == 0)
                    bm_floats(uvec2(a.unit)).v[r] = uintBitsToFloat((254u - exponent) << 23);
                barrier(); // the ranges of the second pass overwrite the largest
            }
        }
    }
}
