// gemm, variant _tile: y[i, j] = sum over l of x[i, l] * w[j, l], times factor, plus bias[j], for GPUs.   Twin: cl/gemm_tile.cl
//
//   x     [m, k]  real
//   w     [n, k]  real; the weights of a linear as checkpoints store them
//   bias  [1, n]  real; read where has_bias is 1
//   y     [m, n]  real; apart from x, w and bias
//
// y = bias + factor x w^T, with adds 1 y += that. With lower 1, y[i, j] is not wanted where j > diagonal + i (above
// the diagonal of a symmetric matrix): tiles that lie there stay as they are.
// A work-group of 256 computes a tile of 128 x 128 outputs, a work-item 8 x 8 of them: rows and columns 4 t .. 4 t + 3 and
// 64 + 4 t .. 64 + 4 t + 3, so that neighbours read neighbouring quads of local memory. Slices of SLICE columns of x and w
// go through two buffers of local memory, transposed: while a slice is used, the next one is on its way in registers, and one
// barrier a slice is enough. Tiles are walked in bands of 8 tile rows, which keeps the w of a band in the L2 cache.
// With ROWS 4 a work-item has rows 4 t .. 4 t + 3 alone, and the tile 64 rows: for GPUs whose registers do not hold 64 sums.
// GROUP: 256. ROWS: 8, with SLICE 8 or 16, or 4, with SLICE 16. Local memory: SLICE * 8 * (16 * ROWS + 128) bytes.
// Bound: k * 2^-24 * sum |x||w|, then one rounding to the storage type.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "gemm.args.glsl"

const uint TILE_M = 16 * ROWS, TILE_N = 128, BAND = 8;
const uint LOADS_X = TILE_M * SLICE / 4 / GROUP; // quads that a work-item brings in for each slice
const uint LOADS_W = TILE_N * SLICE / 4 / GROUP;

shared vec4 xs[2 * SLICE * TILE_M / 4], ws[2 * SLICE * TILE_N / 4]; // [buffer][column of the slice][row of the tile / 4]

// Columns 4 q .. 4 q + 3 of a row; zeros behind column k.
vec4 gemm_load(bm_words b, uint type, uint row, uint stride, uint q)
{
    return 4 * q < a.k ? bm_mask4(bm_load4(b, type, row * (stride / 4) + q), q, a.k, 0.0) : vec4(0.0);
}

void store_quad(uint row, uint quad, vec4 sum)
{
    if (row < a.m && 4 * quad < a.n) {
        const uint at = row * (a.y_stride / 4) + quad;
        vec4 base = a.adds != 0 ? bm_load4(a.y, y_type, at) : vec4(0.0);
        if (a.has_bias != 0)
            base += bm_load4(a.bias, bias_type, quad);
        bm_store4(a.y, y_type, at, base + sum * a.factor);
    }
}

// No loop: NVIDIA's driver does not unroll one of so many stores of float16, and then keeps the sums in memory (an H200 was 15
// times slower).
#define STORE_ROW(r)                                                                                                                 \
    if (r < ROWS) {                                                                                                                  \
        store_quad(first_row + r / 4 * 64 + r % 4, first_quad, sum[2 * r]);                                                          \
        store_quad(first_row + r / 4 * 64 + r % 4, first_quad + 16, sum[2 * r + 1]);                                                 \
    }

void main()
{
    const uint lane = gl_LocalInvocationID.x, tx = lane % 16, ty = lane / 16;
    const uint load_quad = lane % (SLICE / 4), load_row = lane / (SLICE / 4);
    const uint rows_a_pass = GROUP / (SLICE / 4);
    const uint tiles_m = (a.m + TILE_M - 1) / TILE_M, tiles_n = (a.n + TILE_N - 1) / TILE_N;
    for (uint tile = gl_WorkGroupID.x; tile < tiles_m * tiles_n; tile += gl_NumWorkGroups.x) { // same tile for the group
        const uint band = tile / (BAND * tiles_n), rest = tile % (BAND * tiles_n);
        const uint height = min(BAND, tiles_m - band * BAND);
        const uint first_m = (band * BAND + rest % height) * TILE_M, first_n = rest / height * TILE_N;
        const bool is_wanted = a.lower == 0 || int(first_n) < a.diagonal + int(first_m + TILE_M);
        const uint k = is_wanted ? a.k : 0; // no branch around barriers
        vec4 sum[16]; // [row][column quad]; of 8 rows
        [[unroll]] for (uint i = 0; i < 2 * ROWS; i++)
            sum[i] = vec4(0.0);
        vec4 next_x[LOADS_X], next_w[LOADS_W];
        [[unroll]] for (uint i = 0; i < LOADS_W; i++) {
            const uint row = load_row + i * rows_a_pass;
            const vec4 u = i < LOADS_X ? gemm_load(a.x, x_type, min(first_m + row, a.m - 1), a.x_stride, load_quad) : vec4(0.0);
            const vec4 v = gemm_load(a.w, w_type, min(first_n + row, a.n - 1), a.w_stride, load_quad);
            [[unroll]] for (uint l = 0; l < 4; l++) {
                if (i < LOADS_X)
                    xs[(4 * load_quad + l) * (TILE_M / 4) + row / 4][row % 4] = u[l];
                ws[(4 * load_quad + l) * (TILE_N / 4) + row / 4][row % 4] = v[l];
            }
        }
        barrier();
        uint now_x = 0, now_w = 0; // where the buffers in use begin
        for (uint first_k = 0; first_k < k; first_k += SLICE) {
            const bool more = first_k + SLICE < k;
            if (more) {
                const uint q = (first_k + SLICE) / 4 + load_quad;
                [[unroll]] for (uint i = 0; i < LOADS_W; i++) {
                    const uint row = load_row + i * rows_a_pass;
                    if (i < LOADS_X)
                        next_x[i] = gemm_load(a.x, x_type, min(first_m + row, a.m - 1), a.x_stride, q);
                    next_w[i] = gemm_load(a.w, w_type, min(first_n + row, a.n - 1), a.w_stride, q);
                }
            }
            [[unroll]] for (uint l = 0; l < SLICE; l++) {
                const vec4 v0 = ws[now_w + l * (TILE_N / 4) + tx], v1 = ws[now_w + l * (TILE_N / 4) + 16 + tx];
                [[unroll]] for (uint h = 0; h < ROWS / 4; h++) {
                    const vec4 u = xs[now_x + l * (TILE_M / 4) + 16 * h + ty];
                    [[unroll]] for (uint r = 0; r < 4; r++) {
                        sum[8 * h + 2 * r] = fma(vec4(u[r]), v0, sum[8 * h + 2 * r]);
                        sum[8 * h + 2 * r + 1] = fma(vec4(u[r]), v1, sum[8 * h + 2 * r + 1]);
                    }
                }
            }
            now_x = SLICE * TILE_M / 4 - now_x, now_w = SLICE * TILE_N / 4 - now_w;
            if (more) {
                [[unroll]] for (uint i = 0; i < LOADS_W; i++) {
                    const uint row = load_row + i * rows_a_pass;
                    [[unroll]] for (uint l = 0; l < 4; l++) {
                        if (i < LOADS_X)
                            xs[now_x + (4 * load_quad + l) * (TILE_M / 4) + row / 4][row % 4] = next_x[i][l];
                        ws[now_w + (4 * load_quad + l) * (TILE_N / 4) + row / 4][row % 4] = next_w[i][l];
                    }
                }
            }
            barrier();
        }
        if (is_wanted) {
            const uint first_row = first_m + 4 * ty, first_quad = first_n / 4 + tx;
            STORE_ROW(0) STORE_ROW(1) STORE_ROW(2) STORE_ROW(3) STORE_ROW(4) STORE_ROW(5) STORE_ROW(6) STORE_ROW(7)
        }
    }
}
