// The blocks of GGUF's types, decoded: the readable definition, by which everything faster is judged.
// Source: ggml's reference of each type; tests/golden holds bytes and values that its own program made.
#ifndef BM_FORMATS_GGUF_BLOCKS_H
#define BM_FORMATS_GGUF_BLOCKS_H

#include "formats/gguf.h"

// count elements from whole blocks of a type that is read (bm_gguf_layout); count is a multiple of its block.
void bm_gguf_decode(uint32_t type, const uint8_t *blocks, uint64_t count, float *out);

#endif
