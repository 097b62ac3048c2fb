// Checkpoint formats: how the canonical form of a quantized linear lies in tensors of a file. A format is a row of a table;
// packing is its own business.
#ifndef BM_STORE_STORE_H
#define BM_STORE_STORE_H

#include "formats/checkpoint_writer.h"
#include "quant/codes.h"

// One linear as a format is told of it.
typedef struct bm_store_linear {
    const char *module;                 // "model.layers.0.mlp.down_proj": tensors are named behind it
    uint64_t out_features, in_features; // rows and columns
    bm_grid_params grid;                // bits, group_size (in_features: one step a row), symmetric, scale_dtype
} bm_store_linear;

typedef struct bm_store_format {
    const char *name;  // of key "format"
    const char *words; // for people
    // Declares the tensors of a linear.
    bm_status (*declare)(bm_checkpoint_writer *writer, const bm_store_linear *linear, bm_error *err);
    // Packs and writes rows first .. of a linear; first is a multiple of BM_STORE_ROWS. With the first rows goes what
    // belongs to the whole linear. Errors: those of the device and of writing.
    bm_status (*put)(bm_device *device, bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                     const bm_codes *rows, bm_error *err);
} bm_store_format;

#define BM_STORE_ROWS 32 // pieces of a linear begin at whole words, whatever the bits

const bm_store_format *bm_store_find(const char *name); // NULL: unknown, or not built
extern const bm_store_format bm_store_compressed_tensors;

#endif
