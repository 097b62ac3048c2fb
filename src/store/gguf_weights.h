// What a loader makes of a row's codes: the rows of a linear as verification compares them with what it reads back.
#ifndef BM_STORE_GGUF_WEIGHTS_H
#define BM_STORE_GGUF_WEIGHTS_H

#include "store/store.h"

// Weights of row `row` of rows, rounded to float16: out [in_features]. bm_store_format's weights.
void gguf_weights(const bm_store_linear *linear, const bm_store_rows *rows, uint64_t row, uint16_t *out);

#endif
