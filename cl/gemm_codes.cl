// gemm_codes: y[i, j] = sum over l of x[i, l] * w[j, l], plus bias[j], for few rows, with weights as packed codes.   Twin: shaders/gemm_codes.comp
//
//   x           [m, k]                    real
//   words       [n, ceil(k BITS / 32)]    uint32: codes of W as pack_codes packs them, row after row
//   step        [n, groups]               float32
//   zero_point  [n, groups]               int32, of the same stride; absent: all 0
//   bias        [1, n]                    real; read where has_bias is 1
//   y           [m, n]                    real; apart from x and bias
//
// w[j, l] = (field of words - 2^(BITS - 1) - zero_point[j, g]) step[j, g], g = l / group_size; group_size is a multiple of 16, or k.
// y = bias + x w^T, with adds 1 y += that.
// Generation has one row of x a sequence: reading w is all the work, and codes are a quarter of 16-bit weights. A work-group takes four
// rows of w and ROWS rows of x; its work-items share the columns, 16 at a time, and add up at the end. A code becomes a float by the
// bits of 2^23 + field. Groups walk the outputs, so any number of them is correct.
// GROUP: a power of two. ROWS: 1 to 8; m may be larger (w is then read once more for each ROWS rows). BITS: 2, 4 or 8.
// Local memory: GROUP * 16 bytes. Bound: (k + 3) * 2^-24 * sum |x||w|, then one rounding to the storage type.
#include "bitmill.h"
#include "gemm_codes.args.h"

#define WORDS (BITS / 2) // of 16 codes
#if WORDS == 1
#define LOAD_WORDS(row, q, out) ((out)[0] = words[(row) * a.word_stride + (q)])
#elif WORDS == 2
#define LOAD_WORDS(row, q, out) vstore2(vload2((row) * (a.word_stride / 2) + (q), words), 0, out)
#else
#define LOAD_WORDS(row, q, out) vstore4(vload4((row) * (a.word_stride / 4) + (q), words), 0, out)
#endif
#define FIELD(word, i) as_float((((word) >> ((i) * BITS % 32)) & ((1u << BITS) - 1u)) | 0x4b000000u)

BM_MANY_REGISTERS BM_KERNEL gemm_codes(BM_PARAMETERS)
{
    BM_BEGIN
    __local float4 part[GROUP];
    const uint lane = get_local_id(0), chunks = (a.k + 15) / 16, quads = (a.k + 3) / 4, n_quads = (a.n + 3) / 4;
    const uint blocks = (a.m + ROWS - 1) / ROWS;
    for (uint tile = get_group_id(0); tile < blocks * n_quads; tile += get_num_groups(0)) { // same tile for the group
        const uint first_m = tile / n_quads * ROWS, quad = tile % n_quads;
        float4 sum[ROWS];
        #pragma unroll
        for (uint r = 0; r < ROWS; r++)
            sum[r] = (float4)(0.0f);
        for (uint q = lane; q < chunks; q += GROUP) {
            uint codes[4][WORDS];
            float steps[4], zeros[4];
            #pragma unroll
            for (uint c = 0; c < 4; c++) {
                const size_t row = min(4 * quad + c, a.n - 1), at = row * a.step_stride + 16 * q / a.group_size;
                LOAD_WORDS(row, q, codes[c]);
                steps[c] = step[at];
                zeros[c] = 8388608.0f + (float)(1 << (BITS - 1)) + (a.has_zero_point != 0 ? (float)zero_point[at] : 0.0f);
            }
            float4 dots[ROWS];
            #pragma unroll
            for (uint r = 0; r < ROWS; r++)
                dots[r] = (float4)(0.0f);
            #pragma unroll
            for (uint i = 0; i < 16; i += 4) {
                float4 v[4]; // columns i .. i + 3 of the four rows
                #pragma unroll
                for (uint l = 0; l < 4; l++)
                    v[l] = (float4)(FIELD(codes[0][(i + l) * BITS / 32], i + l) - zeros[0],
                                    FIELD(codes[1][(i + l) * BITS / 32], i + l) - zeros[1],
                                    FIELD(codes[2][(i + l) * BITS / 32], i + l) - zeros[2],
                                    FIELD(codes[3][(i + l) * BITS / 32], i + l) - zeros[3]);
                #pragma unroll
                for (uint r = 0; r < ROWS; r++) {
                    const size_t start = (size_t)min(first_m + r, a.m - 1) * (a.x_stride / 4);
                    const float4 u = bm_mask4(bm_load4(x, x_type, start + min(4 * q + i / 4, quads - 1)), 4 * q + i / 4, a.k, 0.0f);
                    dots[r] = fma((float4)(u.x), v[0], dots[r]);
                    dots[r] = fma((float4)(u.y), v[1], dots[r]);
                    dots[r] = fma((float4)(u.z), v[2], dots[r]);
                    dots[r] = fma((float4)(u.w), v[3], dots[r]);
                }
            }
            #pragma unroll
            for (uint r = 0; r < ROWS; r++)
                sum[r] = fma((float4)(steps[0], steps[1], steps[2], steps[3]), dots[r], sum[r]);
        }
        #pragma unroll
        for (uint r = 0; r < ROWS; r++) {
            part[lane] = sum[r];
            barrier(CLK_LOCAL_MEM_FENCE);
            for (uint s = GROUP / 2; s > 0; s /= 2) {
                if (lane < s)
                    part[lane] += part[lane + s];
                barrier(CLK_LOCAL_MEM_FENCE);
            }
            if (lane == 0 && first_m + r < a.m) {
                const size_t at = (size_t)(first_m + r) * (a.y_stride / 4) + quad;
                float4 base = a.adds != 0 ? bm_load4(y, y_type, at) : (float4)(0.0f);
                if (a.has_bias != 0)
                    base += bm_load4(bias, bias_type, quad);
                bm_store4(y, y_type, at, base + part[0]);
            }
            barrier(CLK_LOCAL_MEM_FENCE); // part is reused by the next row
        }
    }
}
