// act_scales.json and weight_scales.json: largest magnitudes, by which PaddleNLP's runtimes quantize activations and scale products.
//
//   weight_scales.json  "llama.layers.0.mlp.up_proj.weight_quanter": [out_features numbers]; of groups, [groups][out_features]
//   act_scales.json     "llama.layers.0.mlp.up_proj.activation_quanter": a number
//
// A number is the largest |value| (or what stands for it), not a step: code = clamp(rint(value 127 / number), -128, 127). A linear
// that stays float has no entry. Source: PaddleNLP, the writers and readers of these two files.
#ifndef BM_STORE_SCALE_FILES_H
#define BM_STORE_SCALE_FILES_H

#include "base/base.h"

typedef struct bm_scale_files bm_scale_files;

// Begins both files in folder; they are there once they are finished. model_type ("llama") takes the place of "model" in names.
// Errors: BM_E_IO, BM_E_MEMORY. Finish, or destroy, which leaves neither.
bm_status bm_scale_files_create(bm_scale_files **out, const char *folder, const char *model_type, bm_error *err);

// Adds one linear, in the order of the files.
//
//   module   "model.layers.0.mlp.up_proj"
//   weights  [out_features, groups] float32, not negative; below 1e-30 counts as 1e-8
//   input    of its activations; NULL: they are not quantized
//
// Errors: BM_E_NUMERIC for a number that is negative or not finite; BM_E_IO, BM_E_MEMORY.
bm_status bm_scale_files_add(bm_scale_files *files, const char *module, const float *weights, uint64_t out_features,
                             uint64_t groups, const float *input, bm_error *err);
// Destroys *files, whether it succeeds or not.
bm_status bm_scale_files_finish(bm_scale_files **files, bm_error *err);
void bm_scale_files_destroy(bm_scale_files **files);

#endif
