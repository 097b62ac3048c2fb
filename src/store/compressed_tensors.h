// compressed-tensors: how config.json describes quantized linears. Weight-only schemes in the pack-quantized format are
// built; others are refused by name. Source: the format's public library and its loaders in vLLM and transformers.
#ifndef BM_STORE_COMPRESSED_TENSORS_H
#define BM_STORE_COMPRESSED_TENSORS_H

#include "store/store.h"

// How one group of linears is quantized.
typedef struct bm_compressed_tensors_scheme {
    uint32_t num_bits;  // 2, 3, 4 or 8
    int32_t group_size; // inputs a scale; 0: one scale a row (strategy "channel")
    bool symmetric;
    bool has_group_index; // weight_g_idx says which column belongs to which group
} bm_compressed_tensors_scheme;

typedef struct bm_compressed_tensors_config bm_compressed_tensors_config;

// Reads a quantization_config object. name is the file's name for messages. Errors: BM_E_UNSUPPORTED for another
// format or scheme, BM_E_FORMAT for a malformed object. Destroy with bm_compressed_tensors_destroy.
bm_status bm_compressed_tensors_parse(bm_compressed_tensors_config **out, const bm_json *object, const char *name,
                                      bm_error *err);
void bm_compressed_tensors_destroy(bm_compressed_tensors_config **config);

// The scheme of a linear by its full module name, or NULL when it is not quantized (ignored or not targeted). Exact
// names come first, then patterns, then the class "Linear".
const bm_compressed_tensors_scheme *bm_compressed_tensors_match(const bm_compressed_tensors_config *config,
                                                                const char *module);

// The row's functions that lie in files of their own (store.h). Written are only keys that every version of the loaders
// accepts, sorted.
void bm_compressed_tensors_write(bm_json_writer *json, const bm_store_description *description);
bm_status bm_compressed_tensors_check_values(bm_checkpoint *checkpoint, const bm_store_linear *linear, bm_error *err);
bm_status bm_compressed_tensors_get(bm_checkpoint *checkpoint, const bm_store_linear *linear, bm_device *device,
                                    uint64_t first, bm_codes *rows, bm_error *err);

#endif
