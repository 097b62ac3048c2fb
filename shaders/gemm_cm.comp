// gemm, variant _cm: y[i, j] = sum over l of x[i, l] * w[j, l], times factor, plus bias[j], on matrix units.   No twin in OpenCL.
// Other units (_cm_bf16, _cm_16x16 and so on: kernels.def) are other fragments, M x N of sums, and other subgroups (matrix.glsl).
//
//   x     [m, k]  float16 (_bf16: bfloat16)
//   w     [n, k]  as x; the weights of a linear as checkpoints store them
//   bias  [1, n]  real; read where has_bias is 1
//   y     [m, n]  real; apart from x, w and bias
//
// y = bias + factor x w^T, with adds 1 y += that. With lower 1, y[i, j] is not wanted where j > diagonal + i (above
// the diagonal of a symmetric matrix): tiles that lie there stay as they are.
// A work-group computes a tile of 16 ROWS x 128 outputs, its subgroups in two rows, a part each, in fragments of M x N by
// 16 columns. Slices of SLICE columns of x and w go through one buffer of local memory, whose rows
// are 16 bytes longer than they need be, so that neighbours lie in other banks: while a slice is used, the next one is on its way
// in registers. Sums then go through the same memory, 16 rows of each part at a time, to work-items that own quads of y.
// Tiles are walked in bands of 8 tile rows, which keeps the w of a band in the L2 cache.
// GROUP: 4 or 8 subgroups, at least 64 and at most 2 * ROWS * SLICE. ROWS: 8 or 4. SLICE: 32 or 64. Local memory: (16 * ROWS + 128) * (2 * SLICE + 16) bytes,
// or 18432 where that is more.
// Bound: nothing is rounded before the sums, whose additions may cut instead of rounding: 4 k * 2^-24 * sum |x||w|, then one
// rounding to the storage type.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "matrix.glsl"
#include "bitmill.glsl"
#include "gemm.args.glsl"

const uint TILE_M = 16 * ROWS, TILE_N = 128, BAND = 8;
const uint PARTS_N = GROUP / (2 * BM_LANES), PART_M = TILE_M / 2, PART_N = TILE_N / PARTS_N; // of a subgroup; parts lie 2 x PARTS_N
const uint FRAGMENTS_M = PART_M / BM_ROWS, FRAGMENTS_N = PART_N / BM_COLUMNS;
const uint QUADS = SLICE / 8;                              // of words: 8 elements, in a row of a slice
const uint PITCH = QUADS + 1;                              // from row to row in local memory, in quads of words
const uint ROWS_A_PASS = GROUP / QUADS;
const uint LOADS_X = TILE_M / ROWS_A_PASS, LOADS_W = TILE_N / ROWS_A_PASS; // quads that a work-item brings in for each slice
const uint STRIP_PITCH = PART_N / 4 + 1, STRIP = BM_ROWS * STRIP_PITCH; // a fragment's rows of sums of a part
const uint SLICE_QUADS = (TILE_M + TILE_N) * PITCH, STRIP_QUADS = GROUP / BM_LANES * STRIP;

shared uvec4 memory[SLICE_QUADS > STRIP_QUADS ? SLICE_QUADS : STRIP_QUADS]; // rows of x, then of w; later strips of sums

// Elements of a quad of words that lie before column k of its row stay, others become 0: whatever the padding holds.
uvec4 gemm_mask(uint q)
{
    const uint left = a.k - min(8 * q, a.k);
    const uvec4 at = uvec4(0u, 2u, 4u, 6u);
    const uvec4 halves = min(max(uvec4(left), at) - at, uvec4(2u));
    return mix(mix(uvec4(0u), uvec4(0xffffu), equal(halves, uvec4(1u))), uvec4(0xffffffffu), equal(halves, uvec4(2u)));
}

void main()
{
    const uint lane = gl_LocalInvocationID.x;
    const uint part_m = BM_SUBGROUP / PARTS_N * PART_M, part_n = BM_SUBGROUP % PARTS_N * PART_N; // where its part begins
    const uint load_quad = lane % QUADS, load_row = lane / QUADS;
    const uint x_pitch = a.x_stride / 8, w_pitch = a.w_stride / 8, last_quad = (a.k - 1) / 8;
    const uint tiles_m = (a.m + TILE_M - 1) / TILE_M, tiles_n = (a.n + TILE_N - 1) / TILE_N;
    for (uint tile = gl_WorkGroupID.x; tile < tiles_m * tiles_n; tile += gl_NumWorkGroups.x) { // same tile for the group
        const uint band = tile / (BAND * tiles_n), rest = tile % (BAND * tiles_n);
        const uint height = min(BAND, tiles_m - band * BAND);
        const uint first_m = (band * BAND + rest % height) * TILE_M, first_n = rest / height * TILE_N;
        const bool is_wanted = a.lower == 0 || int(first_n) < a.diagonal + int(first_m + TILE_M);
        const uint k = is_wanted ? a.k : 0; // no branch around barriers
        bm_sums sum[FRAGMENTS_M * FRAGMENTS_N];
        [[unroll]] for (uint i = 0; i < FRAGMENTS_M * FRAGMENTS_N; i++)
            sum[i] = bm_no_sums();
        uvec4 next_x[LOADS_X], next_w[LOADS_W];
        // Rows behind the last are the last: what becomes of them is not stored.
        [[unroll]] for (uint i = 0; i < LOADS_X; i++) {
            const uint row = min(first_m + load_row + i * ROWS_A_PASS, a.m - 1);
            next_x[i] = bm_words4(uvec2(a.x)).v[row * x_pitch + min(load_quad, last_quad)];
        }
        [[unroll]] for (uint i = 0; i < LOADS_W; i++) {
            const uint row = min(first_n + load_row + i * ROWS_A_PASS, a.n - 1);
            next_w[i] = bm_words4(uvec2(a.w)).v[row * w_pitch + min(load_quad, last_quad)];
        }
        for (uint first_k = 0; first_k < k; first_k += SLICE) {
            if (first_k + SLICE > k) { // the last one, if k cuts it
                const uvec4 mask = gemm_mask(first_k / 8 + load_quad);
                [[unroll]] for (uint i = 0; i < LOADS_X; i++)
                    next_x[i] &= mask;
                [[unroll]] for (uint i = 0; i < LOADS_W; i++)
                    next_w[i] &= mask;
            }
            barrier(); // all have read the slice before, or the sums of the tile before
            [[unroll]] for (uint i = 0; i < LOADS_X; i++)
                memory[(load_row + i * ROWS_A_PASS) * PITCH + load_quad] = next_x[i];
            [[unroll]] for (uint i = 0; i < LOADS_W; i++)
                memory[(TILE_M + load_row + i * ROWS_A_PASS) * PITCH + load_quad] = next_w[i];
            barrier();
            if (first_k + SLICE < k) {
                const uint quad = min((first_k + SLICE) / 8 + load_quad, last_quad);
                [[unroll]] for (uint i = 0; i < LOADS_X; i++) {
                    const uint row = min(first_m + load_row + i * ROWS_A_PASS, a.m - 1);
                    next_x[i] = bm_words4(uvec2(a.x)).v[row * x_pitch + quad];
                }
                [[unroll]] for (uint i = 0; i < LOADS_W; i++) {
                    const uint row = min(first_n + load_row + i * ROWS_A_PASS, a.n - 1);
                    next_w[i] = bm_words4(uvec2(a.w)).v[row * w_pitch + quad];
                }
            }
            [[unroll]] for (uint q = 0; q < QUADS; q += 2) {
                bm_left u[FRAGMENTS_M];
                [[unroll]] for (uint i = 0; i < FRAGMENTS_M; i++)
                    bm_load_left(u[i], memory, (part_m + BM_ROWS * i) * PITCH + q, PITCH);
                [[unroll]] for (uint j = 0; j < FRAGMENTS_N; j++) {
                    bm_right v; // rows of w are its columns
                    bm_load_right(v, memory, (TILE_M + part_n + BM_COLUMNS * j) * PITCH + q, PITCH);
                    [[unroll]] for (uint i = 0; i < FRAGMENTS_M; i++)
                        sum[i * FRAGMENTS_N + j] = bm_multiply_add(u[i], v, sum[i * FRAGMENTS_N + j]);
                }
            }
        }
        const uint strip = BM_SUBGROUP * STRIP, lane_row = BM_SUBGROUP_LANE / (PART_N / 4);
        const uint lane_quad = BM_SUBGROUP_LANE % (PART_N / 4), quad = (first_n + part_n) / 4 + lane_quad;
        [[unroll]] for (uint i = 0; i < FRAGMENTS_M; i++) {
            barrier(); // all have read the last slice, or the strip before
            [[unroll]] for (uint j = 0; j < FRAGMENTS_N; j++)
                bm_store_sums(sum[i * FRAGMENTS_N + j], memory, strip + BM_COLUMNS / 4 * j, STRIP_PITCH);
            barrier();
            [[unroll]] for (uint r = 0; r < BM_ROWS; r += 4 * BM_LANES / PART_N) {
                const uint row = first_m + part_m + BM_ROWS * i + r + lane_row;
                if (is_wanted && row < a.m && 4 * quad < a.n) {
                    const vec4 v = uintBitsToFloat(memory[strip + (r + lane_row) * STRIP_PITCH + lane_quad]);
                    const uint at = row * (a.y_stride / 4) + quad;
                    vec4 base = a.adds != 0 ? bm_load4(a.y, y_type, at) : vec4(0.0);
                    if (a.has_bias != 0)
                        base += bm_load4(a.bias, bias_type, quad);
                    bm_store4(a.y, y_type, at, base + v * a.factor);
                }
            }
        }
    }
}
