// compressed-tensors: how config.json describes quantized linears. Weight-only schemes in the pack-quantized format are
// built; others are refused by name. Source: the format's public library and its loaders in vLLM and transformers.
#ifndef BM_STORE_COMPRESSED_TENSORS_H
#define BM_STORE_COMPRESSED_TENSORS_H

#include "formats/json.h"

// How one group of linears is quantized.
typedef struct bm_compressed_tensors_scheme {
    uint32_t num_bits;  // 4 or 8
    int32_t group_size; // inputs a scale; 0: one scale a row (strategy "channel")
    bool symmetric;
} bm_compressed_tensors_scheme;

typedef struct bm_compressed_tensors_config bm_compressed_tensors_config;

// Reads a quantization_config object. name is the file's name for messages. Errors: BM_E_UNSUPPORTED for another
// quant_method, format or scheme, BM_E_FORMAT for a malformed object. Destroy with bm_compressed_tensors_destroy.
bm_status bm_compressed_tensors_parse(bm_compressed_tensors_config **out, const bm_json *object, const char *name,
                                      bm_error *err);
void bm_compressed_tensors_destroy(bm_compressed_tensors_config **config);

// The scheme of a linear by its full module name, or NULL when it is not quantized (ignored or not targeted). Exact
// names come first, then patterns, then the class "Linear".
const bm_compressed_tensors_scheme *bm_compressed_tensors_match(const bm_compressed_tensors_config *config,
                                                                const char *module);

// Appends the quantization_config object for one scheme: ignore lists the modules that keep their float weights
// (lm_head among them). Only keys that every version of the loaders accepts are written, sorted.
void bm_compressed_tensors_write(bm_json_writer *json, const bm_compressed_tensors_scheme *scheme,
                                 const char *const *ignore, uint32_t num_ignore);

#endif
