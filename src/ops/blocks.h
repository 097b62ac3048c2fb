// Elements from blocks of a GGUF file's matrices, which come onto the device as they are stored.
#ifndef BM_OPS_BLOCKS_H
#define BM_OPS_BLOCKS_H

#include "device/tensor.h"

// y = what rows of blocks stand for, by the numbers that the file's format gives types: 2 Q4_0, 3 Q4_1, 6 Q5_0, 7 Q5_1, 8 Q8_0,
// 12 Q4_K, 13 Q5_K, 14 Q6_K. What is not finite, or not in y's type, is reported at the wait with the subject, which lives till then.
//
//   blocks     y's rows of row_bytes each, one behind the other
//   row_bytes  even
//   y          [rows, cols]  real; cols are whole blocks
//
// Errors   BM_E_ARGUMENT a type or shapes that do not go together
bm_status bm_decode_blocks(bm_device *device, bm_view blocks, uint32_t type, uint32_t row_bytes, const bm_tensor *y,
                           const char *subject, bm_error *err);

#endif
