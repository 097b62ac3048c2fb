// gemm_int8_packed: y[i, j] = (sum over l of x[i, l] * w[j, l]) * step of row i * step of feature j, plus bias[j], on panels,
// for CPU devices.   Twin: shaders/gemm_int8_packed.comp
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
// ROWS: 1 to 16. COLS: a multiple of 16.
#include "int8.h"
#include "gemm_int8_packed.args.h"

#define VECTORS (COLS / 16)
#define EXACT_COLUMNS 1024

BM_KERNEL gemm_int8_packed(BM_PARAMETERS)
{
    BM_BEGIN
    const uint x_panels = (a.m + ROWS - 1) / ROWS, w_panels = (a.n + COLS - 1) / COLS;
    const ulong tiles = (ulong)x_panels * w_panels, band_tiles = (ulong)a.walk * w_panels;
    for (ulong tile = get_global_id(0); tile < tiles; tile += get_global_size(0)) {
        const uint band = (uint)(tile / band_tiles), rest = (uint)(tile % band_tiles);
        const uint height = min(a.walk, x_panels - band * a.walk);
        const uint x_panel = band * a.walk + rest % height, w_panel = rest / height;
        const size_t x_first = (size_t)x_panel * a.k * ROWS, w_first = (size_t)w_panel * a.k * VECTORS;
        int16 total[ROWS][VECTORS];
        for (uint first = 0; first < a.k; first += EXACT_COLUMNS) {
            const uint end = min(first + EXACT_COLUMNS, a.k);
            float16 sum[ROWS][VECTORS];
            #pragma unroll
            for (uint r = 0; r < ROWS; r++)
                #pragma unroll
                for (uint v = 0; v < VECTORS; v++)
                    sum[r][v] = 0.0f;
            for (uint l = first; l < end; l++) {
                float16 b[VECTORS];
                #pragma unroll
                for (uint v = 0; v < VECTORS; v++)
                    b[v] = vload16(w_first + (size_t)l * VECTORS + v, w);
                #pragma unroll
                for (uint r = 0; r < ROWS; r++) {
                    const float16 u = (float16)(x[x_first + (size_t)l * ROWS + r]);
                    #pragma unroll
                    for (uint v = 0; v < VECTORS; v++)
                        sum[r][v] = fma(u, b[v], sum[r][v]);
                }
            }
            #pragma unroll
            for (uint r = 0; r < ROWS; r++)
                #pragma unroll
                for (uint v = 0; v < VECTORS; v++)
                    total[r][v] = first == 0 ? convert_int16(sum[r][v]) : total[r][v] + convert_int16(sum[r][v]);
        }
        #pragma unroll
        for (uint r = 0; r < ROWS; r++) {
            const uint row = x_panel * ROWS + r;
            if (row < a.m) {
                #pragma unroll
                for (uint v = 0; v < VECTORS; v++) {
                    const int4 s[4] = {total[r][v].s0123, total[r][v].s4567, total[r][v].s89ab, total[r][v].scdef};
                    float errors[4];
                    #pragma unroll
                    for (uint q = 0; q < 4; q++) {
                        const uint quad = w_panel * (COLS / 4) + v * 4 + q;
                        errors[q] = 0.0f;
                        if (4 * quad < a.n) {
                            const size_t at = (size_t)row * (a.y_stride / 4) + quad;
                            const float4 base = a.has_bias != 0 ? bm_load4(bias, bias_type, quad) : (float4)(0.0f);
                            const float4 out = bm_int8_outputs(s[q], x_rows[4 * (size_t)row], bm_load_steps(w_step, quad, a.n), base);
                            if (a.compares != 0)
                                errors[q] = bm_error4(bm_load4(y, y_type, at), out, quad, a.n);
                            else
                                bm_store4(y, y_type, at, out);
                        }
                    }
                    const uint block = w_panel * VECTORS + v;
                    if (a.compares != 0 && BM_LOSS_COLS * block < a.n)
                        loss[(size_t)row * a.loss_stride + block] = (errors[0] + errors[1]) + (errors[2] + errors[3]);
                }
            }
        }
    }
}
