// Between the files of GGUF's row alone: blocks of 256 inputs, whose steps are nested (ops/nested.h).
#ifndef BM_STORE_GGUF_NESTED_H
#define BM_STORE_GGUF_NESTED_H

#include "store/store.h"

// Block number `super` of rows, all rows' blocks counted, of the type of the linear's grid.
void gguf_put_nested(const bm_store_linear *linear, const bm_store_rows *rows, uint64_t super, uint8_t *block);

#endif
