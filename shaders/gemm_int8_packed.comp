// gemm_int8_packed: y[i, j] = (sum over l of x[i, l] * w[j, l]) * step of row i * step of feature j, plus bias[j], on panels,
// for CPU devices.   Twin: cl/gemm_int8_packed.cl
//
//   x       [panels of ROWS rows][k][ROWS]  float32 codes, from gemm_int8_pack
//   w       [panels of COLS rows][k][COLS]  float32 codes, from gemm_int8_pack
//   x_rows  [m, 4]                          float32: element 0 is the step of the row, from quantize_rows
//   w_step  [n, 4]                          float32: element 0 is the step of the output feature
//   bias    [1, n]                          real; read where has_bias is 1
//   y       [m, n]                          real; written, or with compares 1 only read: the outputs that are wanted
//   loss    [m, ceil(n / 16)]               float32; written with compares 1: the squared error of 16 outputs
//
// What is computed, in which order, as gemm_int8 has it: the same bits.
// Products of codes are integers, and float32 holds their sums exactly as long as they stay within 2^24: over 1024 columns
// (128 * 128 * 1024). Such slices of columns run as in gemm_packed, at the rate of float32; what each gives is added as an integer.
// Tiles are walked in bands of `walk` panels of x. Any number of work-groups is correct.
// lavapipe ends all loops silently after 65535 rounds together: ops/gemm_int8.c refuses a k beyond that.
// ROWS: 1 to 16. COLS: a multiple of 16.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "int8.glsl"
#include "gemm_int8_packed.args.glsl"

const uint QUADS = COLS / 4, EXACT_COLUMNS = 1024;

void main()
{
    const uint x_panels = (a.m + ROWS - 1) / ROWS, w_panels = (a.n + COLS - 1) / COLS;
    const uint tiles = x_panels * w_panels, band_tiles = a.walk * w_panels;
    for (uint tile = gl_GlobalInvocationID.x; tile < tiles; tile += gl_NumWorkGroups.x * GROUP) {
        const uint band = tile / band_tiles, rest = tile % band_tiles;
        const uint height = min(a.walk, x_panels - band * a.walk);
        const uint x_panel = band * a.walk + rest % height, w_panel = rest / height;
        const uint x_first = x_panel * a.k * ROWS, w_first = w_panel * a.k * QUADS;
        ivec4 total[ROWS * QUADS]; // [row][column quad]
        [[unroll]] for (uint i = 0; i < ROWS * QUADS; i++)
            total[i] = ivec4(0);
        for (uint first = 0; first < a.k; first += EXACT_COLUMNS) {
            const uint end = min(first + EXACT_COLUMNS, a.k);
            vec4 sum[ROWS * QUADS];
            [[unroll]] for (uint i = 0; i < ROWS * QUADS; i++)
                sum[i] = vec4(0.0);
            for (uint l = first; l < end; l++) {
                vec4 b[QUADS];
                [[unroll]] for (uint q = 0; q < QUADS; q++)
                    b[q] = bm_floats4(uvec2(a.w)).v[w_first + l * QUADS + q];
                vec4 u = vec4(0.0);
                [[unroll]] for (uint r = 0; r < ROWS; r++) {
                    if (ROWS % 4 != 0)
                        u[r % 4] = a.x.v[x_first + l * ROWS + r];
                    else if (r % 4 == 0)
                        u = bm_floats4(uvec2(a.x)).v[(x_first + l * ROWS + r) / 4];
                    [[unroll]] for (uint q = 0; q < QUADS; q++)
                        sum[r * QUADS + q] = fma(vec4(u[r % 4]), b[q], sum[r * QUADS + q]);
                }
            }
            [[unroll]] for (uint i = 0; i < ROWS * QUADS; i++)
                total[i] += ivec4(sum[i]);
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            const uint row = x_panel * ROWS + r;
            if (row < a.m) {
                [[unroll]] for (uint b = 0; b < QUADS / 4; b++) {
                    vec4 errors = vec4(0.0);
                    [[unroll]] for (uint q = 0; q < 4; q++) {
                        const uint quad = w_panel * QUADS + b * 4 + q;
                        if (4 * quad < a.n) {
                            const uint at = row * (a.y_stride / 4) + quad;
                            const vec4 base = a.has_bias != 0 ? bm_load4(a.bias, bias_type, quad) : vec4(0.0);
                            const vec4 y = bm_int8_outputs(total[r * QUADS + b * 4 + q], a.x_rows.v[4 * row],
                                                           bm_load_steps(a.w_step, quad, a.n), base);
                            if (a.compares != 0)
                                errors[q] = bm_error4(bm_load4(a.y, y_type, at), y, quad, a.n);
                            else
                                bm_store4(a.y, y_type, at, y);
                        }
                    }
                    const uint block = w_panel * (COLS / BM_LOSS_COLS) + b;
                    if (a.compares != 0 && BM_LOSS_COLS * block < a.n) {
                        precise float error = (errors.x + errors.y) + (errors.z + errors.w);
                        a.loss.v[row * a.loss_stride + block] = error;
                    }
                }
            }
        }
    }
}
