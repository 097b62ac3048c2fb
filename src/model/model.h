// A model: its configuration, its family, its checkpoint, and how its tensors come onto a device.
#ifndef BM_MODEL_MODEL_H
#define BM_MODEL_MODEL_H

#include "device/tensor.h"
#include "formats/checkpoint.h"
#include "model/linear_rows.h"
#include "store/store.h"

typedef struct bm_model {
    char *folder;      // or the path of a GGUF file
    char *config_path; // of config.json, or of the GGUF file: for messages
    bm_hf_config config;
    const bm_family *family;
    bm_checkpoint *checkpoint;
    bool is_quantized;            // as quantization says
    bool quantizes_inputs;        // of linears, where it runs
    bm_store_config quantization; // all zeros where it is not
    bm_json *older_quantization;  // what it was opened from, where config.json does not say it; NULL: config.json does
    uint64_t num_parameters;      // of the float model
    uint8_t *reads;               // [tensors of the checkpoint] 1: the model computes with it (bm_model_reads). Owned.
} bm_model;

// Opens a Hugging Face folder: config.json and safetensors; or a GGUF file, of a folder its only one (gguf_locate.h). Every tensor that the family needs is looked up and its
// shape checked here, so that a run does not fail at its last block. Errors: BM_E_FORMAT and BM_E_UNSUPPORTED with
// file, tensor, found and expected.
bm_status bm_model_open(bm_model **out, const char *path, bm_error *err);
void bm_model_close(bm_model **model);

// A tensor that a fold has added (fold.h), in a checkpoint that says so (store.h: needs_bitmill): biases that the family or
// config.json does not have, and operations. NULL: there is none of that name.
const bm_tensor_info *bm_model_added(const bm_model *model, const char *module, const char *suffix);
// Whether the norm, or the linear of the checkpoint, has a bias: of the family, or added.
bool bm_model_norm_has_bias(const bm_model *model, const char *module);
bool bm_model_linear_has_bias(const bm_model *model, uint32_t block, bm_linear_id linear);

// Whether the model computes with a tensor of its checkpoint. The others are left alone: unread.c says which those are.
bool bm_model_reads(const bm_model *model, const bm_tensor_info *info);
// What there is to say on tensors that the model does not read, a sentence a kind: how many, and the first. fate is what
// becomes of them, for example "left out". Returns the number of sentences.
#define BM_MAX_UNREAD_WORDS 2
typedef struct bm_model_words {
    char text[480];
} bm_model_words;
uint32_t bm_model_describe_unread(const bm_model *model, const char *fate, bm_model_words words[BM_MAX_UNREAD_WORDS]);

// The same, and what else there is to say: a context length that no file states, bytes behind a GGUF file's last tensor.
#define BM_MAX_MODEL_REMARKS (BM_MAX_UNREAD_WORDS + 2)
uint32_t bm_model_remarks(const bm_model *model, const char *fate, bm_model_words words[BM_MAX_MODEL_REMARKS]);

// BM_E_FORMAT with words on a tensor that the checkpoint lacks: the shard that holds it though the index leaves it out,
// or its name by another program's rule; else reason, which says why it is needed.
bm_status bm_model_fail_missing(const bm_model *model, const char *name, const char *reason, bm_error *err);

// The storage type of weights and activations that "auto" means: float32 on CPU devices and the host, the checkpoint's
// 16-bit type on GPUs, else float32. (16-bit kernels need no feature: they load 32-bit words.) float32 also where inputs are
// quantized: 16 bits would not hold a code times its step.
bm_dtype bm_model_compute_dtype(const bm_model *model, const bm_device *device);

// Reads a vector ([width] tensor: a norm weight or a bias) into a new [1, width] tensor of type dtype.
// Errors of this and the functions below: BM_E_FORMAT no such tensor or a value that is not finite, and BM_E_IO, with
// the tensor's name; BM_E_MEMORY; BM_E_DEVICE. What they create is the caller's.
bm_status bm_model_load_vector(const bm_model *model, bm_device *device, const char *name, uint32_t width,
                               bm_dtype dtype, bm_tensor *out, bm_error *err);
// The same of one part of a longer vector, as of linear_rows.h: of every turn elements the run from offset on. run divides width.
typedef struct bm_vector_part {
    uint32_t run, turn, offset;
} bm_vector_part;
bm_status bm_model_load_vector_part(const bm_model *model, bm_device *device, const char *name, uint32_t width,
                                    const bm_vector_part *part, bm_dtype dtype, bm_tensor *out, bm_error *err);

// Reads rows first..first+count-1 of a [rows, cols] tensor as they are stored into a new device tensor, checking that
// every element is finite.
bm_status bm_model_read_rows(const bm_model *model, bm_device *device, const bm_tensor_info *info, uint64_t first,
                             uint64_t count, bm_tensor *out, bm_error *err);

// Whether matrices of a GGUF file come onto a device as blocks, which it decodes: GPUs. For others the host does that, with all
// its threads, as it is the faster of the two there (PoCL takes twice as long).
bool bm_model_decodes_on(const bm_device *device);
// Of a matrix that has blocks (bm_checkpoint_has_blocks): its rows first .. become those of rows [count, cols]. Blocks of numbers that
// are not finite are found at the wait.
bm_status bm_model_decode_rows(const bm_model *model, bm_device *device, const bm_tensor_info *info, uint64_t first,
                               const bm_tensor *rows, bm_error *err);

// Reads one linear of the checkpoint, dense or quantized (then dequantized, unless into has int8_parts or code_part), into weights that are
// there, a bounded number of rows at a time. name is the module's name without ".weight", [out_features, in_features] its shape.
bm_status bm_model_load_linear(const bm_model *model, bm_device *device, const char *name, uint64_t out_features,
                               uint64_t in_features, const bm_linear_rows *into, bm_error *err);

// The matrix that makes logits: lm_head, or the embedding where the two are tied; of a head that is quantized NULL.
const bm_tensor_info *bm_model_head(const bm_model *model);
// Whether lm_head is quantized, and how.
bool bm_model_quantized_head(const bm_model *model, bm_store_linear *out);

// Rows first..first+count-1 of the head as weights of type dtype [count, hidden_size].
bm_status bm_model_load_head_rows(const bm_model *model, bm_device *device, uint64_t first, uint64_t count,
                                  bm_dtype dtype, bm_weights **out, bm_error *err);

// What the model makes of the products of the head, [tokens, any columns] real, in place: nothing in most families. Errors: those
// of bm_soft_cap.
bm_status bm_model_cap_logits(const bm_model *model, bm_device *device, const bm_tensor *logits, bm_error *err);

// hidden [count, hidden_size] = the embeddings of count token ids (in host memory). Only rows that occur are read, each
// once. Errors: BM_E_ARGUMENT for an id beyond the vocabulary; those of reading, with rows that are not finite.
bm_status bm_model_embed(const bm_model *model, bm_device *device, const uint32_t *ids, uint32_t count,
                         const bm_tensor *hidden, bm_error *err);

// What hidden is multiplied by behind the embeddings, where the family does that (bm_model_embed has done it): [1, hidden_size]
// float32, else *out stays empty. In the checkpoint's own type, as its model learned with it. Errors: BM_E_MEMORY; BM_E_DEVICE.
bm_status bm_model_embedding_factor(const bm_model *model, bm_device *device, bm_tensor *out, bm_error *err);

// Rows of a [*, cols] tensor of this type that one bounded read takes.
uint64_t bm_model_rows_per_read(uint64_t cols, bm_dtype dtype);

#endif
