// gemm, variant _tile: y[i, j] = sum over l of x[i, l] * w[j, l], times factor, plus bias[j], for GPUs.   Twin: shaders/gemm_tile.comp
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
#include "bitmill.h"
#include "gemm.args.h"

#define TILE_M (16 * ROWS)
#define TILE_N 128
#define BAND 8
#define LOADS_X (TILE_M * SLICE / 4 / GROUP) // quads that a work-item brings in for each slice
#define LOADS_W (TILE_N * SLICE / 4 / GROUP)

// Columns 4 q .. 4 q + 3 of a row; zeros behind column k.
inline float4 gemm_load(__global const uint *b, uint type, uint row, uint stride, uint q, uint k)
{
    return 4 * q < k ? bm_mask4(bm_load4(b, type, (size_t)row * (stride / 4) + q), q, k, 0.0f) : (float4)(0.0f);
}

inline void gemm_put(__local float4 *slice, uint tile, uint row, uint quad, float4 v)
{
    __local float *s = (__local float *)slice + quad * 4 * tile + row;
    s[0] = v.x;
    s[tile] = v.y;
    s[2 * tile] = v.z;
    s[3 * tile] = v.w;
}

BM_MANY_REGISTERS BM_KERNEL gemm_tile(BM_PARAMETERS)
{
    BM_BEGIN
    __local float4 xs[2][SLICE * TILE_M / 4], ws[2][SLICE * TILE_N / 4]; // [column of the slice][row of the tile / 4]
    const uint lane = get_local_id(0), tx = lane % 16, ty = lane / 16;
    const uint load_quad = lane % (SLICE / 4), load_row = lane / (SLICE / 4);
    const uint rows_a_pass = GROUP / (SLICE / 4);
    const uint tiles_m = (a.m + TILE_M - 1) / TILE_M, tiles_n = (a.n + TILE_N - 1) / TILE_N;
    for (uint tile = get_group_id(0); tile < tiles_m * tiles_n; tile += get_num_groups(0)) { // same tile for the group
        const uint band = tile / (BAND * tiles_n), rest = tile % (BAND * tiles_n);
        const uint height = min((uint)BAND, tiles_m - band * BAND);
        const uint first_m = (band * BAND + rest % height) * TILE_M, first_n = rest / height * TILE_N;
        const bool is_wanted = a.lower == 0 || (int)first_n < a.diagonal + (int)(first_m + TILE_M);
        const uint k = is_wanted ? a.k : 0; // no branch around barriers
        float4 sum[ROWS][2];
        #pragma unroll
        for (uint r = 0; r < ROWS; r++)
            sum[r][0] = sum[r][1] = (float4)(0.0f);
        float4 next_x[LOADS_X], next_w[LOADS_W];
        #pragma unroll
        for (uint i = 0; i < LOADS_W; i++) {
            const uint row = load_row + i * rows_a_pass;
            if (i < LOADS_X)
                gemm_put(xs[0], TILE_M, row, load_quad, gemm_load(x, x_type, min(first_m + row, a.m - 1), a.x_stride, load_quad, a.k));
            gemm_put(ws[0], TILE_N, row, load_quad, gemm_load(w, w_type, min(first_n + row, a.n - 1), a.w_stride, load_quad, a.k));
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        uint now = 0;
        for (uint first_k = 0; first_k < k; first_k += SLICE, now ^= 1) {
            const bool more = first_k + SLICE < k;
            if (more) {
                const uint q = (first_k + SLICE) / 4 + load_quad;
                #pragma unroll
                for (uint i = 0; i < LOADS_W; i++) {
                    const uint row = load_row + i * rows_a_pass;
                    if (i < LOADS_X)
                        next_x[i] = gemm_load(x, x_type, min(first_m + row, a.m - 1), a.x_stride, q, a.k);
                    next_w[i] = gemm_load(w, w_type, min(first_n + row, a.n - 1), a.w_stride, q, a.k);
                }
            }
            #pragma unroll
            for (uint l = 0; l < SLICE; l++) {
                const float4 u0 = xs[now][l * (TILE_M / 4) + ty];
                const float4 u1 = ROWS > 4 ? xs[now][l * (TILE_M / 4) + 16 + ty] : u0;
                const float4 v0 = ws[now][l * (TILE_N / 4) + tx], v1 = ws[now][l * (TILE_N / 4) + 16 + tx];
                const float u[8] = {u0.x, u0.y, u0.z, u0.w, u1.x, u1.y, u1.z, u1.w};
                #pragma unroll
                for (uint r = 0; r < ROWS; r++) {
                    sum[r][0] = fma((float4)(u[r]), v0, sum[r][0]);
                    sum[r][1] = fma((float4)(u[r]), v1, sum[r][1]);
                }
            }
            if (more) {
                #pragma unroll
                for (uint i = 0; i < LOADS_W; i++) {
                    if (i < LOADS_X)
                        gemm_put(xs[now ^ 1], TILE_M, load_row + i * rows_a_pass, load_quad, next_x[i]);
                    gemm_put(ws[now ^ 1], TILE_N, load_row + i * rows_a_pass, load_quad, next_w[i]);
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        #pragma unroll
        for (uint r = 0; r < ROWS; r++) {
            const uint row = first_m + r / 4 * 64 + 4 * ty + r % 4;
            #pragma unroll
            for (uint c = 0; c < 2; c++) {
                const uint quad = first_n / 4 + c * 16 + tx;
                if (is_wanted && row < a.m && 4 * quad < a.n) {
                    const size_t at = (size_t)row * (a.y_stride / 4) + quad;
                    float4 base = a.adds != 0 ? bm_load4(y, y_type, at) : (float4)(0.0f);
                    if (a.has_bias != 0)
                        base += bm_load4(bias, bias_type, quad);
                    bm_store4(y, y_type, at, base + sum[r][c] * a.factor);
                }
            }
        }
    }
}
