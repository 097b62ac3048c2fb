// gptq_block: the columns of one block of GPTQ, in order.   Twin: shaders/gptq_block.comp
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
#include "bitmill.h"
#include "gptq_block.args.h"

#define MAX_QUADS 32

BM_KERNEL gptq_block(BM_PARAMETERS)
{
    BM_BEGIN
    __local float4 row[MAX_QUADS * GROUP]; // a work-item's own row
    const uint lane = get_local_id(0), quads = (a.cols + 3) / 4;
    const float half_codes = (float)(1u << (a.bits - 1));
    for (uint r = get_global_id(0); r < a.rows; r += get_global_size(0)) {
        for (uint q = 0; q < quads; q++)
            row[q * GROUP + lane] = vload4((ulong)r * (a.w_stride / 4) + q, w);
        for (uint q = 0; q < quads; q++) {
            const float4 start = row[q * GROUP + lane];
            float v[4] = {start.x, start.y, start.z, start.w}, error[4];
            for (uint k = 0; k < 4; k++) {
                const uint c = min(4 * q + k, a.cols - 1);
                const float4 factor = vload4((ulong)c * (a.u_stride / 4) + q, u);
                const float f[4] = {factor.x, factor.y, factor.z, factor.w};
                const uint group = a.has_group_index != 0 ? group_index[c] : (a.first_column + c) / a.group_size;
                const ulong at = (ulong)r * a.step_stride + group;
                const float s = step[at], zero = (float)zero_point[at];
                const float value = (clamp(rint(v[k] / s) + zero, -half_codes, half_codes - 1.0f) - zero) * s;
                error[k] = 4 * q + k < a.cols ? (v[k] - value) / f[k] : 0.0f;
                v[k] = value;
                for (uint j = k + 1; j < 4; j++)
                    v[j] = fma(-error[k], f[j], v[j]);
            }
            vstore4((float4)(v[0], v[1], v[2], v[3]), (ulong)r * (a.w_stride / 4) + q, w);
            vstore4((float4)(error[0], error[1], error[2], error[3]), (ulong)r * (a.errors_stride / 4) + q, errors);
            const size_t next = a.u_stride / 4, at = 4 * q * next;
            for (uint p = q + 1; p < quads; p++) {
                float4 sum = row[p * GROUP + lane];
                sum = fma((float4)(-error[0]), vload4(at + p, u), sum);
                sum = fma((float4)(-error[1]), vload4(at + next + p, u), sum);
                sum = fma((float4)(-error[2]), vload4(at + 2 * next + p, u), sum);
                sum = fma((float4)(-error[3]), vload4(at + 3 * next + p, u), sum);
                row[p * GROUP + lane] = sum;
            }
        }
    }
}
