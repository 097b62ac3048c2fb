// gptq_block: the columns of one block of GPTQ, in order.   Twin: cl/gptq_block.cl
//
// q = w rounded to its grid, error = (w - q) / u[c, c], and the columns behind it in the block give way: w[j] -= error u[c, j].
// Source: Frantar et al., GPTQ, 2023, algorithm 1.
//
//   w            [rows, cols]    float32, cols at most 128; becomes the rounded weights
//   u            [cols, cols]    float32: the block on the diagonal of the upper factor of the inverse Hessian
//   step         [rows, groups]  float32, zero_point [rows, groups] int32
//   group_index  [cols]          u32: the group of each column; absent: (first_column + c) / group_size
//   errors       [rows, cols]    float32, zeros in the row's padding: what columns behind the block are still to be told
//
// A work-item owns a row at a time, so any number of work-groups is correct and none waits for another. GROUP: work-items.
// Local memory: GROUP * 512 bytes.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "gptq_block.args.glsl"

#define MAX_QUADS 32

shared vec4 row[MAX_QUADS * GROUP];

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = (a.cols + 3) / 4;
    const float half_codes = float(1u << (a.bits - 1));
    for (uint r = gl_GlobalInvocationID.x; r < a.rows; r += gl_NumWorkGroups.x * GROUP) {
        for (uint q = 0; q < quads; q++)
            row[q * GROUP + lane] = bm_floats4(uvec2(a.w)).v[r * (a.w_stride / 4) + q];
        for (uint q = 0; q < quads; q++) {
            vec4 v = row[q * GROUP + lane], error;
            for (uint k = 0; k < 4; k++) {
                const uint c = min(4 * q + k, a.cols - 1);
                const vec4 factor = bm_floats4(uvec2(a.u)).v[c * (a.u_stride / 4) + q];
                const uint group = a.has_group_index != 0u ? a.group_index.v[c] : (a.first_column + c) / a.group_size;
                const uint at = r * a.step_stride + group;
                const float s = a.step.v[at], zero = float(a.zero_point.v[at]);
                const float value = (clamp(roundEven(v[k] / s) + zero, -half_codes, half_codes - 1.0) - zero) * s;
                error[k] = 4 * q + k < a.cols ? (v[k] - value) / factor[k] : 0.0;
                v[k] = value;
                for (uint j = k + 1; j < 4; j++)
                    v[j] -= error[k] * factor[j];
            }
            bm_floats4(uvec2(a.w)).v[r * (a.w_stride / 4) + q] = v;
            bm_floats4(uvec2(a.errors)).v[r * (a.errors_stride / 4) + q] = error;
            const uint next = a.u_stride / 4, at = 4 * q * next;
            for (uint p = q + 1; p < quads; p++)
                row[p * GROUP + lane] -= error.x * bm_floats4(uvec2(a.u)).v[at + p] + error.y * bm_floats4(uvec2(a.u)).v[at + next + p] +
                                         error.z * bm_floats4(uvec2(a.u)).v[at + 2 * next + p] +
                                         error.w * bm_floats4(uvec2(a.u)).v[at + 3 * next + p];
        }
    }
}
