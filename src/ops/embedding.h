// Rows of an embedding matrix by token ids.
#ifndef BM_OPS_EMBEDDING_H
#define BM_OPS_EMBEDDING_H

#include "device/tensor.h"

// y[t, :] = row ids[t] of the vocabulary, for the ids whose rows table holds; other rows of y are left alone. So a large
// matrix comes in parts, one call each. An id at or above vocabulary is reported at the wait with its token's position.
//
//   ids         [y->rows] u32
//   table       [n, cols]       real: rows first_row .. first_row + n - 1 of the vocabulary
//   vocabulary  rows of the whole matrix
//   y           [tokens, cols]  real
//
// Errors   BM_E_ARGUMENT shapes disagree; table reaches beyond vocabulary; a table of 2^31 elements or more.
bm_status bm_embedding(bm_device *device, bm_view ids, const bm_tensor *table, uint32_t first_row, uint32_t vocabulary,
                       const bm_tensor *y, bm_error *err);

#endif
