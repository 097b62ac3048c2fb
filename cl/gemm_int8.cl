// gemm_int8: y[i, j] = (sum over l of x[i, l] * w[j, l]) * step of row i * step of feature j, plus bias[j].   Twin: shaders/gemm_int8.comp
//
//   x       [m, k]               int8 codes; what is behind column k does not count
//   w       [n, k]               int8 codes
//   x_rows  [m, 4]               float32: element 0 is the step of the row, from quantize_rows
//   w_step  [n, 4]               float32: element 0 is the step of the output feature
//   bias    [1, n]               real; read where has_bias is 1
//   y       [m, n]               real; written, or with compares 1 only read: the outputs that are wanted
//   loss    [m, ceil(n / 16)]    float32; written with compares 1: the squared error of 16 outputs
//
// y[i, j] = fl(fl(fl(sum) step of x) step of w) + bias, each operation rounded once, where sum is the exact integer: the same
// bits on every device, as is loss: ((q0 + q1) + (q2 + q3)) of quads (d0² + d1²) + (d2² + d3²), d = wanted - y in float32.
// k: at most 131071 (a sum of products of -128 stays below 2^31).
// A work-group of 64 computes a square of 32 x 32 outputs, a work-item 4 x 4 of them. Slices of 32 columns go through local
// memory. Groups walk the squares, so any number of them is correct.
// GROUP: 64. Local memory: 2 KiB.
#include "int8.h"
#include "gemm_int8.args.h"

BM_MANY_REGISTERS BM_KERNEL gemm_int8(BM_PARAMETERS)
{
    BM_BEGIN
    __local uint xs[8 * 32], ws[8 * 32]; // [word of the slice][row of the square]
    __local float parts[32 * 8];         // [row of the square][quad]
    const uint lane = get_local_id(0), x_quad = lane / 8, w_quad = lane % 8; // the 4 x 4 outputs of this work-item
    const uint load_row = lane / 2, half_slice = lane % 2;                    // what it brings in: 16 codes of a row
    const uint tiles_m = (a.m + 31) / 32, tiles_n = (a.n + 31) / 32;
    for (uint tile = get_group_id(0); tile < tiles_m * tiles_n; tile += get_num_groups(0)) { // same tile for the group
        const uint first_m = tile / tiles_n * 32, first_n = tile % tiles_n * 32;
        const size_t x_row = min(first_m + load_row, a.m - 1), w_row = min(first_n + load_row, a.n - 1);
        int sum[4][4];
        for (uint r = 0; r < 4; r++)
            for (uint c = 0; c < 4; c++)
                sum[r][c] = 0;
        for (uint first_k = 0; first_k < a.k; first_k += 32) {
            const uint q = first_k / 16 + half_slice, at = half_slice * 4 * 32 + load_row;
            const uint4 u = bm_load_codes(x, x_row, a.x_stride, q, a.k), v = bm_load_codes(w, w_row, a.w_stride, q, a.k);
            xs[at] = u.x; xs[at + 32] = u.y; xs[at + 64] = u.z; xs[at + 96] = u.w;
            ws[at] = v.x; ws[at + 32] = v.y; ws[at + 64] = v.z; ws[at + 96] = v.w;
            barrier(CLK_LOCAL_MEM_FENCE);
            #pragma unroll 1
            for (uint l = 0; l < 8; l++) {
                int4 us[4], vs[4]; // the four codes of a word, for four rows each
                #pragma unroll
                for (uint r = 0; r < 4; r++) {
                    us[r] = convert_int4(as_char4(xs[l * 32 + 4 * x_quad + r]));
                    vs[r] = convert_int4(as_char4(ws[l * 32 + 4 * w_quad + r]));
                }
                #pragma unroll
                for (uint r = 0; r < 4; r++)
                    #pragma unroll
                    for (uint c = 0; c < 4; c++) {
                        const int4 p = us[r] * vs[c];
                        sum[r][c] += (p.x + p.y) + (p.z + p.w);
                    }
            }
            barrier(CLK_LOCAL_MEM_FENCE); // the next slice overwrites this one
        }
        const uint quad = first_n / 4 + w_quad;
        for (uint r = 0; r < 4; r++) {
            const uint row = first_m + 4 * x_quad + r;
            float error = 0.0f;
            if (row < a.m && 4 * quad < a.n) {
                const size_t at = (size_t)row * (a.y_stride / 4) + quad;
                const float4 base = a.has_bias != 0 ? bm_load4(bias, bias_type, quad) : (float4)(0.0f);
                const float4 out = bm_int8_outputs((int4)(sum[r][0], sum[r][1], sum[r][2], sum[r][3]), x_rows[4 * (size_t)row],
                                                   bm_load_steps(w_step, quad, a.n), base);
                if (a.compares != 0)
                    error = bm_error4(bm_load4(y, y_type, at), out, quad, a.n);
                else
                    bm_store4(y, y_type, at, out);
            }
            parts[(4 * x_quad + r) * 8 + w_quad] = error;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        const uint row = first_m + lane / 2, block = first_n / BM_LOSS_COLS + lane % 2;
        if (a.compares != 0 && row < a.m && BM_LOSS_COLS * block < a.n) {
            __local const float *p = parts + 4 * lane;
            loss[(size_t)row * a.loss_stride + block] = (p[0] + p[1]) + (p[2] + p[3]);
        }
        barrier(CLK_LOCAL_MEM_FENCE); // parts are reused by the next square
    }
}
