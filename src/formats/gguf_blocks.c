// One function a type: a block's bytes become its elements.
#include "formats/gguf_blocks.h"

#include "base/half.h"

#include <string.h>

static float load_f16(const uint8_t *bytes)
{
    return bm_f16_to_f32(bm_load_le16(bytes));
}

static void decode_f32(const uint8_t *block, float *out)
{
    out[0] = bm_load_real(block, BM_DTYPE_F32, 0);
}

static void decode_f16(const uint8_t *block, float *out)
{
    out[0] = load_f16(block);
}

static void decode_bf16(const uint8_t *block, float *out)
{
    out[0] = bm_bf16_to_f32(bm_load_le16(block));
}

// Of 32 elements, low nibbles are the first 16 and high nibbles the last.
static void decode_q4_0(const uint8_t *block, float *out)
{
    const float step = load_f16(block);
    const uint8_t *codes = block + 2;
    for (int i = 0; i < 16; i++) {
        out[i] = (float)((codes[i] & 15) - 8) * step;
        out[i + 16] = (float)((codes[i] >> 4) - 8) * step;
    }
}

static void decode_q4_1(const uint8_t *block, float *out)
{
    const float step = load_f16(block), least = load_f16(block + 2);
    const uint8_t *codes = block + 4;
    for (int i = 0; i < 16; i++) {
        out[i] = (float)(codes[i] & 15) * step + least;
        out[i + 16] = (float)(codes[i] >> 4) * step + least;
    }
}

// The fifth bit of element i is bit i of a word.
static int five_bits(uint32_t nibble, uint32_t high, int i)
{
    return (int)(nibble | (high >> i & 1) << 4);
}

static void decode_q5_0(const uint8_t *block, float *out)
{
    const float step = load_f16(block);
    const uint32_t high = bm_load_le32(block + 2);
    const uint8_t *codes = block + 6;
    for (int i = 0; i < 16; i++) {
        out[i] = (float)(five_bits(codes[i] & 15, high, i) - 16) * step;
        out[i + 16] = (float)(five_bits(codes[i] >> 4, high, i + 16) - 16) * step;
    }
}

static void decode_q5_1(const uint8_t *block, float *out)
{
    const float step = load_f16(block), least = load_f16(block + 2);
    const uint32_t high = bm_load_le32(block + 4);
    const uint8_t *codes = block + 8;
    for (int i = 0; i < 16; i++) {
        out[i] = (float)five_bits(codes[i] & 15, high, i) * step + least;
        out[i + 16] = (float)five_bits(codes[i] >> 4, high, i + 16) * step + least;
    }
}

static void decode_q8_0(const uint8_t *block, float *out)
{
    const float step = load_f16(block);
    for (int i = 0; i < 32; i++)
        out[i] = (float)(int8_t)block[2 + i] * step;
}

// Six bits each of a scale and of a minimum, of 8 parts, in 12 bytes: of parts 0 to 3 they are the low bits of bytes 0 to 7;
// of parts 4 to 7 a nibble of bytes 8 to 11 and the two bits that the former leave.
static void load_scale_and_min(const uint8_t *packed, int part, int *scale, int *min)
{
    if (part < 4) {
        *scale = packed[part] & 63;
        *min = packed[part + 4] & 63;
    } else {
        *scale = (packed[part + 4] & 15) | (packed[part - 4] >> 6) << 4;
        *min = (packed[part + 4] >> 4) | (packed[part] >> 6) << 4;
    }
}

// A super-block of 256: 8 parts of 32. Two parts share 32 bytes, the first has the low nibbles.
static void decode_q4_k(const uint8_t *block, float *out)
{
    const float step = load_f16(block), least = load_f16(block + 2);
    for (int part = 0; part < 8; part++) {
        const uint8_t *codes = block + 16 + part / 2 * 32;
        int scale, min;
        load_scale_and_min(block + 4, part, &scale, &min);
        const float part_step = step * (float)scale, part_least = least * (float)min;
        for (int i = 0; i < 32; i++)
            out[32 * part + i] = part_step * (float)(codes[i] >> part % 2 * 4 & 15) - part_least;
    }
}

// The same with the fifth bits of codes in front: bit n of byte i is that of element i of part n.
static void decode_q5_k(const uint8_t *block, float *out)
{
    const float step = load_f16(block), least = load_f16(block + 2);
    const uint8_t *high = block + 16;
    for (int part = 0; part < 8; part++) {
        const uint8_t *codes = block + 48 + part / 2 * 32;
        int scale, min;
        load_scale_and_min(block + 4, part, &scale, &min);
        const float part_step = step * (float)scale, part_least = least * (float)min;
        for (int i = 0; i < 32; i++) {
            const int code = (codes[i] >> part % 2 * 4 & 15) | (high[i] >> part & 1) << 4;
            out[32 * part + i] = part_step * (float)code - part_least;
        }
    }
}

// A super-block of 256: two halves of 128, in each four quarters of 32 whose low four bits lie in 64 bytes (quarters 0 and 1
// in low nibbles, 2 and 3 in high ones) and whose high two bits in 32 bytes. A scale of 8 bits for 16 elements.
static void decode_q6_k(const uint8_t *block, float *out)
{
    const uint8_t *low = block, *high = block + 128, *scales = block + 192;
    const float step = load_f16(block + 208);
    for (int half = 0; half < 2; half++)
        for (int quarter = 0; quarter < 4; quarter++)
            for (int i = 0; i < 32; i++) {
                const int nibble = low[64 * half + quarter % 2 * 32 + i] >> quarter / 2 * 4 & 15;
                const int code = nibble | (high[32 * half + i] >> 2 * quarter & 3) << 4;
                const int8_t scale = (int8_t)scales[8 * half + 2 * quarter + i / 16];
                out[128 * half + 32 * quarter + i] = step * (float)scale * (float)(code - 32);
            }
}

void bm_gguf_decode(uint32_t type, const uint8_t *blocks, uint64_t count, float *out)
{
    static void (*const decoders[])(const uint8_t *, float *) = {
        [BM_GGUF_F32] = decode_f32,   [BM_GGUF_F16] = decode_f16,   [BM_GGUF_Q4_0] = decode_q4_0,
        [BM_GGUF_Q4_1] = decode_q4_1, [BM_GGUF_Q5_0] = decode_q5_0, [BM_GGUF_Q5_1] = decode_q5_1,
        [BM_GGUF_Q8_0] = decode_q8_0, [BM_GGUF_Q4_K] = decode_q4_k, [BM_GGUF_Q5_K] = decode_q5_k,
        [BM_GGUF_Q6_K] = decode_q6_k, [BM_GGUF_BF16] = decode_bf16,
    };
    const bm_gguf_layout *layout = bm_gguf_layout_of(type);
    for (uint64_t i = 0; i < count; i += layout->block_elements, blocks += layout->block_bytes)
        decoders[type](blocks, out + i);
}
