// column_range: of each span of rows and each column the least and largest element, the sum and that of squares or magnitudes.   Twin: cl/column_range.cl
//
//   x             [., cols]      real; row 0 is the row that starts calls first_row
//   part_maximum  [., cols]      float32, as part_sum and part_moments: with joins, x holds minima of parts, these the rest; absent: x
//                               has elements
//   starts        [., 1]         u32: span s is the rows starts[first_span + s] to starts[first_span + s + 1] - 1, at least one
//   minimum, maximum, sum        [spans, cols] float32; moments too, sums of squares with moment 1, of magnitudes with 2; with 0
//                               they and part_moments are absent
//
// Minimum and maximum are those of the bits, as integers of the same order: exact, denormal numbers kept, -0 below 0, and a NaN lies
// beyond the infinities, on the side of its sign, where no comparison loses it. Sums are added in the order of rows, a square
// rounded first: the same bits on every device.
//
// A work-item takes one span of four columns; any number of groups is correct. It reads AHEAD rows before it adds the first of them:
// there are few work-items for a GPU, and one row at a time they would wait for memory.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "bitmill.glsl"
#include "column_range.args.glsl"
#define AHEAD 8

// Its own inverse.
ivec4 in_order(ivec4 bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.spans * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint s = i / quads, q = i % quads;
        const uint first = a.starts.v[a.first_span + s] - a.first_row, end = a.starts.v[a.first_span + s + 1] - a.first_row;
        ivec4 least = ivec4(0x7fffffff), largest = ivec4(-0x7fffffff - 1);
        vec4 total = vec4(0.0);
        precise vec4 total_moments = vec4(0.0);
        for (uint r = first; r < end && a.joins == 0; r += AHEAD) {
            vec4 next[AHEAD];
            [[unroll]] for (uint k = 0; k < AHEAD; k++) // the last row again behind the end
                next[k] = bm_load4(a.x, x_type, min(r + k, end - 1) * (a.x_stride / 4) + q);
            [[unroll]] for (uint k = 0; k < AHEAD; k++)
                if (r + k < end) {
                    const ivec4 bits = in_order(floatBitsToInt(next[k]));
                    precise vec4 moment = next[k] * next[k];
                    if (a.moment == 2)
                        moment = abs(next[k]);
                    least = min(least, bits);
                    largest = max(largest, bits);
                    total += next[k];
                    total_moments += moment;
                }
        }
        for (uint r = first; r < end && a.joins != 0; r++) {
            const uint at = r * (a.part_stride / 4) + q;
            const vec4 low = bm_load4(a.x, x_type, r * (a.x_stride / 4) + q);
            least = min(least, in_order(floatBitsToInt(low)));
            largest = max(largest, in_order(floatBitsToInt(bm_floats4(uvec2(a.part_maximum)).v[at])));
            total += bm_floats4(uvec2(a.part_sum)).v[at];
            if (a.moment != 0)
                total_moments += bm_floats4(uvec2(a.part_moments)).v[at];
        }
        const uint at = s * (a.out_stride / 4) + q;
        bm_floats4(uvec2(a.minimum)).v[at] = intBitsToFloat(in_order(least));
        bm_floats4(uvec2(a.maximum)).v[at] = intBitsToFloat(in_order(largest));
        bm_floats4(uvec2(a.sum)).v[at] = total;
        if (a.moment != 0)
            bm_floats4(uvec2(a.moments)).v[at] = total_moments;
    }
}
