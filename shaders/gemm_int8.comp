// gemm_int8: y[i, j] = (sum over l of x[i, l] * w[j, l]) * step of row i * step of feature j, plus bias[j].   Twin: cl/gemm_int8.cl
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
// GROUP: 64. Local memory: 3 KiB.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "int8.glsl"
#include "gemm_int8.args.glsl"

shared uint xs[8 * 32], ws[8 * 32]; // [word of the slice][row of the square]
shared float parts[32 * 8];         // [row of the square][quad]

// The four codes of a word.
ivec4 unpack(uint word)
{
    const int v = int(word);
    return ivec4(v << 24, v << 16, v << 8, v) >> 24;
}

void main()
{
    const uint lane = gl_LocalInvocationID.x, x_quad = lane / 8, w_quad = lane % 8; // the 4 x 4 outputs of this work-item
    const uint load_row = lane / 2, half_slice = lane % 2;                           // what it brings in: 16 codes of a row
    const uint tiles_m = (a.m + 31) / 32, tiles_n = (a.n + 31) / 32;
    for (uint tile = gl_WorkGroupID.x; tile < tiles_m * tiles_n; tile += gl_NumWorkGroups.x) { // same tile for the group
        const uint first_m = tile / tiles_n * 32, first_n = tile % tiles_n * 32;
        const uint x_row = min(first_m + load_row, a.m - 1), w_row = min(first_n + load_row, a.n - 1);
        ivec4 sum[4];
        [[unroll]] for (uint r = 0; r < 4; r++)
            sum[r] = ivec4(0);
        for (uint first_k = 0; first_k < a.k; first_k += 32) {
            const uint q = first_k / 16 + half_slice;
            const uvec4 u = bm_load_codes(a.x, x_row, a.x_stride, q, a.k), v = bm_load_codes(a.w, w_row, a.w_stride, q, a.k);
            [[unroll]] for (uint l = 0; l < 4; l++) {
                xs[(4 * half_slice + l) * 32 + load_row] = u[l];
                ws[(4 * half_slice + l) * 32 + load_row] = v[l];
            }
            barrier();
            [[dont_unroll]] for (uint l = 0; l < 8; l++) {
                ivec4 us[4], vs[4]; // the four codes of a word, for four rows each
                [[unroll]] for (uint r = 0; r < 4; r++) {
                    us[r] = unpack(xs[l * 32 + 4 * x_quad + r]);
                    vs[r] = unpack(ws[l * 32 + 4 * w_quad + r]);
                }
                [[unroll]] for (uint r = 0; r < 4; r++)
                    [[unroll]] for (uint c = 0; c < 4; c++) {
                        const ivec4 p = us[r] * vs[c];
                        sum[r][c] += (p.x + p.y) + (p.z + p.w);
                    }
            }
            barrier(); // the next slice overwrites this one
        }
        const uint quad = first_n / 4 + w_quad;
        [[unroll]] for (uint r = 0; r < 4; r++) {
            const uint row = first_m + 4 * x_quad + r;
            float error = 0.0;
            if (row < a.m && 4 * quad < a.n) {
                const uint at = row * (a.y_stride / 4) + quad;
                const vec4 base = a.has_bias != 0 ? bm_load4(a.bias, bias_type, quad) : vec4(0.0);
                const vec4 y = bm_int8_outputs(sum[r], a.x_rows.v[4 * row], bm_load_steps(a.w_step, quad, a.n), base);
                if (a.compares != 0)
                    error = bm_error4(bm_load4(a.y, y_type, at), y, quad, a.n);
                else
                    bm_store4(a.y, y_type, at, y);
            }
            parts[(4 * x_quad + r) * 8 + w_quad] = error;
        }
        barrier();
        const uint row = first_m + lane / 2, block = first_n / BM_LOSS_COLS + lane % 2;
        if (a.compares != 0 && row < a.m && BM_LOSS_COLS * block < a.n) {
            precise float error = (parts[4 * lane] + parts[4 * lane + 1]) + (parts[4 * lane + 2] + parts[4 * lane + 3]);
            a.loss.v[row * a.loss_stride + block] = error;
        }
        barrier(); // parts are reused by the next square
    }
}
