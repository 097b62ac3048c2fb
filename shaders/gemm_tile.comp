// gemm, variant _tile: y[i, j] = sum over l of x[i, l] * w[j, l], plus bias[j], for GPUs.   Twin: cl/gemm_tile.cl
//
//   x     [m, k]  real
//   w     [n, k]  real; the weights of a linear as checkpoints store them
//   bias  [1, n]  real; read where has_bias is 1
//   y     [m, n]  real; apart from x, w and bias
//
// A work-group of 256 computes a tile of 128 x 128 outputs, a work-item 8 x 8 of them: rows and columns 4 t .. 4 t + 3 and
// 64 + 4 t .. 64 + 4 t + 3, so that neighbours read neighbouring quads of local memory. Slices of SLICE columns of x and w
// go through two buffers of local memory, transposed: while a slice is used, the next one is on its way in registers, and one
// barrier a slice is enough. Tiles are walked in bands of 8 tile rows, which keeps the w of a band in the L2 cache.
// GROUP: 256. SLICE: 8 or 16. Local memory: SLICE * 2048 bytes.
// Bound: k * 2^-24 * sum |x||w|, then one rounding to the storage type.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "gemm.args.glsl"

const uint TILE = 128, BAND = 8;
const uint LOADS = TILE * SLICE / 4 / GROUP; // quads that a work-item brings in, of x and of w, for each slice

shared vec4 xs[2 * SLICE * 32], ws[2 * SLICE * 32]; // [buffer][column of the slice][row of the tile / 4]

// Columns 4 q .. 4 q + 3 of a row; zeros behind column k.
vec4 gemm_load(bm_words b, uint type, uint row, uint stride, uint q)
{
    return 4 * q < a.k ? bm_mask4(bm_load4(b, type, row * (stride / 4) + q), q, a.k, 0.0) : vec4(0.0);
}

void main()
{
    const uint lane = gl_LocalInvocationID.x, tx = lane % 16, ty = lane / 16;
    const uint load_quad = lane % (SLICE / 4), load_row = lane / (SLICE / 4);
    const uint rows_a_pass = GROUP / (SLICE / 4);
    const uint tiles_m = (a.m + TILE - 1) / TILE, tiles_n = (a.n + TILE - 1) / TILE;
    for (uint tile = gl_WorkGroupID.x; tile < tiles_m * tiles_n; tile += gl_NumWorkGroups.x) { // same tile for the group
        const uint band = tile / (BAND * tiles_n), rest = tile % (BAND * tiles_n);
        const uint height = min(BAND, tiles_m - band * BAND);
        const uint first_m = (band * BAND + rest % height) * TILE, first_n = rest / height * TILE;
        vec4 sum[16]; // [row][column quad]
        [[unroll]] for (uint i = 0; i < 16; i++)
            sum[i] = vec4(0.0);
        vec4 next_x[LOADS], next_w[LOADS];
        [[unroll]] for (uint i = 0; i < LOADS; i++) {
            const uint row = load_row + i * rows_a_pass;
            const vec4 u = gemm_load(a.x, x_type, min(first_m + row, a.m - 1), a.x_stride, load_quad);
            const vec4 v = gemm_load(a.w, w_type, min(first_n + row, a.n - 1), a.w_stride, load_quad);
            [[unroll]] for (uint l = 0; l < 4; l++) {
                xs[(4 * load_quad + l) * 32 + row / 4][row % 4] = u[l];
                ws[(4 * load_quad + l) * 32 + row / 4][row % 4] = v[l];
            }
        }
        barrier();
        uint now = 0; // where the buffer in use begins
        for (uint first_k = 0; first_k < a.k; first_k += SLICE) {
            const bool more = first_k + SLICE < a.k;
            if (more) {
                const uint q = (first_k + SLICE) / 4 + load_quad;
                [[unroll]] for (uint i = 0; i < LOADS; i++) {
                    const uint row = load_row + i * rows_a_pass;
                    next_x[i] = gemm_load(a.x, x_type, min(first_m + row, a.m - 1), a.x_stride, q);
                    next_w[i] = gemm_load(a.w, w_type, min(first_n + row, a.n - 1), a.w_stride, q);
                }
            }
            [[unroll]] for (uint l = 0; l < SLICE; l++) {
                const vec4 u0 = xs[now + l * 32 + ty], u1 = xs[now + l * 32 + 16 + ty];
                const vec4 v0 = ws[now + l * 32 + tx], v1 = ws[now + l * 32 + 16 + tx];
                [[unroll]] for (uint r = 0; r < 4; r++) {
                    sum[2 * r] = fma(vec4(u0[r]), v0, sum[2 * r]);
                    sum[2 * r + 1] = fma(vec4(u0[r]), v1, sum[2 * r + 1]);
                    sum[2 * r + 8] = fma(vec4(u1[r]), v0, sum[2 * r + 8]);
                    sum[2 * r + 9] = fma(vec4(u1[r]), v1, sum[2 * r + 9]);
                }
            }
            now = SLICE * 32 - now;
            if (more) {
                [[unroll]] for (uint i = 0; i < LOADS; i++) {
                    const uint row = load_row + i * rows_a_pass;
                    [[unroll]] for (uint l = 0; l < 4; l++) {
                        xs[now + (4 * load_quad + l) * 32 + row / 4][row % 4] = next_x[i][l];
                        ws[now + (4 * load_quad + l) * 32 + row / 4][row % 4] = next_w[i][l];
                    }
                }
            }
            barrier();
        }
        [[unroll]] for (uint r = 0; r < 8; r++) {
            const uint row = first_m + r / 4 * 64 + 4 * ty + r % 4;
            [[unroll]] for (uint c = 0; c < 2; c++) {
                const uint quad = first_n / 4 + c * 16 + tx;
                if (row < a.m && 4 * quad < a.n)
                    bm_store4(a.y, y_type, row * (a.y_stride / 4) + quad,
                              a.has_bias != 0 ? sum[2 * r + c] + bm_load4(a.bias, bias_type, quad) : sum[2 * r + c]);
            }
        }
    }
}
