// gemm_int8, variant _dot: y[i, j] = (sum over l of x[i, l] * w[j, l]) * step of row i * step of feature j, plus bias[j], for GPUs.   Twin: cl/gemm_int8_dot.cl
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
// A work-group of 256 computes a tile of 128 x 128 outputs, a work-item 8 x 8 of them: rows and columns 4 t .. 4 t + 3 and
// 64 + 4 t .. 64 + 4 t + 3, by products of four codes at once. Slices of 32 columns go through two buffers of local memory,
// transposed: while one is used, the next is on its way in registers. Rows of a buffer are 132 words apart, so that the two
// halves of a row of codes are stored to different banks. Tiles are walked in bands of 8 tile rows.
// GROUP: 256. Local memory: 24.5 KiB. Needs VK_KHR_shader_integer_dot_product.
#version 450
#extension GL_GOOGLE_include_directive : require
#define BM_DOT_INSTRUCTION
#include "bitmill.glsl"
#include "int8.glsl"
#include "gemm_int8.args.glsl"

const uint TILE = 128, PITCH = TILE + 4, BAND = 8;
const uint WORDS = 8; // of a slice

shared uvec4 xs[2 * WORDS * PITCH / 4], ws[2 * WORDS * PITCH / 4]; // [buffer][word of the slice][row of the tile / 4]
shared float parts[TILE * 16];                                     // [row of the tile][quads of 64 columns]

// 16 codes of a row of x, and of w, into the buffer that begins at first.
void put(uint first, uint half_slice, uint row, uvec4 u, uvec4 v)
{
    [[unroll]] for (uint l = 0; l < 4; l++) {
        const uint at = first + (4 * half_slice + l) * (PITCH / 4) + row / 4;
        xs[at][row % 4] = u[l];
        ws[at][row % 4] = v[l];
    }
}

void main()
{
    const uint lane = gl_LocalInvocationID.x, tx = lane % 16, ty = lane / 16;
    const uint load_row = lane / 2, half_slice = lane % 2;
    const uint tiles_m = (a.m + TILE - 1) / TILE, tiles_n = (a.n + TILE - 1) / TILE;
    for (uint tile = gl_WorkGroupID.x; tile < tiles_m * tiles_n; tile += gl_NumWorkGroups.x) { // same tile for the group
        const uint band = tile / (BAND * tiles_n), rest = tile % (BAND * tiles_n);
        const uint height = min(BAND, tiles_m - band * BAND);
        const uint first_m = (band * BAND + rest % height) * TILE, first_n = rest / height * TILE;
        const uint x_row = min(first_m + load_row, a.m - 1), w_row = min(first_n + load_row, a.n - 1);
        ivec4 sum[16]; // [row][column quad]
        [[unroll]] for (uint i = 0; i < 16; i++)
            sum[i] = ivec4(0);
        put(0, half_slice, load_row, bm_load_codes(a.x, x_row, a.x_stride, half_slice, a.k),
            bm_load_codes(a.w, w_row, a.w_stride, half_slice, a.k));
        barrier();
        uint now = 0; // where the buffer in use begins
        for (uint first_k = 0; first_k < a.k; first_k += 4 * WORDS) {
            const uint q = (first_k + 4 * WORDS) / 16 + half_slice; // behind the last slice both give zeros, which nobody reads
            const uvec4 next_x = bm_load_codes(a.x, x_row, a.x_stride, q, a.k), next_w = bm_load_codes(a.w, w_row, a.w_stride, q, a.k);
            [[dont_unroll]] for (uint l = 0; l < WORDS; l++) { // 64 products; 512 take some compilers long
                const uvec4 v0 = ws[now + l * (PITCH / 4) + tx], v1 = ws[now + l * (PITCH / 4) + 16 + tx];
                [[unroll]] for (uint h = 0; h < 2; h++) {
                    const uvec4 u = xs[now + l * (PITCH / 4) + 16 * h + ty];
                    [[unroll]] for (uint r = 0; r < 4; r++)
                        [[unroll]] for (uint c = 0; c < 4; c++) {
                            sum[8 * h + 2 * r][c] = bm_dot4(u[r], v0[c], sum[8 * h + 2 * r][c]);
                            sum[8 * h + 2 * r + 1][c] = bm_dot4(u[r], v1[c], sum[8 * h + 2 * r + 1][c]);
                        }
                }
            }
            now = WORDS * PITCH / 4 - now;
            put(now, half_slice, load_row, next_x, next_w);
            barrier();
        }
        [[unroll]] for (uint c = 0; c < 2; c++) {
            const uint quad = first_n / 4 + c * 16 + tx;
            [[unroll]] for (uint r = 0; r < 8; r++) {
                const uint tile_row = r / 4 * 64 + 4 * ty + r % 4, row = first_m + tile_row;
                float error = 0.0;
                if (row < a.m && 4 * quad < a.n) {
                    const uint at = row * (a.y_stride / 4) + quad;
                    const vec4 base = a.has_bias != 0 ? bm_load4(a.bias, bias_type, quad) : vec4(0.0);
                    const vec4 y = bm_int8_outputs(sum[2 * r + c], a.x_rows.v[4 * row], bm_load_steps(a.w_step, quad, a.n), base);
                    if (a.compares != 0)
                        error = bm_error4(bm_load4(a.y, y_type, at), y, quad, a.n);
                    else
                        bm_store4(a.y, y_type, at, y);
                }
                if (a.compares != 0)
                    parts[tile_row * 16 + tx] = error;
            }
            if (a.compares != 0) { // the same for every work-item
                barrier();
                for (uint i = lane; i < TILE * 4; i += GROUP) {
                    const uint row = first_m + i / 4, block = first_n / BM_LOSS_COLS + c * 4 + i % 4;
                    precise float error = (parts[4 * i] + parts[4 * i + 1]) + (parts[4 * i + 2] + parts[4 * i + 3]);
                    if (row < a.m && BM_LOSS_COLS * block < a.n)
                        a.loss.v[row * a.loss_stride + block] = error;
                }
                barrier(); // parts are reused by the other columns, and by the next tile
            }
        }
    }
}
