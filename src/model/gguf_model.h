// What a GGUF file's metadata and names of tensors mean for a model: llama, qwen2 and qwen3 as llama.cpp's converter writes
// them, in the words of Hugging Face's files. Source: formats.md 6.4 to 6.6.
#ifndef BM_MODEL_GGUF_MODEL_H
#define BM_MODEL_GGUF_MODEL_H

#include "base/str.h"
#include "formats/gguf_view.h"
#include "model/family.h"

// How an architecture's files are read.
typedef struct bm_gguf_architecture {
    const char *name;         // general.architecture, and the family's model_type
    const char *class_name;   // of config.json
    bool pairs_rows;          // rows of q and k lie in the order of rotated pairs
    bool may_have_biases;     // of attention, where config.json says so
    bool may_have_mlp_biases; // likewise
} bm_gguf_architecture;

// Errors: BM_E_FORMAT no key general.architecture; BM_E_UNSUPPORTED an architecture, or a kind of file, that is not built.
bm_status bm_gguf_find_architecture(const bm_gguf *gguf, const bm_gguf_architecture **out, bm_error *err);

// Appends the text of the config.json that the metadata says. Errors: those above; BM_E_FORMAT a key that is missing or out
// of range; BM_E_UNSUPPORTED with words on what is not built.
bm_status bm_gguf_write_config(const bm_gguf *gguf, bm_string *text, bm_error *err);

// Puts the metadata's keys in the place of config.json's in words of up to size bytes, which may begin with path: what was read
// from the text above is said in the words of the file.
void bm_gguf_say_keys(const char *architecture, const char *path, char *words, size_t size);

// The keys of rope_freqs.weight, whose divisors llama3's scaling gave for theta. Errors: BM_E_UNSUPPORTED for divisors that
// it does not give; BM_E_IO.
typedef struct bm_gguf_rope_factors {
    double factor, low_freq_factor, high_freq_factor, original_max_position_embeddings;
} bm_gguf_rope_factors;
bm_status bm_gguf_read_rope_factors(const bm_gguf *gguf, const bm_gguf_tensor *tensor, double theta,
                                    uint32_t rotary_dim, bm_gguf_rope_factors *out, bm_error *err);

// A view of each of the model's tensors, under the name that a checkpoint of transformers has. *out is the caller's
// (bm_free). Errors: BM_E_UNSUPPORTED for a tensor that the architecture does not have; BM_E_FORMAT; BM_E_MEMORY.
bm_status bm_gguf_name_tensors(const bm_gguf *gguf, bm_gguf_view **out, uint32_t *count, bm_error *err);

// What a linear and a norm of a block are called there, without ".weight"; NULL: no architecture that is built has them.
const char *bm_gguf_linear_name(bm_linear_id linear);
const char *bm_gguf_norm_name(bm_norm_id norm);

// "Q4_1 (210 tensors), F32 (61), Q8_0 (1)": the types of tensors, most frequent first; codes_only: of those that hold codes.
// "" where there is none. Returns out.
#define BM_GGUF_TYPES_SIZE 320
const char *bm_gguf_describe_types(const bm_gguf *gguf, bool codes_only, char out[BM_GGUF_TYPES_SIZE]);

#endif
