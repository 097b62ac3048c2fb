// code_sweep: coordinate descent over the codes of one block of columns.   Twin: shaders/code_sweep.comp
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
#include "bitmill.h"
#include "code_sweep.args.h"

#define MAX_QUADS 32

BM_KERNEL code_sweep(BM_PARAMETERS)
{
    BM_BEGIN
    __local float4 row[MAX_QUADS * GROUP]; // the residuals of a work-item's own row
    const uint lane = get_local_id(0), quads = (a.cols + 3) / 4;
    const float half_codes = (float)(1u << (a.bits - 1));
    for (uint r = get_global_id(0); r < a.rows; r += get_global_size(0)) {
        for (uint q = 0; q < quads; q++)
            row[q * GROUP + lane] = vload4((ulong)r * (a.residual_stride / 4) + q, residual);
        for (uint q = 0; q < quads; q++) {
            const float4 start = row[q * GROUP + lane], weights = vload4((ulong)r * (a.w_stride / 4) + q, w);
            float rest[4] = {start.x, start.y, start.z, start.w}, v[4] = {weights.x, weights.y, weights.z, weights.w};
            float d[4];
            for (uint k = 0; k < 4; k++) {
                const uint c = min(4 * q + k, a.cols - 1);
                const float4 factor = vload4((ulong)c * (a.h_stride / 4) + q, h);
                const float f[4] = {factor.x, factor.y, factor.z, factor.w};
                const ulong at = (ulong)r * a.step_stride + (a.first_column + c) / a.group_size;
                const float s = step[at], zero = (float)zero_point[at];
                const float best = (clamp(rint((v[k] + rest[k] / f[k]) / s) + zero, -half_codes, half_codes - 1.0f) - zero) * s;
                const bool moves = 4 * q + k < a.cols && f[k] > 0.0f;
                d[k] = moves ? best - v[k] : 0.0f;
                v[k] = moves ? best : v[k];
                for (uint j = k + 1; j < 4; j++)
                    rest[j] = fma(-d[k], f[j], rest[j]);
            }
            vstore4((float4)(v[0], v[1], v[2], v[3]), (ulong)r * (a.w_stride / 4) + q, w);
            vstore4((float4)(d[0], d[1], d[2], d[3]), (ulong)r * (a.change_stride / 4) + q, change);
            const size_t next = a.h_stride / 4, at = 4 * q * next;
            for (uint p = q + 1; p < quads; p++) {
                float4 sum = row[p * GROUP + lane];
                sum = fma((float4)(-d[0]), vload4(at + p, h), sum);
                sum = fma((float4)(-d[1]), vload4(at + next + p, h), sum);
                sum = fma((float4)(-d[2]), vload4(at + 2 * next + p, h), sum);
                sum = fma((float4)(-d[3]), vload4(at + 3 * next + p, h), sum);
                row[p * GROUP + lane] = sum;
            }
        }
    }
}
