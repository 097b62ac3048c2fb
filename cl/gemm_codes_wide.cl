// gemm_codes, variant _wide: y[i, j] = sum over l of x[i, l] * w[j, l], plus bias[j], for few rows, with weights as packed codes, for
// CPU devices. No twin: Vulkan's drivers for CPUs make vectors of work-items themselves, so that lanes inside one would be scalars there.
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
// A work-item takes 32 rows of w, all rows of x up to ROWS, and walks the columns by 16 words of each row: lane l of a vector owns the
// codes of word l, whose fields are taken one after the other. So x is laid out once for 32 rows: element i of lane l is the one that
// field i of word l meets. A code becomes a float by the bits of 2^23 + field.
// GROUP: any, 1 is best. ROWS: 1 to 8; m may be larger. BITS: 2, 4 or 8. Bound: (k + 3) * 2^-24 * sum |x||w|, then one rounding to the
// storage type.
#include "bitmill.h"
#include "gemm_codes.args.h"

#define FIELDS (32 / BITS)    // of a word
#define COLUMNS (16 * FIELDS) // of 16 words
#define OUTPUTS 32            // rows of w

// The sixteen words of a row from word first on; zeros behind its last.
inline uint16 codes_load(__global const uint *row, uint first, uint count)
{
    if (first + 16 <= count)
        return vload16(0, row + first);
    uint some[16];
    for (uint l = 0; l < 16; l++)
        some[l] = first + l < count ? row[first + l] : 0;
    return vload16(0, some);
}

BM_KERNEL gemm_codes_wide(BM_PARAMETERS)
{
    BM_BEGIN
    const uint n_blocks = (a.n + OUTPUTS - 1) / OUTPUTS, m_blocks = (a.m + ROWS - 1) / ROWS;
    const uint num_words = (a.k + FIELDS - 1) / FIELDS, quads = (a.k + 3) / 4;
    const bool is_even = a.group_size % COLUMNS == 0 || a.group_size >= a.k; // 16 words have one step
    for (uint work = (uint)get_global_id(0); work < m_blocks * n_blocks; work += (uint)get_global_size(0)) {
        const uint first_m = work / n_blocks * ROWS, first_n = work % n_blocks * OUTPUTS;
        float16 sum[OUTPUTS][ROWS], lanes[ROWS][FIELDS];
        for (uint j = 0; j < OUTPUTS; j++)
            for (uint r = 0; r < ROWS; r++)
                sum[j][r] = 0.0f;
        for (uint first = 0; first < num_words; first += 16) {
            const uint column = first * FIELDS;
            for (uint r = 0; r < ROWS; r++) {
                const size_t start = (size_t)min(first_m + r, a.m - 1) * (a.x_stride / 4);
                float *out = (float *)lanes[r];
                for (uint c = 0; c < COLUMNS; c += 4) {
                    const uint q = (column + c) / 4;
                    const float4 u = q < quads ? bm_mask4(bm_load4(x, x_type, start + min(q, quads - 1)), q, a.k, 0.0f) : (float4)(0.0f);
                    float *to = out + c % FIELDS * 16 + c / FIELDS;
                    to[0] = u.x;
                    to[16] = u.y;
                    to[32] = u.z;
                    to[48] = u.w;
                }
            }
            for (uint j = 0; j < OUTPUTS; j++) {
                const size_t row = min(first_n + j, a.n - 1);
                const uint16 codes = codes_load(words + row * a.word_stride, first, num_words);
                __global const float *steps = step + row * a.step_stride;
                __global const int *zeros = zero_point + row * a.step_stride;
                float16 scale, zero = 8388608.0f + (float)(1 << (BITS - 1));
                if (is_even) {
                    scale = steps[column / a.group_size];
                    if (a.has_zero_point != 0)
                        zero += (float)zeros[column / a.group_size];
                } else {
                    float some[16], others[16];
                    for (uint l = 0; l < 16; l++) {
                        const uint group = min(column + l * FIELDS, a.k - 1) / a.group_size;
                        some[l] = steps[group];
                        others[l] = a.has_zero_point != 0 ? (float)zeros[group] : 0.0f;
                    }
                    scale = vload16(0, some);
                    zero += vload16(0, others);
                }
                float16 dots[ROWS];
                #pragma unroll
                for (uint r = 0; r < ROWS; r++)
                    dots[r] = 0.0f;
                #pragma unroll
                for (uint i = 0; i < FIELDS; i++) {
                    const float16 v = as_float16(((codes >> (i * BITS)) & ((1u << BITS) - 1u)) | 0x4b000000u) - zero;
                    #pragma unroll
                    for (uint r = 0; r < ROWS; r++)
                        dots[r] = fma(v, lanes[r][i], dots[r]);
                }
                #pragma unroll
                for (uint r = 0; r < ROWS; r++)
                    sum[j][r] = fma(scale, dots[r], sum[j][r]);
            }
        }
        for (uint r = 0; r < ROWS && first_m + r < a.m; r++)
            for (uint j = 0; j < OUTPUTS && first_n + j < a.n; j += 4) {
                const size_t at = (size_t)(first_m + r) * (a.y_stride / 4) + (first_n + j) / 4;
                float out[4];
                for (uint c = 0; c < 4; c++) {
                    const float8 half_sum = sum[j + c][r].lo + sum[j + c][r].hi;
                    const float4 four = half_sum.lo + half_sum.hi;
                    out[c] = (four.x + four.y) + (four.z + four.w);
                }
                float4 base = a.adds != 0 ? bm_load4(y, y_type, at) : (float4)(0.0f);
                if (a.has_bias != 0)
                    base += bm_load4(bias, bias_type, (first_n + j) / 4);
                bm_store4(y, y_type, at, base + vload4(0, out));
            }
    }
}
