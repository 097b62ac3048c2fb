// decode_blocks: elements from the blocks of GGUF files, in float32 as the file's readers compute them.
#include "base/half.h"
#include "device/host_kernels.h"
#include <math.h>

static float half_at(const uint8_t *bytes)
{
    return bm_f16_to_f32(bm_load_le16(bytes));
}

// Element j of a block of 32: a nibble, and a fifth bit in a word of its own.
static float of_32(uint32_t type, const uint8_t *block, uint32_t j)
{
    const bool has_least = type % 2 == 1, has_fifth = type > 3;
    const uint8_t *high = block + (has_least ? 4 : 2), *low = high + (has_fifth ? 4 : 0);
    const uint32_t fifth = has_fifth ? bm_load_le32(high) >> j & 1 : 0;
    const int32_t code = (int32_t)((low[j % 16] >> j / 16 * 4 & 15u) | fifth << 4);
    const float step = half_at(block);
    return has_least ? (float)code * step + half_at(block + 2) : (float)(code - (has_fifth ? 16 : 8)) * step;
}

// Of eight parts of 32: a nibble, of type 13 with a fifth bit in front of all nibbles.
static float of_part(uint32_t type, const uint8_t *block, uint32_t j)
{
    const uint32_t part = j / 32, fifth = type == 13 ? block[16 + j % 32] >> part & 1u : 0;
    const uint8_t *s = block + 4, *low = block + (type == 13 ? 48 : 16);
    const uint32_t scale = part < 4 ? s[part] & 63u : (s[part + 4] & 15u) | (uint32_t)(s[part - 4] >> 6) << 4;
    const uint32_t least = part < 4 ? s[part + 4] & 63u : (uint32_t)(s[part + 4] >> 4) | (uint32_t)(s[part] >> 6) << 4;
    const float step = half_at(block) * (float)scale, minimum = half_at(block + 2) * (float)least;
    const uint32_t code = (low[part / 2 * 32 + j % 32] >> part % 2 * 4 & 15u) | fifth << 4;
    return (float)code * step - minimum;
}

static float of_q6_k(const uint8_t *block, uint32_t j)
{
    const uint32_t half = j / 128, quarter = j % 128 / 32, k = j % 32;
    const float step = half_at(block + 208) * (float)(int8_t)block[192 + 8 * half + 2 * quarter + k / 16];
    const int32_t low = block[64 * half + quarter % 2 * 32 + k] >> quarter / 2 * 4 & 15;
    return (float)((low | (block[128 + 32 * half + k] >> 2 * quarter & 3) << 4) - 32) * step;
}

static float element_of(uint32_t type, const uint8_t *block, uint32_t j)
{
    return type == 8                  ? (float)(int8_t)block[2 + j] * half_at(block)
           : type == 12 || type == 13 ? of_part(type, block, j)
           : type == 14               ? of_q6_k(block, j)
                                      : of_32(type, block, j);
}

void host_decode_blocks(const host_call *call)
{
    const bm_decode_blocks_scalars *a = call->scalars;
    const uint8_t *blocks = (const uint8_t *)call->buffers[0] + a->first_byte;
    const uint32_t type = call->tunables[1], size = type > 8 ? 256 : 32, bytes = a->row_bytes / (a->cols / size);
    const bool y_is_f16 = call->types[1] == BM_DTYPE_F16;
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->cols; c++) {
            const float v =
                element_of(type, blocks + (uint64_t)r * a->row_bytes + (uint64_t)(c / size) * bytes, c % size);
            if (!isfinite(v) || (y_is_f16 && fabsf(v) >= 65520.0f))
                host_report(call, BM_REPORT_NOT_FINITE, r * a->cols + c / 4 * 4);
            host_store(call->buffers[1], call->types[1], (uint64_t)r * a->y_stride + c, (double)v);
        }
}
