// Tensors of a GGUF file as those of a checkpoint: under other names, with rows in another order, and decoded. F32, F16 and
// BF16 stay what they are; blocks of codes become F16.
#ifndef BM_FORMATS_GGUF_VIEW_H
#define BM_FORMATS_GGUF_VIEW_H

#include "formats/gguf.h"
#include "formats/safetensors.h"

#define BM_GGUF_VIEW_NAME_SIZE 96
typedef struct bm_gguf_view {
    const bm_gguf_tensor *tensor;
    char name[BM_GGUF_VIEW_NAME_SIZE];
    // Above 0: the rows are those of so many heads, and of each head rows 2 i and 2 i + 1 of the file are rows i and
    // i + half of the view: pairs that are rotated together. Divides the rows, into an even number.
    uint32_t num_paired_heads;
} bm_gguf_view;

// Type, shape (row-major) and place of what the view shows; the name is a copy. Errors: BM_E_UNSUPPORTED for a type that is
// not read, BM_E_MEMORY.
bm_status bm_gguf_view_describe(const bm_gguf_view *view, bm_tensor_info *out, bm_error *err);

// Reads count elements from element first on, both within the view. May be called by several threads. Errors: BM_E_IO.
bm_status bm_gguf_view_read(const bm_gguf *gguf, const bm_gguf_view *view, uint64_t first, uint64_t count, void *out,
                            bm_error *err);
// Reads count rows of a matrix from row first on as the file stores them, blocks and all, in the order of the view; a row is
// bm_gguf_view_row_bytes. May be called by several threads. Errors: BM_E_IO.
uint64_t bm_gguf_view_row_bytes(const bm_gguf_view *view);
// Whether it is a matrix whose blocks a device decodes (bm_decode_blocks of ops/blocks.h).
bool bm_gguf_view_has_blocks(const bm_gguf_view *view);
bm_status bm_gguf_view_read_rows(const bm_gguf *gguf, const bm_gguf_view *view, uint64_t first, uint64_t count,
                                 void *out, bm_error *err);

#endif
