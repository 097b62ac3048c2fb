// decode_blocks: y[r, c] = what the blocks of GGUF files stand for; NaN and infinity are reported.   Twin: shaders/decode_blocks.comp
//
//   blocks  rows of row_bytes, from first_byte on, as a file has them; read as uint32
//   y       [rows, cols]  real; of float16 rounded half to even
//
// TYPE is the file's: 2 Q4_0, 3 Q4_1, 6 Q5_0, 7 Q5_1, 8 Q8_0, 12 Q4_K, 13 Q5_K, 14 Q6_K. cols are whole blocks, and bytes of blocks even
// numbers. A work-item makes WIDTH elements, 4 or 16: their codes are neighbouring bytes, or halves of such, and their scale is
// one. Any number of work-groups is correct.
#include "bitmill.h"
#include "decode_blocks.args.h"

#define HAS_FIFTH (TYPE == 6 || TYPE == 7)
#define HAS_PARTS (TYPE == 12 || TYPE == 13)
#define HAS_LEAST (TYPE == 3 || TYPE == 7 || TYPE == 12 || TYPE == 13)

inline uint byte_at(__global const uint *b, uint at) { return b[at >> 2] >> (at & 3u) * 8u & 255u; }

inline float half_at(__global const uint *b, uint at) { return bm_f16_value(b[at >> 2] >> (at & 2u) * 8u & 0xffffu); }

// Four bytes from an even one on.
inline uint word_at(__global const uint *b, uint at)
{
    const uint low = b[at >> 2];
    return (at & 2u) == 0u ? low : low >> 16 | b[(at >> 2) + 1u] << 16;
}

// Bit k of bits becomes the fifth of byte k.
inline uint fifth_bits(uint bits) { return (bits & 1u) << 4 | (bits & 2u) << 11 | (bits & 4u) << 18 | (bits & 8u) << 25; }

BM_KERNEL decode_blocks(BM_PARAMETERS)
{
    BM_BEGIN
    const uint runs = a.cols / WIDTH, size = TYPE > 8 ? 256u : 32u;
    const uint bytes = a.row_bytes / (a.cols / size);
    const uint count = a.rows * runs;
    for (uint i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = i / runs, first = (i % runs) * WIDTH, j = first % size;
        const uint at = a.first_byte + r * a.row_bytes + first / size * bytes;
        uint codes_at = 0, shift = 0, high_at = 0, high_shift = 0;
        int zero = 0;
        float step = 0.0f, least = 0.0f;
        if (TYPE == 8) {
            step = half_at(blocks, at);
            codes_at = at + 2 + j;
            zero = 128;
        } else if (HAS_PARTS) { // two of 32 share 32 bytes, all a bit each of 32 more; six bits each of a part's scale and minimum
            const uint part = j / 32, s = at + 4;
            uint scale, minimum;
            if (part < 4) {
                scale = byte_at(blocks, s + part) & 63u;
                minimum = byte_at(blocks, s + part + 4) & 63u;
            } else {
                scale = (byte_at(blocks, s + part + 4) & 15u) | byte_at(blocks, s + part - 4) >> 6 << 4;
                minimum = byte_at(blocks, s + part + 4) >> 4 | byte_at(blocks, s + part) >> 6 << 4;
            }
            step = half_at(blocks, at) * (float)scale;
            least = -(half_at(blocks, at + 2) * (float)minimum);
            high_at = at + 16 + j % 32;
            high_shift = part;
            codes_at = at + (TYPE == 13 ? 48u : 16u) + part / 2 * 32 + j % 32;
            shift = part % 2 * 4;
        } else if (TYPE == 14) { // halves of 128, in each four quarters
            const uint half_block = j / 128, quarter = j % 128 / 32, k = j % 32;
            const int scale = (int)(byte_at(blocks, at + 192 + 8 * half_block + 2 * quarter + k / 16) << 24) >> 24;
            step = half_at(blocks, at + 208) * (float)scale;
            codes_at = at + 64 * half_block + quarter % 2 * 32 + k;
            shift = quarter / 2 * 4;
            high_at = at + 128 + 32 * half_block + k;
            high_shift = 2 * quarter;
            zero = 32;
        } else {
            high_at = at + (HAS_LEAST ? 4u : 2u);
            step = half_at(blocks, at);
            least = HAS_LEAST ? half_at(blocks, at + 2) : 0.0f;
            zero = HAS_LEAST ? 0 : HAS_FIFTH ? 16 : 8;
            codes_at = high_at + (HAS_FIFTH ? 4u : 0u) + j % 16;
            shift = j / 16 * 4;
        }
        for (uint k = 0; k < WIDTH; k += 4) {
            uint codes = word_at(blocks, codes_at + k);
            if (TYPE == 8)
                codes ^= 0x80808080u;
            else
                codes = codes >> shift & 0x0f0f0f0fu;
            if (TYPE == 14)
                codes |= (word_at(blocks, high_at + k) >> high_shift & 0x03030303u) << 4;
            else if (TYPE == 13)
                codes |= (word_at(blocks, high_at + k) >> high_shift & 0x01010101u) << 4;
            else if (HAS_FIFTH)
                codes |= fifth_bits(word_at(blocks, high_at) >> (j + k));
            const float4 c = (float4)((float)((int)(codes & 255u) - zero), (float)((int)(codes >> 8 & 255u) - zero),
                                      (float)((int)(codes >> 16 & 255u) - zero), (float)((int)(codes >> 24) - zero));
            float4 v = c * step;
            if (HAS_LEAST)
                v = v + least;
            const bool fits = y_type != BM_F16 || all(fabs(v) < 65520.0f);
            if (!(bm_is_finite(v.x) && bm_is_finite(v.y) && bm_is_finite(v.z) && bm_is_finite(v.w) && fits))
                bm_report(BM_REPORT_NOT_FINITE, r * a.cols + first + k);
            bm_store4(y, y_type, (ulong)r * (a.y_stride / 4) + (first + k) / 4, v);
        }
    }
}
