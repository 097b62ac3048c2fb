// Zero points in 32-bit words, as checkpoint formats store them. (Weights are packed alike by the kernel pack_codes.)
//
// A code q is kept as the field u = q + offset of b bits: with the offset 2^(b-1), -2^(b-1) is zero bits. Fields follow one
// another from the lowest bits up, across the words. For b = 4, the codes -8, -7, .. -1:
//
//     bit  31   28   24   20   16   12    8    4    0
//           | -1 | -2 | -3 | -4 | -5 | -6 | -7 | -8 |     = 0x76543210
//
// Of 3 bits, 32 fields fill three words, and the fields 10 and 21 lie in two. Fields past the last code are zero bits.
#ifndef BM_STORE_PACKED_CODES_H
#define BM_STORE_PACKED_CODES_H

#include "base/base.h"

// Words that hold count codes: ceil(count bits / 32).
uint64_t bm_packed_num_words(uint64_t count, uint32_t bits);

// One run of codes and the words that hold it, both with a stride.
typedef struct bm_packed_run {
    uint64_t count;                    // codes
    uint32_t bits;                     // 2, 3, 4 or 8
    int32_t offset;                    // of the fields
    uint64_t code_stride, word_stride; // elements from one to the next
} bm_packed_run;

// Each code plus offset lies within 0 .. 2^bits - 1; every word is written.
void bm_packed_encode(const bm_packed_run *run, const int32_t *codes, uint32_t *words);
void bm_packed_decode(const bm_packed_run *run, const uint32_t *words, int32_t *codes);

#endif
