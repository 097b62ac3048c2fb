// Packing and unpacking of codes, one at a time.
// Source: compressed-tensors, pack_quantized.py: pack_to_int32 and unpack_from_int32.
#include "store/packed_codes.h"

#include <assert.h>
#include <string.h>

uint64_t bm_packed_num_words(uint64_t count, uint32_t bits)
{
    assert(bits == 2 || bits == 4 || bits == 8);
    return bm_divide_up(count, 32 / bits);
}

// The lowest bit of the index-th field in its word.
static uint32_t field_shift(uint64_t index, uint32_t bits)
{
    return (uint32_t)(index % (32 / bits)) * bits;
}

static uint32_t encode(int8_t code, uint32_t bits)
{
    const int32_t half = 1 << (bits - 1);
    assert(code >= -half && code < half);
    return (uint32_t)(code + half);
}

static int8_t decode(uint32_t word, uint32_t shift, uint32_t bits)
{
    const uint32_t field = word >> shift & ((1u << bits) - 1);
    return (int8_t)((int32_t)field - (1 << (bits - 1)));
}

void bm_packed_columns_encode(const int8_t *codes, uint64_t rows, uint64_t cols, uint32_t bits, uint32_t *words)
{
    memset(words, 0, (size_t)(bm_packed_num_words(rows, bits) * cols * sizeof *words));
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < cols; c++)
            words[r / (32 / bits) * cols + c] |= encode(codes[r * cols + c], bits) << field_shift(r, bits);
}

void bm_packed_columns_decode(const uint32_t *words, uint64_t rows, uint64_t cols, uint32_t bits, int8_t *codes)
{
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < cols; c++)
            codes[r * cols + c] = decode(words[r / (32 / bits) * cols + c], field_shift(r, bits), bits);
}
