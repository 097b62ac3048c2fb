// compressed-tensors: how config.json describes quantized linears. Built are integer weights in the formats pack-quantized, of
// weights alone, and int-quantized, a byte a code, which may have quantized inputs beside them; others are refused by name.
// Source: the format's public library and its loaders in vLLM and transformers.
#ifndef BM_STORE_COMPRESSED_TENSORS_H
#define BM_STORE_COMPRESSED_TENSORS_H

#include "store/store.h"

// How one group of linears is quantized.
typedef struct bm_compressed_tensors_scheme {
    uint32_t num_bits;  // 2, 3, 4 or 8
    int32_t group_size; // inputs a scale; 0: one scale a row (strategy "channel"), or in all
    bool symmetric;
    bool has_group_index; // weight_g_idx says which column belongs to which group
    bool is_unpacked;     // int-quantized
    bool per_tensor;      // strategy "tensor": one scale in the file, which all rows share
    bm_input_kind input;
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

// One scheme of a config_groups object, and one by a preset's name. global_format is the outer one. *out is all zeros before.
// Errors: as of bm_compressed_tensors_parse.
bm_status bm_compressed_tensors_read_scheme(const bm_json *object, const char *global_format,
                                            bm_compressed_tensors_scheme *out, const char *name, bm_error *err);
bm_status bm_compressed_tensors_read_preset(const char *preset, const char *global_format,
                                            bm_compressed_tensors_scheme *out, const char *name, bm_error *err);

// Which of the two forms the tensors of a linear have: bm_store_linear.version. 0 is int-quantized where inputs are quantized.
typedef enum bm_compressed_tensors_form {
    BM_COMPRESSED_TENSORS_PACKED = 1,
    BM_COMPRESSED_TENSORS_UNPACKED,
} bm_compressed_tensors_form;
bool bm_compressed_tensors_is_unpacked(const bm_store_linear *linear);
bool bm_compressed_tensors_writes_bytes(const bm_store_description *description); // the same of all linears

// The form int-quantized (compressed_tensors_bytes.c), as the row's functions of these names.
uint32_t bm_compressed_tensors_bytes_parts(const bm_store_linear *linear, bm_store_part out[BM_STORE_MAX_PARTS]);
bm_status bm_compressed_tensors_bytes_put(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                                          const bm_store_rows *rows, bm_error *err);
bm_status bm_compressed_tensors_bytes_get_grid(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                                               uint64_t count, float *steps, int32_t *zero_points, bm_error *err);
bm_status bm_compressed_tensors_bytes_get(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                                          bm_store_rows *rows, bm_error *err);

// Writes the scales of rows first .. of a linear: [rows, groups] of its grid's scale_dtype, whose values steps hold.
bm_status bm_compressed_tensors_put_scales(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                                           uint64_t count, const float *steps, bm_error *err);

// The row's functions that lie in files of their own (store.h). Written are only keys that every version of the loaders
// accepts, sorted.
void bm_compressed_tensors_write(bm_json_writer *json, const bm_store_description *description);
bm_status bm_compressed_tensors_check_values(bm_checkpoint *checkpoint, const bm_store_linear *linear, bm_error *err);
bm_status bm_compressed_tensors_get_input(bm_checkpoint *checkpoint, const bm_store_linear *linear, bm_input_grid *out,
                                          bm_error *err);
bm_status bm_compressed_tensors_get_grid(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                                         uint64_t count, float *steps, int32_t *zero_points, bm_error *err);
bm_status bm_compressed_tensors_get_group_index(bm_checkpoint *checkpoint, const bm_store_linear *linear,
                                                uint32_t **out, bm_error *err);
bm_status bm_compressed_tensors_get(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                                    bm_store_rows *rows, bm_error *err);

#endif
