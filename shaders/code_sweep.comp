// code_sweep: coordinate descent over the codes of one block of columns.   Twin: cl/code_sweep.cl
//
// With all others held, a column's best value is w + residual / h[c, c]; its rounding replaces it, and the residuals behind it in
// the block follow: residual[j] -= change h[c, j].
// Source: coordinate descent on the quadratic form of the output error, as in Nair and Suggala, CDQuant, 2024.
//
//   w         [rows, cols]    float32, cols at most 128: rounded weights; becomes better ones
//   residual  [rows, cols]    float32: (target - w) H at these columns
//   h         [cols, cols]    float32: the block on the diagonal of H; columns where its diagonal is 0 stay
//   step      [rows, groups]  float32, zero_point [rows, groups] int32; column c is of group (first_column + c) / group_size
//   change    [rows, cols]    float32, zeros in the row's padding: what was added to w
//
// A work-item owns a row at a time, so any number of work-groups is correct and none waits for another. GROUP: work-items.
// Local memory: GROUP * 512 bytes.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "code_sweep.args.glsl"

#define MAX_QUADS 32

shared vec4 row[MAX_QUADS * GROUP];

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = (a.cols + 3) / 4;
    const float half_codes = float(1u << (a.bits - 1));
    for (uint r = gl_GlobalInvocationID.x; r < a.rows; r += gl_NumWorkGroups.x * GROUP) {
        for (uint q = 0; q < quads; q++)
            row[q * GROUP + lane] = bm_floats4(uvec2(a.residual)).v[r * (a.residual_stride / 4) + q];
        for (uint q = 0; q < quads; q++) {
            vec4 rest = row[q * GROUP + lane], v = bm_floats4(uvec2(a.w)).v[r * (a.w_stride / 4) + q], d;
            for (uint k = 0; k < 4; k++) {
                const uint c = min(4 * q + k, a.cols - 1);
                const vec4 factor = bm_floats4(uvec2(a.h)).v[c * (a.h_stride / 4) + q];
                const uint at = r * a.step_stride + (a.first_column + c) / a.group_size;
                const float s = a.step.v[at], zero = float(a.zero_point.v[at]);
                const float best =
                    (clamp(roundEven((v[k] + rest[k] / factor[k]) / s) + zero, -half_codes, half_codes - 1.0) - zero) * s;
                const bool moves = 4 * q + k < a.cols && factor[k] > 0.0;
                d[k] = moves ? best - v[k] : 0.0;
                v[k] = moves ? best : v[k];
                for (uint j = k + 1; j < 4; j++)
                    rest[j] -= d[k] * factor[j];
            }
            bm_floats4(uvec2(a.w)).v[r * (a.w_stride / 4) + q] = v;
            bm_floats4(uvec2(a.change)).v[r * (a.change_stride / 4) + q] = d;
            const uint next = a.h_stride / 4, at = 4 * q * next;
            for (uint p = q + 1; p < quads; p++)
                row[p * GROUP + lane] -= d.x * bm_floats4(uvec2(a.h)).v[at + p] + d.y * bm_floats4(uvec2(a.h)).v[at + next + p] +
                                         d.z * bm_floats4(uvec2(a.h)).v[at + 2 * next + p] + d.w * bm_floats4(uvec2(a.h)).v[at + 3 * next + p];
        }
    }
}
