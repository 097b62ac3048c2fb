// Zero points in 32-bit words, as compressed-tensors' pack-quantized format stores them. (Weights are packed alike by
// the kernel pack_codes.)
//
// A signed code q of b bits is kept as the field u = q + 2^(b-1), so -2^(b-1) is zero bits. A word holds 32 / b fields,
// the first in the lowest bits. For b = 4, the codes -8, -7, .. -1:
//
//     bit  31   28   24   20   16   12    8    4    0
//           | -1 | -2 | -3 | -4 | -5 | -6 | -7 | -8 |     = 0x76543210
//
// Weights are packed along a row (their inputs), zero points along a column (the outputs). Fields past the last code
// are zero bits. bits is 2, 4 or 8: others straddle words and are not built.
#ifndef BM_STORE_PACKED_CODES_H
#define BM_STORE_PACKED_CODES_H

#include "base/base.h"

// Words that hold count codes: ceil(count / (32 / bits)).
uint64_t bm_packed_num_words(uint64_t count, uint32_t bits);

//   codes  [rows, cols]                      each within -2^(bits-1) .. 2^(bits-1)-1
//   words  [bm_packed_num_words(rows), cols] every one written
void bm_packed_columns_encode(const int8_t *codes, uint64_t rows, uint64_t cols, uint32_t bits, uint32_t *words);
void bm_packed_columns_decode(const uint32_t *words, uint64_t rows, uint64_t cols, uint32_t bits, int8_t *codes);

#endif
