// model_maker: small random models in the Hugging Face layout, for tests and trials without a download.
//
// A model is config.json, safetensors of one file or shards with an index, tokenizer.json and tokenizer_config.json.
// The same params give the same bytes. A tensor's values depend on seed, its name and its shape alone: the same model
// in another type, cut into other shards or with planted outliers has the same weights up to rounding.
// Names and shapes of tensors are written down here a second time on purpose, apart from the model room's tables.
#ifndef BM_TESTS_MODEL_MAKER_H
#define BM_TESTS_MODEL_MAKER_H

#include "base/base.h"

typedef enum model_maker_tokenizer {
    MODEL_MAKER_SENTENCEPIECE, // spaces become "▁"; 259 words or more: bytes as a fallback, fewer: single characters
    MODEL_MAKER_BYTE_LEVEL,    // bytes as printable characters; vocab_size of 258 or more
    MODEL_MAKER_NO_TOKENIZER,
} model_maker_tokenizer;

typedef struct model_maker_params {
    const char *family; // "llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3_text", "bloom"
    uint32_t hidden_size, intermediate_size, num_layers;
    uint32_t num_heads, num_kv_heads; // the second not of bloom, nor intermediate_size and head_dim
    uint32_t head_dim;                // 0: hidden_size / num_heads
    uint32_t vocab_size, max_positions;
    bm_dtype dtype;         // F32, F16 or BF16
    bool tie_embeddings;    // no lm_head.weight
    bool attention_bias;    // llama, qwen3; qwen2 has biases of q, k and v in any case
    bool mlp_bias;          // llama
    const char *hidden_act; // as config.json names it
    double rms_norm_eps;    // of bloom layer_norm_epsilon
    double rope_theta;
    const char *rope_scaling;   // NULL, "linear", "llama3", "dynamic", "yarn"
    bool rope_parameters;       // the newer spelling of config.json
    uint32_t sliding_window;    // 0: none; not for llama
    uint32_t max_window_layers; // qwen2, qwen3: layers from here on have the window
    uint32_t window_pattern;    // gemma: each so-manieth layer has no window; 0: as transformers has it, and no key
    uint32_t query_scalar;      // gemma: scores are divided by its root
    double attention_cap, logit_cap; // gemma: 0: null
    double local_rope_theta;         // gemma 3: of layers with the window
    bool without_prefix;             // bloom: names of the model without its head
    uint64_t max_shard_bytes;        // 0: one file
    // Outliers: this many residual channels leave both norms of a block outlier_scale times larger, and the columns of
    // the linears behind are as much smaller: the model computes the same, but its activations are harder to quantize.
    uint32_t num_outlier_channels;
    float outlier_scale;
    uint64_t seed;
    model_maker_tokenizer tokenizer;
} model_maker_params;

// A llama of 2 layers, width 64, 4 heads over 2, 512 tokens, F32, one file.
void model_maker_params_init(model_maker_params *params);

// Sets what one word of make_model's command line says, for example "--family=qwen2" or "--tie" (make_model --help lists
// them). A text value is kept as a pointer into option. False: no such option, or a value that it does not take.
bool model_maker_set(model_maker_params *params, const char *option);

// Writes the model into folder, which is created when absent. Errors: BM_E_ARGUMENT for params that do not fit
// together, BM_E_IO, BM_E_MEMORY.
bm_status model_maker_write(const model_maker_params *params, const char *folder, bm_error *err);

// tokenizer.json and tokenizer_config.json alone.
bm_status model_maker_write_tokenizer(const model_maker_params *params, const char *folder, bm_error *err);

// Ids of <s> and </s> in the tokenizer of params.
void model_maker_special_ids(const model_maker_params *params, uint32_t *bos, uint32_t *eos);

// FOLDER/name for models of at least 253 tokens: line i has lengths[i] ids.
void model_maker_ids_write(const char *folder, const char *name, const uint32_t *lengths, uint32_t count);

#endif
