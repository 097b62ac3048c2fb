// group_range: minimum[r, g] and maximum[r, g] of group g of row r.   Twin: cl/group_range.cl
//
//   w                 [rows, cols]    real
//   minimum, maximum  [rows, groups]  float32; group g is columns g group_size .. (g + 1) group_size - 1, the last may be shorter
//
// group_size is a multiple of 4, or cols (one group a row). The abs-max of a group is max(-minimum, maximum).
// A work-item reads one group; any number of work-groups is correct. min and max are exact: every device agrees.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "group_range.args.glsl"

void main()
{
    const float infinity = uintBitsToFloat(0x7f800000u);
    const uint count = a.rows * a.groups;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / a.groups, g = i % a.groups;
        const uint first = g * a.group_size / 4, last = (min((g + 1) * a.group_size, a.cols) + 3) / 4;
        float low = infinity, high = -infinity;
        for (uint q = first; q < last; q++) {
            const vec4 v = bm_load4(a.w, w_type, r * (a.w_stride / 4) + q);
            const vec4 l = bm_mask4(v, q, a.cols, infinity), h = bm_mask4(v, q, a.cols, -infinity);
            low = min(low, min(min(l.x, l.y), min(l.z, l.w)));
            high = max(high, max(max(h.x, h.y), max(h.z, h.w)));
        }
        a.minimum.v[r * a.out_stride + g] = low;
        a.maximum.v[r * a.out_stride + g] = high;
    }
}
