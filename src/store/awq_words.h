// Words of AWQ's checkpoints: eight outputs of 4 bits each, the even ones first.
//
//     bit  31   28   24   20   16   12    8    4    0
//           |  7 |  5 |  3 |  1 |  6 |  4 |  2 |  0 |     outputs; fields 0, 1, .. 7 are 0x75316420
#ifndef BM_STORE_AWQ_WORDS_H
#define BM_STORE_AWQ_WORDS_H

#include "base/base.h"

#define BM_AWQ_OUTPUTS 8 // of a word
#define BM_AWQ_HALF 8    // what a field is above the code, or the zero point, that it stands for

// fields are those of outputs 0 .. 7, each 0 .. 15.
uint32_t bm_awq_encode(const uint32_t fields[BM_AWQ_OUTPUTS]);
void bm_awq_decode(uint32_t word, uint32_t fields[BM_AWQ_OUTPUTS]);

#endif
