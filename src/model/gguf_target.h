// Models that are written as GGUF files: which architecture of llama.cpp computes a family, and what its tensors are called
// there. Source: formats.md 6.4 to 6.6; llama.cpp's tables of architectures.
#ifndef BM_MODEL_GGUF_TARGET_H
#define BM_MODEL_GGUF_TARGET_H

#include "model/family.h"

typedef struct bm_gguf_target {
    const char *model_type; // of config.json
    const char *name;       // general.architecture
    bool interleaved;       // heads are rotated by pairs of neighbours: rows of q and k lie in another order there
    bool scales_by_tensor;  // a tensor rope_freqs.weight scales frequencies one by one
    bool has_biases[BM_NUM_LINEARS]; // may have
    bool fits_hidden_size;           // heads together are as wide as the residual stream
} bm_gguf_target;
// NULL: no architecture computes the family.
const bm_gguf_target *bm_gguf_target_find(const char *model_type);
// "llama, mistral, qwen2 and qwen3" into out. Returns out.
const char *bm_gguf_target_names(char *out, size_t size);

#define BM_GGUF_ROPE_FREQS "rope_freqs.weight"
#define BM_GGUF_NAME_SIZE 64 // with the zero behind it

// The name in the file of a tensor of a checkpoint, and whose rows it is of: the linear, BM_NUM_LINEARS for what is none's.
// False: the architecture has no place for it.
bool bm_gguf_tensor_name(const bm_gguf_target *target, const bm_family *family, const char *name,
                         char out[BM_GGUF_NAME_SIZE], bm_linear_id *linear);

#endif
