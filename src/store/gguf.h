// Blocks of GGUF files that hold the canonical form as it is.
#ifndef BM_STORE_GGUF_H
#define BM_STORE_GGUF_H

#include "formats/gguf.h"
#include "store/store.h"

// The type whose blocks hold codes of such a grid.
bm_gguf_type bm_store_gguf_type(const bm_grid_params *grid);
// A type of float tensors.
bm_gguf_type bm_store_gguf_float_type(bm_dtype dtype);

#endif
