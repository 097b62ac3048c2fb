// gemm_int8, variant _cm: y[i, j] = (sum over l of x[i, l] * w[j, l]) * step of row i * step of feature j, plus bias[j], on matrix
// units.   No twin in OpenCL.
//
//   x       [m, k]               int8 codes; what is behind column k does not count
//   w       [n, k]               int8 codes
//   x_rows  [m, 4]               float32: element 0 is the step of the row, from quantize_rows
//   w_step  [n, 4]               float32: element 0 is the step of the output feature
//   bias    [1, n]               real; read where has_bias is 1
//   y       [m, n]               real; written, or with compares 1 only read: the outputs that are wanted
//   loss    [m, ceil(n / 16)]    float32; written with compares 1: the squared error of 16 outputs
//
// y = fl(fl(fl(sum) step of x) step of w) + bias, each operation rounded once, where sum is the exact integer: the same bits on every
// device, as is loss: ((q0 + q1) + (q2 + q3)) of quads (d0² + d1²) + (d2² + d3²), d = wanted - y in float32.
// k: at most 131071 (a sum of products of -128 stays below 2^31).
// A work-group computes a tile of 128 x 128 outputs, its subgroups in two rows of GROUP / 64 a part each, in fragments of 16 x 8 by
// 32 columns. Slices of 128 columns of x and w go through one buffer of local memory, whose rows are 16 bytes longer than they need
// be, so that neighbours lie in other banks: while a slice is used, the next one is on its way in registers. Sums then go through
// the same memory, 16 rows of each part at a time, to work-items that own quads of y; errors of quads lie where their sums were.
// Tiles are walked in bands of 8 tile rows, which keeps the w of a band in the L2 cache.
// GROUP: 128 or 256, subgroups of 32. Local memory: 36 KiB.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "matrix.glsl"
#include "bitmill.glsl"
#include "int8.glsl"
#include "gemm_int8.args.glsl"

const uint TILE = 128, BAND = 8;
const uint PARTS_N = GROUP / 64, PART_M = TILE / 2, PART_N = TILE / PARTS_N; // of a subgroup; parts lie 2 x PARTS_N
const uint FRAGMENTS_M = PART_M / 16, FRAGMENTS_N = PART_N / BM_COLUMNS;
const uint QUADS = 8;                                              // of words: 16 codes, in a row of a slice
const uint PITCH = QUADS + 1;                                      // from row to row in local memory, in quads of words
const uint ROWS_A_PASS = GROUP / QUADS, LOADS = TILE / ROWS_A_PASS; // quads of x, and of w, that a work-item brings in for each slice
const uint STRIP_PITCH = PART_N / 4 + 1, STRIP = 16 * STRIP_PITCH; // 16 rows of sums of a part
const uint ROWS_AT_ONCE = 128 / PART_N;                            // of a strip, by a subgroup

shared uvec4 memory[2 * TILE * PITCH]; // rows of x, then of w; later strips of sums

// Codes of a quad of words that lie before column k of its row stay, others become 0: then what w has there does not count.
uvec4 gemm_mask(uint q)
{
    const uint left = a.k - min(16 * q, a.k);
    const uvec4 at = uvec4(0u, 4u, 8u, 12u);
    const uvec4 bytes = min(max(uvec4(left), at) - at, uvec4(4u));
    return mix(uvec4(0xffffffffu) >> (8u * (4u - max(bytes, uvec4(1u)))), uvec4(0u), equal(bytes, uvec4(0u)));
}

void main()
{
    const uint lane = gl_LocalInvocationID.x;
    const uint part_m = BM_SUBGROUP / PARTS_N * PART_M, part_n = BM_SUBGROUP % PARTS_N * PART_N; // where its part begins
    const uint load_quad = lane % QUADS, load_row = lane / QUADS;
    const uint x_pitch = a.x_stride / 16, w_pitch = a.w_stride / 16, last_quad = (a.k - 1) / 16;
    const uint tiles_m = (a.m + TILE - 1) / TILE, tiles_n = (a.n + TILE - 1) / TILE;
    for (uint tile = gl_WorkGroupID.x; tile < tiles_m * tiles_n; tile += gl_NumWorkGroups.x) { // same tile for the group
        const uint band = tile / (BAND * tiles_n), rest = tile % (BAND * tiles_n);
        const uint height = min(BAND, tiles_m - band * BAND);
        const uint first_m = (band * BAND + rest % height) * TILE, first_n = rest / height * TILE;
        bm_sums sum[FRAGMENTS_M * FRAGMENTS_N];
        [[unroll]] for (uint i = 0; i < FRAGMENTS_M * FRAGMENTS_N; i++)
            sum[i] = bm_no_sums();
        uvec4 next_x[LOADS], next_w[LOADS];
        // Rows behind the last are the last: what becomes of them is not stored.
        [[unroll]] for (uint i = 0; i < LOADS; i++) {
            const uint x_row = min(first_m + load_row + i * ROWS_A_PASS, a.m - 1), w_row = min(first_n + load_row + i * ROWS_A_PASS, a.n - 1);
            next_x[i] = bm_words4(uvec2(a.x)).v[x_row * x_pitch + min(load_quad, last_quad)];
            next_w[i] = bm_words4(uvec2(a.w)).v[w_row * w_pitch + min(load_quad, last_quad)];
        }
        for (uint first = 0; first <= last_quad; first += QUADS) {
            if (16 * (first + QUADS) > a.k) { // the last slice, if k cuts it
                const uvec4 mask = gemm_mask(first + load_quad);
                [[unroll]] for (uint i = 0; i < LOADS; i++)
                    next_x[i] &= mask;
            }
            barrier(); // all have read the slice before, or the sums of the tile before
            [[unroll]] for (uint i = 0; i < LOADS; i++) {
                memory[(load_row + i * ROWS_A_PASS) * PITCH + load_quad] = next_x[i];
                memory[(TILE + load_row + i * ROWS_A_PASS) * PITCH + load_quad] = next_w[i];
            }
            barrier();
            if (first + QUADS <= last_quad) {
                const uint quad = min(first + QUADS + load_quad, last_quad);
                [[unroll]] for (uint i = 0; i < LOADS; i++) {
                    const uint x_row = min(first_m + load_row + i * ROWS_A_PASS, a.m - 1);
                    const uint w_row = min(first_n + load_row + i * ROWS_A_PASS, a.n - 1);
                    next_x[i] = bm_words4(uvec2(a.x)).v[x_row * x_pitch + quad];
                    next_w[i] = bm_words4(uvec2(a.w)).v[w_row * w_pitch + quad];
                }
            }
            [[unroll]] for (uint q = 0; q < QUADS; q += 2) {
                bm_left u[FRAGMENTS_M];
                [[unroll]] for (uint i = 0; i < FRAGMENTS_M; i++)
                    bm_load_left(u[i], memory, (part_m + 16 * i) * PITCH + q, PITCH);
                [[unroll]] for (uint j = 0; j < FRAGMENTS_N; j++) {
                    bm_right v; // rows of w are its columns
                    bm_load_right(v, memory, (TILE + part_n + BM_COLUMNS * j) * PITCH + q, PITCH);
                    [[unroll]] for (uint i = 0; i < FRAGMENTS_M; i++)
                        sum[i * FRAGMENTS_N + j] = bm_multiply_add(u[i], v, sum[i * FRAGMENTS_N + j]);
                }
            }
        }
        const uint strip = BM_SUBGROUP * STRIP, lane_row = BM_SUBGROUP_LANE / (PART_N / 4);
        const uint lane_quad = BM_SUBGROUP_LANE % (PART_N / 4), quad = (first_n + part_n) / 4 + lane_quad;
        const uint some_quad = min(quad, (a.n - 1) / 4); // one that is there
        const vec4 steps = bm_load_steps(a.w_step, some_quad, a.n);
        const vec4 base = a.has_bias != 0 ? bm_load4(a.bias, bias_type, some_quad) : vec4(0.0);
        [[unroll]] for (uint i = 0; i < FRAGMENTS_M; i++) {
            barrier(); // all have read the last slice, or the strip before
            [[unroll]] for (uint j = 0; j < FRAGMENTS_N; j++)
                bm_store_sums(sum[i * FRAGMENTS_N + j], memory, strip + BM_COLUMNS / 4 * j, STRIP_PITCH);
            barrier();
            [[unroll]] for (uint r = 0; r < 16; r += ROWS_AT_ONCE) {
                const uint row = first_m + part_m + 16 * i + r + lane_row, from = strip + (r + lane_row) * STRIP_PITCH + lane_quad;
                float error = 0.0;
                if (row < a.m && 4 * quad < a.n) {
                    const uint at = row * (a.y_stride / 4) + quad;
                    const vec4 y = bm_int8_outputs(ivec4(memory[from]), a.x_rows.v[4 * row], steps, base);
                    if (a.compares != 0)
                        error = bm_error4(bm_load4(a.y, y_type, at), y, quad, a.n);
                    else
                        bm_store4(a.y, y_type, at, y);
                }
                memory[from] = uvec4(floatBitsToUint(error));
            }
            // Wanted only where it compares; but with this barrier behind a branch NVIDIA's driver kept all sums in memory, and an
            // H200 made 70 TOP/s instead of 544.
            barrier();
            [[unroll]] for (uint r = 0; r < 16; r += ROWS_AT_ONCE) {
                const uint row = first_m + part_m + 16 * i + r + lane_row, from = strip + (r + lane_row) * STRIP_PITCH + lane_quad;
                if (a.compares != 0 && lane_quad % 4 == 0 && row < a.m && 4 * quad < a.n) {
                    const vec4 e = uintBitsToFloat(uvec4(memory[from].x, memory[from + 1].x, memory[from + 2].x, memory[from + 3].x));
                    precise float error = (e.x + e.y) + (e.z + e.w);
                    a.loss.v[row * a.loss_stride + quad / 4] = error;
                }
            }
        }
    }
}
