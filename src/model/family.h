// model: a family of models is a row of a table. Names of tensors, norms, linears and their biases are data; block.c and
// infer/ work from them. This room knows devices and formats; it knows no parameter file.
//
// This header: what a block of a llama-like family is made of.
#ifndef BM_MODEL_FAMILY_H
#define BM_MODEL_FAMILY_H

#include "model/hf_config.h"

// A block is a list of stages; a stage is a group of linears that share one input. The order is the order of
// computation: q,k,v -> attention -> o -> gate,up -> gate activation -> down.
typedef enum bm_stage { BM_STAGE_QKV, BM_STAGE_O, BM_STAGE_GATE_UP, BM_STAGE_DOWN, BM_NUM_STAGES } bm_stage;

typedef enum bm_linear_id {
    BM_LINEAR_Q,
    BM_LINEAR_K,
    BM_LINEAR_V,
    BM_LINEAR_O,
    BM_LINEAR_GATE,
    BM_LINEAR_UP,
    BM_LINEAR_DOWN,
    BM_NUM_LINEARS
} bm_linear_id;

// Norms of a block. The two of the heads exist only where the family has them.
typedef enum bm_norm_id { BM_NORM_INPUT, BM_NORM_POST_ATTENTION, BM_NORM_Q, BM_NORM_K, BM_NUM_NORMS } bm_norm_id;

// When a linear has a bias.
typedef enum bm_bias_rule {
    BM_BIAS_NEVER,
    BM_BIAS_ALWAYS,
    BM_BIAS_ATTENTION, // as the key attention_bias says
    BM_BIAS_MLP,       // as the key mlp_bias says
} bm_bias_rule;

// How a family's sliding window is switched on.
typedef enum bm_window_rule { BM_WINDOW_NEVER, BM_WINDOW_WHEN_SET, BM_WINDOW_WHEN_USED } bm_window_rule;

// What keys mean when they are absent. Source: the families' configuration classes in transformers. The sizes that
// every checkpoint of transformers states have no default: a file without them is broken.
typedef struct bm_family_defaults {
    uint32_t num_key_value_heads; // 0: as many as attention heads
    uint32_t head_dim;            // 0: hidden_size / num_attention_heads
    uint32_t max_position_embeddings;
    bm_window_rule window;
    uint32_t sliding_window;
    int64_t eos; // -1: none
} bm_family_defaults;

typedef struct bm_family {
    const char *model_type; // config.json's model_type
    bm_family_defaults defaults;
    bm_bias_rule bias[BM_NUM_LINEARS];
    bool has_head_norms; // RMSNorm of every query and key head before the rotary embedding
} bm_family;

// The row of a model_type; NULL when the family is unknown (bm_hf_config_read has refused it before).
const bm_family *bm_family_find(const char *model_type);
// "one of llama, mistral, ..." into out. Returns out.
const char *bm_family_names(char *out, size_t size);

// "self_attn.q_proj" and so on: the name inside a block.
const char *bm_linear_name(bm_linear_id linear);
bm_stage bm_linear_stage(bm_linear_id linear);
// [out_features, in_features] of a linear.
void bm_linear_shape(const bm_hf_config *config, bm_linear_id linear, uint32_t *out_features, uint32_t *in_features);
bool bm_linear_has_bias(const bm_family *family, const bm_hf_config *config, bm_linear_id linear);

// Writes "model.layers.3.self_attn.q_proj" + suffix (".weight", ".bias", "") into out. Returns out.
#define BM_TENSOR_NAME_SIZE 96
const char *bm_linear_tensor_name(uint32_t block, bm_linear_id linear, const char *suffix,
                                  char out[BM_TENSOR_NAME_SIZE]);
const char *bm_norm_tensor_name(uint32_t block, bm_norm_id norm, char out[BM_TENSOR_NAME_SIZE]);
uint32_t bm_norm_width(const bm_hf_config *config, bm_norm_id norm);
bool bm_family_has_norm(const bm_family *family, bm_norm_id norm);

#define BM_TENSOR_EMBEDDING "model.embed_tokens.weight"
#define BM_TENSOR_FINAL_NORM "model.norm.weight"
#define BM_TENSOR_LM_HEAD "lm_head.weight"

#endif
