// model: a family of models is a row of a table. Names of tensors, norms, linears and their biases are data; block.c and
// infer/ work from them. This room knows devices and formats; it knows no parameter file.
//
// This header: what a block is made of, and what its tensors are called.
#ifndef BM_MODEL_FAMILY_H
#define BM_MODEL_FAMILY_H

#include "model/hf_config.h"

// A block is a list of stages; a stage is a group of linears that share one input. The order is the order of
// computation: q,k,v -> attention -> o -> gate,up -> activation -> down.
typedef enum bm_stage { BM_STAGE_QKV, BM_STAGE_O, BM_STAGE_GATE_UP, BM_STAGE_DOWN, BM_NUM_STAGES } bm_stage;

// A family has some of these in its checkpoints. One with BM_LINEAR_QKV or BM_LINEAR_GATE_UP computes with their parts all the
// same: their rows lie in one tensor (linear_rows.h takes them apart), which is quantized and written as one linear. One
// without an up (bm_family_has_up) has no gate: BM_LINEAR_GATE is then what the activation is of.
typedef enum bm_linear_id {
    BM_LINEAR_QKV,
    BM_LINEAR_Q,
    BM_LINEAR_K,
    BM_LINEAR_V,
    BM_LINEAR_O,
    BM_LINEAR_GATE_UP,
    BM_LINEAR_GATE,
    BM_LINEAR_UP,
    BM_LINEAR_DOWN,
    BM_NUM_LINEARS
} bm_linear_id;

// Norms of a block: before q, k and v; before gate and up. Those of the heads, and of what o and down give before it is added
// to the residual, exist only where the family has them.
typedef enum bm_norm_id {
    BM_NORM_INPUT,
    BM_NORM_POST_ATTENTION,
    BM_NORM_Q,
    BM_NORM_K,
    BM_NORM_O_OUTPUT,
    BM_NORM_DOWN_OUTPUT,
    BM_NUM_NORMS
} bm_norm_id;

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
    bool tie_word_embeddings;
    float norm_epsilon;             // 0: 1e-6
    uint32_t full_attention_every;  // layers of which each so-manieth has no window; 0: the keys of qwen2 say which
    double rope_theta;              // 0: 10000
    double local_rope_theta;        // of layers with the window; 0: as of the others, and no keys of their own
    double query_scalar;            // scores are divided by its root; 0: head_dim, and no key
    float attention_cap, logit_cap; // tanh bends scores and logits below these; 0: they stay as they are
} bm_family_defaults;

// What the tensors of a checkpoint are called.
typedef struct bm_family_layout {
    const char *prefix;         // of all names but the head's: "model."
    bool prefix_may_lack;       // checkpoints of the model without its head have no prefix, and are taken all the same
    const char *blocks;         // of the names in a block, before its number: "model.layers."
    const char *embedding;      // tensor: "model.embed_tokens.weight"
    const char *embedding_norm; // module; NULL: there is none
    const char *final_norm;     // module: "model.norm"
    const char *linears[BM_NUM_LINEARS]; // modules in a block: "self_attn.q_proj"; NULL: there is none
    bool qkv_by_heads;                   // BM_LINEAR_QKV is [heads, 3, head_dim]; else all of q, then k, then v
    const char *norms[BM_NUM_NORMS];     // likewise
} bm_family_layout;

typedef struct bm_family {
    const char *model_type; // config.json's model_type
    const bm_family_layout *layout;
    bm_family_defaults defaults;
    bm_bias_rule bias[BM_NUM_LINEARS];
    bool has_layer_norms;   // norms are LayerNorm with a bias; else RMSNorm
    bool has_alibi;         // positions are a bias of attention's scores (ops/attention.h); else a rotary embedding
    bool adds_one_to_norms; // norms multiply by 1 + weight
    bool scales_embedding;  // by the root of hidden_size
} bm_family;

// The row of a model_type; NULL when the family is unknown (bm_hf_config_read has refused it before).
const bm_family *bm_family_find(const char *model_type);
// "one of llama, mistral, ..." into out. Returns out.
const char *bm_family_names(char *out, size_t size);

// Whether checkpoints of the family have it.
static inline bool bm_family_has_linear(const bm_family *family, bm_linear_id linear)
{
    return family->layout->linears[linear] != NULL;
}
static inline bool bm_family_has_norm(const bm_family *family, bm_norm_id norm)
{
    return family->layout->norms[norm] != NULL;
}
bool bm_family_has_up(const bm_family *family);
uint32_t bm_family_num_linears(const bm_family *family); // of a block of its checkpoints
bm_stage bm_linear_stage(bm_linear_id linear);
bm_norm_id bm_norm_of_stage(bm_stage stage); // whose output its linears read; BM_NUM_NORMS: none, of o and down
// [out_features, in_features] of a linear.
void bm_linear_shape(const bm_hf_config *config, bm_linear_id linear, uint32_t *out_features, uint32_t *in_features);
bool bm_linear_has_bias(const bm_family *family, const bm_hf_config *config, bm_linear_id linear);

// Writes "model.layers.3.self_attn.q_proj" + suffix (".weight", ".bias", "") into out. Returns out.
#define BM_TENSOR_NAME_SIZE 96
const char *bm_linear_tensor_name(const bm_family *family, uint32_t block, bm_linear_id linear, const char *suffix,
                                  char out[BM_TENSOR_NAME_SIZE]);
// The module's name: bm_norm_load puts the rest behind it.
const char *bm_norm_name(const bm_family *family, uint32_t block, bm_norm_id norm, char out[BM_TENSOR_NAME_SIZE]);
uint32_t bm_norm_width(const bm_hf_config *config, bm_norm_id norm);

#define BM_TENSOR_LM_HEAD "lm_head.weight"

#endif
