// What generation keeps on the device: blocks (all of them where they fit), embedding and head.
#ifndef BM_INFER_RESIDENT_H
#define BM_INFER_RESIDENT_H

#include "model/block.h"

typedef struct bm_resident {
    const bm_model *model;
    bm_device *device;
    bm_dtype dtype;
    bm_block *blocks;     // [num_hidden_layers]; NULL: they do not fit, each is loaded when it is used
    bm_tensor *embedding; // parts of the embedding matrix by rows
    uint32_t num_embedding_parts;
    uint64_t embedding_rows_per_part;
    bm_weights *head;           // [vocab_size, hidden_size]
    bm_norm embedding_norm;     // empty where the family has none
    bm_tensor embedding_factor; // likewise (model.h)
    bm_norm final_norm;
} bm_resident;

// Reports "load the model", block by block, to progress, which may be NULL. Errors: those of loading; BM_E_CANCELLED.
bm_status bm_resident_create(const bm_model *model, bm_device *device, bm_dtype dtype, const bm_progress *progress,
                             bm_resident **out, bm_error *err);
void bm_resident_destroy(bm_resident **resident);
// hidden [tokens, hidden_size] float32 = rows of the embedding, through its norm where there is one.
bm_status bm_resident_embed(bm_resident *resident, const bm_batch *batch, const bm_tensor *hidden, bm_error *err);

#endif
