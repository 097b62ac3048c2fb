// gemm_packed: y[i, j] = sum over l of x[i, l] * w[j, l], times factor, plus bias[j], on panels, for CPU devices.
// Twin: shaders/gemm_packed.comp
//
//   x     [panels of ROWS rows][k][ROWS]  float32, from gemm_pack_inputs
//   w     [panels of COLS rows][k][COLS]  real, from gemm_pack_weights
//   bias  [1, n]                          real; read where has_bias is 1
//   y     [m, n]                          real; apart from x, w and bias
//
// y = bias + factor x w^T, with adds 1 y += that. With lower 1, y[i, j] is not wanted where j > diagonal + i (above
// the diagonal of a symmetric matrix): tiles that lie there stay as they are.
// A work-item computes ROWS x COLS outputs: for each l it reads COLS neighbours of w and ROWS of x, all of them in sequence,
// and keeps the sums in registers (14 x 32 fill those of AVX-512: 28 sums, 2 of w, 1 of x). No local memory: a CPU has none.
// Tiles are walked in bands of `walk` panels of x, which stay in the outer cache while one panel of w after the other passes
// through the inner one (without: half the rate on 4096^3). Any number of work-groups is correct.
// ROWS: 1 to 16. COLS: a multiple of 16. Bound: k * 2^-24 * sum |x||w|, then one rounding to the storage type.
#include "bitmill.h"
#include "gemm_packed.args.h"

#define VECTORS (COLS / 16)

inline float16 gemm_load16(__global const uint *b, uint type, size_t i)
{
    if (type == BM_F32)
        return vload16(i, (__global const float *)b);
    if (type == BM_F16)
        return vload_half16(i, (__global const half *)b);
    return as_float16(convert_uint16(vload16(i, (__global const ushort *)b)) << 16);
}

BM_KERNEL gemm_packed(BM_PARAMETERS)
{
    BM_BEGIN
    const uint x_panels = (a.m + ROWS - 1) / ROWS, w_panels = (a.n + COLS - 1) / COLS;
    const ulong tiles = (ulong)x_panels * w_panels, band_tiles = (ulong)a.walk * w_panels;
    for (ulong tile = get_global_id(0); tile < tiles; tile += get_global_size(0)) {
        const uint band = (uint)(tile / band_tiles), rest = (uint)(tile % band_tiles);
        const uint height = min(a.walk, x_panels - band * a.walk);
        const uint x_panel = band * a.walk + rest % height, w_panel = rest / height;
        if (a.lower != 0 && (int)(w_panel * COLS) >= a.diagonal + (int)((x_panel + 1) * ROWS))
            continue;
        const size_t x_first = (size_t)x_panel * a.k * ROWS, w_first = (size_t)w_panel * a.k * VECTORS;
        float16 sum[ROWS][VECTORS];
        #pragma unroll
        for (uint r = 0; r < ROWS; r++)
            #pragma unroll
            for (uint v = 0; v < VECTORS; v++)
                sum[r][v] = 0.0f;
        for (uint l = 0; l < a.k; l++) {
            float16 b[VECTORS];
            #pragma unroll
            for (uint v = 0; v < VECTORS; v++)
                b[v] = gemm_load16(w, w_type, w_first + (size_t)l * VECTORS + v);
            #pragma unroll
            for (uint r = 0; r < ROWS; r++) {
                const float16 u = (float16)(x[x_first + (size_t)l * ROWS + r]);
                #pragma unroll
                for (uint v = 0; v < VECTORS; v++)
                    sum[r][v] = fma(u, b[v], sum[r][v]);
            }
        }
        #pragma unroll
        for (uint r = 0; r < ROWS; r++) {
            const uint row = x_panel * ROWS + r;
            if (row < a.m) {
                #pragma unroll
                for (uint v = 0; v < VECTORS; v++) {
                    const uint first = w_panel * COLS + v * 16;
                    if (y_type == BM_F32 && first + 16 <= a.n && a.has_bias == 0) { // one wide store instead of four
                        __global float *to = (__global float *)y + (size_t)row * a.y_stride + first;
                        vstore16((a.adds != 0 ? vload16(0, to) : (float16)(0.0f)) + sum[r][v] * a.factor, 0, to);
                        continue;
                    }
                    const float4 s[4] = {sum[r][v].s0123, sum[r][v].s4567, sum[r][v].s89ab, sum[r][v].scdef};
                    #pragma unroll
                    for (uint q = 0; q < 4; q++) {
                        const uint quad = w_panel * (COLS / 4) + v * 4 + q;
                        if (4 * quad < a.n) {
                            const size_t at = (size_t)row * (a.y_stride / 4) + quad;
                            float4 base = a.adds != 0 ? bm_load4(y, y_type, at) : (float4)(0.0f);
                            if (a.has_bias != 0)
                                base += bm_load4(bias, bias_type, quad);
                            bm_store4(y, y_type, at, base + s[q] * a.factor);
                        }
                    }
                }
            }
        }
    }
}
