// group_shift: x[r, c] += factor offset of the column's group.   Twin: cl/group_shift.cl
//
//   x       [rows, cols]  float32
//   offset  [rows, .]     float32; the columns from first_group on are those of x's groups
//
// group_size is a multiple of 4. A work-item changes four elements; any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "group_shift.args.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads;
        precise const float shift = a.factor * a.offset.v[r * a.offset_stride + a.first_group + 4 * q / a.group_size];
        bm_floats4 x = bm_floats4(uvec2(a.x));
        precise const vec4 sum = x.v[r * (a.x_stride / 4) + q] + shift;
        x.v[r * (a.x_stride / 4) + q] = sum;
    }
}
