// Blocks of GGUF files that hold the canonical form as it is.
#ifndef BM_STORE_GGUF_H
#define BM_STORE_GGUF_H

#include "formats/gguf.h"
#include "store/store.h"

// The type whose blocks hold codes of such a grid.
bm_gguf_type bm_store_gguf_type(const bm_grid_params *grid);
// A type of float tensors.
bm_gguf_type bm_store_gguf_float_type(bm_dtype dtype);

// Rounds count floats, whole blocks, to blocks of Q8_0. Source: ggml's quantize_row_q8_0; the codes here are of the step as it
// is stored, which is at least as near. Errors: BM_E_NUMERIC, without a name, for a step that float16 does not hold.
bm_status bm_store_gguf_round(const float *values, uint64_t count, uint8_t *blocks, bm_error *err);

#endif
