// Tensors in which a linear lies turned, outputs along their rows: some rows of the linear are a range of columns of each, read and
// written a piece of a row at a time.
#ifndef BM_STORE_TURNED_H
#define BM_STORE_TURNED_H

#include "store/store.h"

// The same piece of every row of a tensor, in memory one behind the other.
typedef struct bm_turned {
    uint64_t num_rows;                // of the tensor
    uint64_t row_bytes;               // of a whole row
    uint64_t first_byte, piece_bytes; // of the piece in it
} bm_turned;

bm_status bm_turned_put(bm_checkpoint_writer *writer, const bm_store_linear *linear, const char *suffix,
                        const bm_turned *at, const void *pieces, bm_error *err);

// Scales [groups, out_features] of outputs first .. first + count - 1, in memory [count, groups].
//   put   as float16: steps hold such values already, and the conversion is exact
//   get   of any float type, checked to be finite
bm_status bm_turned_put_scales(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                               uint64_t count, uint64_t groups, const float *steps, bm_error *err);
bm_status bm_turned_get_scales(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, uint64_t count,
                               uint64_t groups, float *steps, bm_error *err);

#endif
