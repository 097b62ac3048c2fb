// gemm_packed: y[i, j] = sum over l of x[i, l] * w[j, l], times factor, plus bias[j], on panels, for CPU devices.
// Twin: cl/gemm_packed.cl
//
//   x     [panels of ROWS rows][k][ROWS]  float32, from gemm_pack_inputs
//   w     [panels of COLS rows][k][COLS]  real, from gemm_pack_weights
//   bias  [1, n]                          real; read where has_bias is 1
//   y     [m, n]                          real; apart from x, w and bias
//
// y = bias + factor x w^T, with adds 1 y += that. With lower 1, y[i, j] is not wanted where j > diagonal + i (above
// the diagonal of a symmetric matrix): tiles that lie there stay as they are.
// A work-item computes ROWS x COLS outputs: for each l it reads COLS neighbours of w and ROWS of x, all of them in sequence,
// and keeps the sums in registers. No local memory: a CPU has none.
// Tiles are walked in bands of `walk` panels of x, which stay in the outer cache while one panel of w after the other passes
// through the inner one. Any number of work-groups is correct.
// lavapipe ends all loops silently after 65535 rounds together: ops/gemm.c refuses a k beyond that.
// ROWS: 1 to 16. COLS: a multiple of 16. Bound: k * 2^-24 * sum |x||w|, then one rounding to the storage type.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "gemm_packed.args.glsl"

const uint QUADS = COLS / 4;

void main()
{
    const uint x_panels = (a.m + ROWS - 1) / ROWS, w_panels = (a.n + COLS - 1) / COLS;
    const uint tiles = x_panels * w_panels, band_tiles = a.walk * w_panels;
    for (uint tile = gl_GlobalInvocationID.x; tile < tiles; tile += gl_NumWorkGroups.x * GROUP) {
        const uint band = tile / band_tiles, rest = tile % band_tiles;
        const uint height = min(a.walk, x_panels - band * a.walk);
        const uint x_panel = band * a.walk + rest % height, w_panel = rest / height;
        if (a.lower != 0 && int(w_panel * COLS) >= a.diagonal + int((x_panel + 1) * ROWS))
            continue;
        const uint x_first = x_panel * a.k * ROWS, w_first = w_panel * a.k * QUADS;
        vec4 sum[ROWS * QUADS]; // [row][column quad]
        [[unroll]] for (uint i = 0; i < ROWS * QUADS; i++)
            sum[i] = vec4(0.0);
        for (uint l = 0; l < a.k; l++) {
            vec4 b[QUADS];
            [[unroll]] for (uint q = 0; q < QUADS; q++)
                b[q] = bm_load4(a.w, w_type, w_first + l * QUADS + q);
            vec4 u = vec4(0.0);
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                if (ROWS % 4 != 0)
                    u[r % 4] = a.x.v[x_first + l * ROWS + r];
                else if (r % 4 == 0) // half again as fast on lavapipe, where an address costs more than a product
                    u = bm_floats4(uvec2(a.x)).v[(x_first + l * ROWS + r) / 4];
                [[unroll]] for (uint q = 0; q < QUADS; q++)
                    sum[r * QUADS + q] = fma(vec4(u[r % 4]), b[q], sum[r * QUADS + q]);
            }
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            const uint row = x_panel * ROWS + r;
            if (row < a.m) {
                [[unroll]] for (uint q = 0; q < QUADS; q++) {
                    const uint quad = w_panel * QUADS + q;
                    if (4 * quad < a.n) {
                        const uint at = row * (a.y_stride / 4) + quad;
                        vec4 base = a.adds != 0 ? bm_load4(a.y, y_type, at) : vec4(0.0);
                        if (a.has_bias != 0)
                            base += bm_load4(a.bias, bias_type, quad);
                        bm_store4(a.y, y_type, at, base + sum[r * QUADS + q] * a.factor);
                    }
                }
            }
        }
    }
}
