// dequantize: w[r, c] = (codes[r, c] - zero_point) * step of the column's group.   Twin: cl/dequantize.cl
//
//   codes             [rows, cols]    int8
//   step, zero_point  [rows, groups]  float32, int32
//   group_index       [cols]          uint32: the group of each column; absent: c / group_size
//   w                 [rows, cols]    real
//
// group_size is a multiple of 4, or cols. A work-item makes four elements; any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "dequantize.args.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads;
        const uint at = r * a.step_stride + 4 * q / a.group_size;
        const uint u = a.codes.v[r * (a.code_stride / 4) + q];
        const vec4 c = vec4(int(u << 24) >> 24, int(u << 16) >> 24, int(u << 8) >> 24, int(u) >> 24);
        vec4 value = (c - float(a.zero_point.v[at])) * a.step.v[at];
        for (uint k = 0; k < 4 && a.has_group_index != 0u; k++) {
            const uint mine = r * a.step_stride + a.group_index.v[min(4 * q + k, a.cols - 1)];
            value[k] = (c[k] - float(a.zero_point.v[mine])) * a.step.v[mine];
        }
        bm_store4(a.w, w_type, r * (a.w_stride / 4) + q, value);
    }
}
