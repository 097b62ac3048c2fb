// Blocks of GGUF files that hold the canonical form as it is.
#ifndef BM_STORE_GGUF_H
#define BM_STORE_GGUF_H

#include "formats/gguf.h"
#include "store/store.h"

// The type whose blocks hold codes of such a grid.
bm_gguf_type bm_store_gguf_type(const bm_grid_params *grid);
// A type of float tensors.
bm_gguf_type bm_store_gguf_float_type(bm_dtype dtype);

// The least weight of a group of asymmetric codes, before its one rounding to float16.
float bm_store_gguf_least(uint32_t bits, float step, int32_t zero_point);

// A file whose linears of these types are to be read as codes. checkpoint is a GGUF file, and outlives *out; there is nothing to
// close.
void bm_store_open_gguf(bm_store_config *out, bm_checkpoint *checkpoint);
// Of the format's row. Errors: BM_E_UNSUPPORTED for a least weight that is no whole number of steps.
bm_status bm_store_gguf_get_grid(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                                 uint64_t count, float *steps, int32_t *zero_points, bm_error *err);
bm_status bm_store_gguf_get(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                            bm_store_rows *rows, bm_error *err);

// Rounds count floats, whole blocks, to blocks of Q8_0. Source: ggml's quantize_row_q8_0; the codes here are of the step as it
// is stored, which is at least as near. Errors: BM_E_NUMERIC, without a name, for a step that float16 does not hold.
bm_status bm_store_gguf_round(const float *values, uint64_t count, uint8_t *blocks, bm_error *err);

#endif
