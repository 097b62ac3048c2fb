// K-quants: a block of 256 inputs has a float16 d for all its steps, and small integers that multiply it.
//
//     Q4_K   d, dmin, 12 bytes, 128 bytes             weight = d s q - dmin m     s, m: 6 bits for 32 inputs
//     Q5_K   d, dmin, 12 bytes, 32 bytes, 128 bytes   the same; a bit of 32 bytes is the fifth of q
//     Q6_K   128 bytes, 64 bytes, 16 bytes, d         weight = d s (q - 32)       s: 8 bits with a sign for 16 inputs
//
// Source: ggml's block_q4_K, block_q5_K, block_q6_K.
#include "store/gguf_nested.h"

#include "base/half.h"

#include <string.h>

// Six bits of each of 8 scales and 8 minimums: of parts 0 to 3 the low ones of bytes 0 to 7; of parts 4 to 7 four in bytes 8 to 11 and
// two in what the former leave.
static void put_scales(const int8_t *scales, const int8_t *minimums, uint8_t out[12])
{
    memset(out, 0, 12);
    for (uint32_t part = 0; part < 4; part++) {
        const uint32_t scale = (uint32_t)scales[part + 4], minimum = (uint32_t)minimums[part + 4];
        out[part] = (uint8_t)((uint32_t)scales[part] | scale >> 4 << 6);
        out[part + 4] = (uint8_t)((uint32_t)minimums[part] | minimum >> 4 << 6);
        out[part + 8] = (uint8_t)((scale & 15) | (minimum & 15) << 4);
    }
}

// Codes are signed; parts 2 k and 2 k + 1, 32 of each, share bytes.
static void put_offset_codes(const int8_t *codes, uint32_t bits, uint8_t *high, uint8_t *low)
{
    const int half = 1 << (bits - 1);
    for (uint32_t i = 0; i < 128; i++) {
        const uint32_t at = i / 32 * 64 + i % 32;
        const uint32_t first = (uint32_t)(codes[at] + half), second = (uint32_t)(codes[at + 32] + half);
        low[i] = (uint8_t)((first & 15) | (second & 15) << 4);
        if (bits == 5)
            high[i % 32] |= (uint8_t)((first >> 4) << (i / 32 * 2) | (second >> 4) << (i / 32 * 2 + 1));
    }
}

// Of 128 codes at a time the low four bits of the first 64 are those of 64 bytes, of the last 64 the high ones; 32 bytes hold two bits
// of each of four codes, 32 apart.
static void put_signed_codes(const int8_t *codes, uint8_t *low, uint8_t *high)
{
    for (uint32_t part = 0; part < 2; part++, codes += 128, low += 64, high += 32)
        for (uint32_t i = 0; i < 64; i++) {
            const uint32_t first = (uint32_t)(codes[i] + 32), second = (uint32_t)(codes[i + 64] + 32);
            low[i] = (uint8_t)((first & 15) | (second & 15) << 4);
            high[i % 32] |= (uint8_t)((first >> 4) << (i / 32 * 2) | (second >> 4) << (i / 32 * 2 + 4));
        }
}

void gguf_put_nested(const bm_store_linear *linear, const bm_store_rows *rows, uint64_t super, uint8_t *block)
{
    const uint32_t groups = BM_NESTED_COLUMNS / linear->grid.group_size;
    const int8_t *codes = rows->bytes + super * BM_NESTED_COLUMNS, *scales = rows->scales + super * groups;
    if (linear->grid.symmetric) {
        memset(block + 128, 0, 64);
        put_signed_codes(codes, block, block + 128);
        memcpy(block + 192, scales, groups);
        bm_store_le16(block + 208, bm_f32_to_f16(rows->units[super]));
        return;
    }
    const uint32_t high = linear->grid.bits == 5 ? 32 : 0;
    bm_store_le16(block, bm_f32_to_f16(rows->units[super]));
    bm_store_le16(block + 2, bm_f32_to_f16(rows->min_units[super]));
    put_scales(scales, rows->minimums + super * groups, block + 4);
    memset(block + 16, 0, high);
    put_offset_codes(codes, linear->grid.bits, block + 16, block + 16 + high);
}
