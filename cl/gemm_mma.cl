// gemm, variant _mma: y[i, j] = sum over l of x[i, l] * w[j, l], times factor, plus bias[j], on NVIDIA's matrix units.
// No twin: Vulkan reaches those by cooperative matrices, shaders/gemm_cm.comp.
//
//   x     [m, k]  float16 or bfloat16
//   w     [n, k]  as x; the weights of a linear as checkpoints store them
//   bias  [1, n]  real; read where has_bias is 1
//   y     [m, n]  real; apart from x, w and bias
//
// y = bias + factor x w^T, with adds 1 y += that. With lower 1, y[i, j] is not wanted where j > diagonal + i (above
// the diagonal of a symmetric matrix): tiles that lie there stay as they are.
// A work-group computes a tile of 16 ROWS x 128 outputs, each subgroup 64 x 64 of them in registers. Slices of SLICE columns of x and w
// go through STAGES buffers of local memory by copies that go on beside the kernel: one barrier a slice is enough. Rows lie there
// without padding; the quads of a row are exchanged by its number, so that a quad of eight rows lies in all banks. Copies leave out
// what is behind column k or the last row, and write zeros. Tiles are walked in bands of 8 tile rows, which keeps the w of a band in
// the L2 cache.
// GROUP: 16 * ROWS. ROWS: 4, 8 or 16. SLICE: 32. Local memory: 48 KiB, all that NVIDIA's OpenCL has: 4, 3 or 2 slices.
// Bound: k * 2^-22 * sum |x||w| (sums may be cut instead of rounded), then one rounding to the storage type.
#include "bitmill.h"
#define MMA_BFLOAT16 (x_type == BM_BF16)
#include "gemm.args.h"
#include "mma.h"

#define TILE_M (16 * ROWS)
#define TILE_N 128
#define BAND 8
#define QUADS (SLICE / 8) // of words: 8 elements, in a row of a slice
#define STAGE ((TILE_M + TILE_N) * QUADS)
#define STAGES (3072 / STAGE) // in 48 KiB
#define PASS (GROUP / QUADS)  // rows that a work-group copies at once
// Where a quad of a row lies: rows lie in pairs over the 32 banks.
#define gemm_place(row, quad) ((row) * QUADS + ((quad) ^ ((row) / 2 % 4)))

// Begins to copy rows of a slice, of each quad so many bytes.
#define gemm_copy(where, tile, from, first, stride, bytes)                                                                           \
    MMA_UNROLL                                                                                                                       \
    for (uint i = 0; i < tile / PASS; i++)                                                                                           \
        mma_copy(slices, load_address, (where) + i * PASS * QUADS,                                                                   \
                 from + 4 * ((size_t)((first) + load_row + i * PASS) * (stride / 8) + load_quads), bytes);
#define gemm_fetch(stage, first_k)                                                                                                   \
    {                                                                                                                                \
        const uint load_quads = (first_k) / 8 + load_quad, load_address = mma_address(slices, (stage) * STAGE + load_place);         \
        if (is_whole && (first_k) + SLICE <= a.k) {                                                                                  \
            gemm_copy(0, TILE_M, x, first_m, a.x_stride, 16u)                                                                        \
            gemm_copy(TILE_M * QUADS, TILE_N, w, first_n, a.w_stride, 16u)                                                           \
        } else {                                                                                                                     \
            const uint load_bytes = min(2 * max(a.k, 8 * load_quads) - 16 * load_quads, 16u); /* before column k */                  \
            gemm_copy(0, TILE_M, x, first_m, a.x_stride, (first_m + load_row + i * PASS < a.m ? load_bytes : 0u))                    \
            gemm_copy(TILE_M * QUADS, TILE_N, w, first_n, a.w_stride, (first_n + load_row + i * PASS < a.n ? load_bytes : 0u))       \
        }                                                                                                                            \
    }

BM_KERNEL gemm_mma(BM_PARAMETERS)
{
    BM_BEGIN
    MMA_BEGIN
    __local uint4 slices[STAGES * STAGE]; // [row of x's tile, then of w's][quad of the slice]
    const uint lane = get_local_id(0), sub_lane = lane % 32;
    const uint part_m = lane / 64 * 64, part_n = lane / 32 % 2 * 64; // of a subgroup
    const uint load_row = lane / QUADS, load_quad = lane % QUADS, load_place = gemm_place(load_row, load_quad);
    const uint x_row = part_m + sub_lane % 16, x_quad = sub_lane / 16; // of the squares that the work-item points at
    const uint w_row = part_n + sub_lane / 16 * 8 + sub_lane % 8, w_quad = sub_lane / 8 % 2;
    const uint tiles_m = (a.m + TILE_M - 1) / TILE_M, tiles_n = (a.n + TILE_N - 1) / TILE_N;
    for (uint tile = get_group_id(0); tile < tiles_m * tiles_n; tile += get_num_groups(0)) { // same tile for the group
        const uint band = tile / (BAND * tiles_n), rest = tile % (BAND * tiles_n);
        const uint height = min((uint)BAND, tiles_m - band * BAND);
        const uint first_m = (band * BAND + rest % height) * TILE_M, first_n = rest / height * TILE_N;
        const bool is_wanted = a.lower == 0 || (int)first_n < a.diagonal + (int)(first_m + TILE_M);
        const bool is_whole = first_m + TILE_M <= a.m && first_n + TILE_N <= a.n;
        const uint k = is_wanted ? a.k : 0; // no branch around barriers
        float sum[4][8][4];
        MMA_UNROLL
        for (uint i = 0; i < 4; i++) {
            MMA_UNROLL
            for (uint j = 0; j < 8; j++) {
                MMA_UNROLL
                for (uint e = 0; e < 4; e++)
                    sum[i][j][e] = 0.0f;
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE); // all have read the tile before
        for (uint stage = 0; stage < STAGES - 1; stage++) {
            if (stage * SLICE < k)
                gemm_fetch(stage, stage * SLICE)
            mma_close();
        }
        uint now = 0, next = STAGES - 1;
        for (uint first_k = 0; first_k < k; first_k += SLICE) {
            mma_wait(STAGES - 2);
            barrier(CLK_LOCAL_MEM_FENCE); // the slice is there, and all have read the one before
            MMA_UNROLL
            for (uint quad = 0; quad < QUADS; quad += 2) {
                const uint x_address = mma_address(slices, now * STAGE + gemm_place(x_row, quad + x_quad));
                const uint w_address = mma_address(slices, now * STAGE + TILE_M * QUADS + gemm_place(w_row, quad + w_quad));
                uint u[4][4], v[4][4];
                MMA_UNROLL
                for (uint i = 0; i < 4; i++) {
                    mma_load(u[i], slices, x_address, 16 * i * QUADS);
                    mma_load(v[i], slices, w_address, 16 * i * QUADS);
                }
                if (quad == 0) { // while fragments are on their way
                    if (first_k + (STAGES - 1) * SLICE < k)
                        gemm_fetch(next, first_k + (STAGES - 1) * SLICE)
                    mma_close();
                }
                MMA_UNROLL
                for (uint i = 0; i < 4; i++) {
                    MMA_UNROLL
                    for (uint j = 0; j < 4; j++) {
                        mma_multiply_add(sum[i][2 * j], u[i], v[j][0], v[j][1]);
                        mma_multiply_add(sum[i][2 * j + 1], u[i], v[j][2], v[j][3]);
                    }
                }
            }
            now = now + 1 < STAGES ? now + 1 : 0;
            next = next + 1 < STAGES ? next + 1 : 0;
        }
        const bool is_odd = sub_lane % 2 != 0; // stores four columns of row + 8, its neighbour those of row
        MMA_UNROLL
        for (uint i = 0; i < 4; i++) {
            const uint row = first_m + part_m + 16 * i + sub_lane / 4 + (is_odd ? 8 : 0);
            MMA_UNROLL
            for (uint j = 0; j < 8; j++) {
                const uint quad = (first_n + part_n) / 4 + 2 * j + sub_lane % 4 / 2;
                const float other0 = mma_other(is_odd ? sum[i][j][0] : sum[i][j][2], 1);
                const float other1 = mma_other(is_odd ? sum[i][j][1] : sum[i][j][3], 1);
                const float4 four = is_odd ? (float4)(other0, other1, sum[i][j][2], sum[i][j][3])
                                           : (float4)(sum[i][j][0], sum[i][j][1], other0, other1);
                if (is_wanted && row < a.m && 4 * quad < a.n) {
                    const size_t at = (size_t)row * (a.y_stride / 4) + quad;
                    float4 base = a.adds != 0 ? mma_load4(y, y_type, at) : (float4)(0.0f);
                    if (a.has_bias != 0)
                        base += mma_load4(bias, bias_type, quad);
                    mma_store4(y, y_type, at, base + four * a.factor);
                }
            }
        }
    }
}
