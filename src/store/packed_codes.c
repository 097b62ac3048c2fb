// Packing and unpacking of codes, one at a time.
// Source: compressed-tensors, pack_quantized.py: pack_to_int32 and unpack_from_int32; GPTQModel, its 3-bit words.
#include "store/packed_codes.h"

#include <assert.h>

uint64_t bm_packed_num_words(uint64_t count, uint32_t bits)
{
    return bm_divide_up(count * bits, 32);
}

void bm_packed_encode(const bm_packed_run *run, const int32_t *codes, uint32_t *words)
{
    const uint32_t bits = run->bits;
    const uint64_t num_words = bm_packed_num_words(run->count, bits);
    for (uint64_t w = 0; w < num_words; w++)
        words[w * run->word_stride] = 0;
    for (uint64_t i = 0; i < run->count; i++) {
        const uint32_t field = (uint32_t)(codes[i * run->code_stride] + run->offset);
        const uint32_t shift = (uint32_t)(i * bits % 32);
        uint32_t *word = &words[i * bits / 32 * run->word_stride];
        assert(field >> bits == 0);
        *word |= field << shift;
        if (shift + bits > 32) // the rest lies in the next word
            word[run->word_stride] |= field >> (32 - shift);
    }
}

void bm_packed_decode(const bm_packed_run *run, const uint32_t *words, int32_t *codes)
{
    const uint32_t bits = run->bits;
    for (uint64_t i = 0; i < run->count; i++) {
        const uint32_t shift = (uint32_t)(i * bits % 32);
        const uint32_t *word = &words[i * bits / 32 * run->word_stride];
        uint32_t field = *word >> shift;
        if (shift + bits > 32)
            field |= word[run->word_stride] << (32 - shift);
        codes[i * run->code_stride] = (int32_t)(field & ((1u << bits) - 1)) - run->offset;
    }
}
