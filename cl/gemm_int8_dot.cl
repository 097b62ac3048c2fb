// gemm_int8, variant _dot: y[i, j] = (sum over l of x[i, l] * w[j, l]) * step of row i * step of feature j, plus bias[j], for GPUs.   Twin: shaders/gemm_int8_dot.comp
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
// GROUP: 256. Local memory: 16.5 KiB.
#include "int8.h"
#include "gemm_int8.args.h"

#define TILE 128
#define PITCH (TILE + 4)
#define WORDS 8 // of a slice
#define BAND 8

inline void gemm_put(__local uint4 *slice, uint half_slice, uint row, uint4 v)
{
    __local uint *s = (__local uint *)slice + half_slice * 4 * PITCH + row;
    s[0] = v.x;
    s[PITCH] = v.y;
    s[2 * PITCH] = v.z;
    s[3 * PITCH] = v.w;
}

BM_MANY_REGISTERS BM_KERNEL gemm_int8_dot(BM_PARAMETERS)
{
    BM_BEGIN
    __local uint4 xs[2][WORDS * PITCH / 4], ws[2][WORDS * PITCH / 4]; // [word of the slice][row of the tile / 4]
    const uint lane = get_local_id(0), tx = lane % 16, ty = lane / 16;
    const uint load_row = lane / 2, half_slice = lane % 2; // 16 codes of a row of x, and of w
    const uint tiles_m = (a.m + TILE - 1) / TILE, tiles_n = (a.n + TILE - 1) / TILE;
    for (uint tile = get_group_id(0); tile < tiles_m * tiles_n; tile += get_num_groups(0)) { // same tile for the group
        const uint band = tile / (BAND * tiles_n), rest = tile % (BAND * tiles_n);
        const uint height = min((uint)BAND, tiles_m - band * BAND);
        const uint first_m = (band * BAND + rest % height) * TILE, first_n = rest / height * TILE;
        const size_t x_row = min(first_m + load_row, a.m - 1), w_row = min(first_n + load_row, a.n - 1);
        int sum[8][8];
        #pragma unroll
        for (uint r = 0; r < 8; r++)
            #pragma unroll
            for (uint c = 0; c < 8; c++)
                sum[r][c] = 0;
        gemm_put(xs[0], half_slice, load_row, bm_load_codes(x, x_row, a.x_stride, half_slice, a.k));
        gemm_put(ws[0], half_slice, load_row, bm_load_codes(w, w_row, a.w_stride, half_slice, a.k));
        barrier(CLK_LOCAL_MEM_FENCE);
        uint now = 0;
        for (uint first_k = 0; first_k < a.k; first_k += 4 * WORDS, now ^= 1) {
            const uint q = (first_k + 4 * WORDS) / 16 + half_slice; // behind the last slice both give zeros, which nobody reads
            const uint4 next_x = bm_load_codes(x, x_row, a.x_stride, q, a.k), next_w = bm_load_codes(w, w_row, a.w_stride, q, a.k);
            #pragma unroll 1 // 64 products; 512 take some compilers long
            for (uint l = 0; l < WORDS; l++) {
                const uint4 u0 = xs[now][l * (PITCH / 4) + ty], u1 = xs[now][l * (PITCH / 4) + 16 + ty];
                const uint4 v0 = ws[now][l * (PITCH / 4) + tx], v1 = ws[now][l * (PITCH / 4) + 16 + tx];
                const uint u[8] = {u0.x, u0.y, u0.z, u0.w, u1.x, u1.y, u1.z, u1.w};
                const uint v[8] = {v0.x, v0.y, v0.z, v0.w, v1.x, v1.y, v1.z, v1.w};
                #pragma unroll
                for (uint r = 0; r < 8; r++)
                    #pragma unroll
                    for (uint c = 0; c < 8; c++)
                        sum[r][c] = bm_dot4(u[r], v[c], sum[r][c]);
            }
            gemm_put(xs[now ^ 1], half_slice, load_row, next_x);
            gemm_put(ws[now ^ 1], half_slice, load_row, next_w);
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        __local float *parts = (__local float *)xs; // [row of the tile][quads of 64 columns]: the slices are done with
        #pragma unroll
        for (uint c = 0; c < 2; c++) {
            const uint quad = first_n / 4 + c * 16 + tx;
            #pragma unroll
            for (uint r = 0; r < 8; r++) {
                const uint tile_row = r / 4 * 64 + 4 * ty + r % 4, row = first_m + tile_row;
                float error = 0.0f;
                if (row < a.m && 4 * quad < a.n) {
                    const size_t at = (size_t)row * (a.y_stride / 4) + quad;
                    const float4 base = a.has_bias != 0 ? bm_load4(bias, bias_type, quad) : (float4)(0.0f);
                    const int4 s = (int4)(sum[r][4 * c], sum[r][4 * c + 1], sum[r][4 * c + 2], sum[r][4 * c + 3]);
                    const float4 out = bm_int8_outputs(s, x_rows[4 * (size_t)row], bm_load_steps(w_step, quad, a.n), base);
                    if (a.compares != 0)
                        error = bm_error4(bm_load4(y, y_type, at), out, quad, a.n);
                    else
                        bm_store4(y, y_type, at, out);
                }
                if (a.compares != 0)
                    parts[tile_row * 16 + tx] = error;
            }
            if (a.compares != 0) { // the same for every work-item
                barrier(CLK_LOCAL_MEM_FENCE);
                for (uint i = lane; i < TILE * 4; i += GROUP) {
                    const uint row = first_m + i / 4, block = first_n / BM_LOSS_COLS + c * 4 + i % 4;
                    if (row < a.m && BM_LOSS_COLS * block < a.n)
                        loss[(size_t)row * a.loss_stride + block] =
                            (parts[4 * i] + parts[4 * i + 1]) + (parts[4 * i + 2] + parts[4 * i + 3]);
                }
                barrier(CLK_LOCAL_MEM_FENCE); // parts are reused by the other columns, and by the next tile
            }
        }
    }
}
