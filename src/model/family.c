// The table of families.
#include "model/family.h"

#include <stdio.h>
#include <string.h>

#define ATTENTION_BIASES(q, k, v, o) [BM_LINEAR_Q] = (q), [BM_LINEAR_K] = (k), [BM_LINEAR_V] = (v), [BM_LINEAR_O] = (o)
#define MLP_BIASES(rule) [BM_LINEAR_GATE] = (rule), [BM_LINEAR_UP] = (rule), [BM_LINEAR_DOWN] = (rule)

#define LLAMA_LAYOUT(q_norm, k_norm, before_mlp, of_o, of_down)                                                        \
    {                                                                                                                  \
        .prefix = "model.", .blocks = "model.layers.", .embedding = "model.embed_tokens.weight",                       \
        .final_norm = "model.norm",                                                                                    \
        .linears = {[BM_LINEAR_Q] = "self_attn.q_proj", [BM_LINEAR_K] = "self_attn.k_proj",                            \
                    [BM_LINEAR_V] = "self_attn.v_proj", [BM_LINEAR_O] = "self_attn.o_proj",                            \
                    [BM_LINEAR_GATE] = "mlp.gate_proj", [BM_LINEAR_UP] = "mlp.up_proj",                                \
                    [BM_LINEAR_DOWN] = "mlp.down_proj"},                                                               \
        .norms = {                                                                                                     \
            [BM_NORM_INPUT] = "input_layernorm",                                                                       \
            [BM_NORM_POST_ATTENTION] = (before_mlp),                                                                   \
            [BM_NORM_Q] = (q_norm),                                                                                    \
            [BM_NORM_K] = (k_norm),                                                                                    \
            [BM_NORM_O_OUTPUT] = (of_o),                                                                               \
            [BM_NORM_DOWN_OUTPUT] = (of_down)                                                                          \
        }                                                                                                              \
    }

static const bm_family_layout llama_layout = LLAMA_LAYOUT(NULL, NULL, "post_attention_layernorm", NULL, NULL);
// RMSNorm of every query and key head before the rotary embedding.
static const bm_family_layout head_norms_layout =
    LLAMA_LAYOUT("self_attn.q_norm", "self_attn.k_norm", "post_attention_layernorm", NULL, NULL);
// What attention and the multilayer perceptron add to the residual has norms too, one of which has the name that others give to
// the norm before the latter.
static const bm_family_layout gemma3_layout =
    LLAMA_LAYOUT("self_attn.q_norm", "self_attn.k_norm", "pre_feedforward_layernorm", "post_attention_layernorm",
                 "post_feedforward_layernorm");
static const bm_family_layout gemma2_layout =
    LLAMA_LAYOUT(NULL, NULL, "pre_feedforward_layernorm", "post_attention_layernorm", "post_feedforward_layernorm");
static const bm_family_layout bloom_layout = {
    .prefix = "transformer.",
    .prefix_may_lack = true,
    .blocks = "transformer.h.",
    .embedding = "transformer.word_embeddings.weight",
    .embedding_norm = "transformer.word_embeddings_layernorm",
    .final_norm = "transformer.ln_f",
    .linears = {[BM_LINEAR_QKV] = "self_attention.query_key_value",
                [BM_LINEAR_O] = "self_attention.dense",
                [BM_LINEAR_GATE] = "mlp.dense_h_to_4h",
                [BM_LINEAR_DOWN] = "mlp.dense_4h_to_h"},
    .qkv_by_heads = true,
    .norms = {[BM_NORM_INPUT] = "input_layernorm", [BM_NORM_POST_ATTENTION] = "post_attention_layernorm"},
};
static const bm_family_layout phi3_layout = {
    .prefix = "model.",
    .blocks = "model.layers.",
    .embedding = "model.embed_tokens.weight",
    .final_norm = "model.norm",
    .linears = {[BM_LINEAR_QKV] = "self_attn.qkv_proj",
                [BM_LINEAR_O] = "self_attn.o_proj",
                [BM_LINEAR_GATE_UP] = "mlp.gate_up_proj",
                [BM_LINEAR_DOWN] = "mlp.down_proj"},
    .norms = {[BM_NORM_INPUT] = "input_layernorm", [BM_NORM_POST_ATTENTION] = "post_attention_layernorm"},
};

static const bm_family families[] = {
    {"llama",
     &llama_layout,
     {0, 0, 2048, BM_WINDOW_NEVER, 0, .eos = 2},
     .bias = {ATTENTION_BIASES(BM_BIAS_ATTENTION, BM_BIAS_ATTENTION, BM_BIAS_ATTENTION, BM_BIAS_ATTENTION),
              MLP_BIASES(BM_BIAS_MLP)}},
    {"mistral", &llama_layout, {8, 0, 131072, BM_WINDOW_WHEN_SET, 4096, .eos = 2}, .bias = {0}},
    {"qwen2",
     &llama_layout,
     {32, 0, 32768, BM_WINDOW_WHEN_USED, 4096, .eos = -1},
     .bias = {ATTENTION_BIASES(BM_BIAS_ALWAYS, BM_BIAS_ALWAYS, BM_BIAS_ALWAYS, BM_BIAS_NEVER)}},
    {"qwen3",
     &head_norms_layout,
     {32, 128, 32768, BM_WINDOW_WHEN_USED, 4096, .eos = -1},
     .bias = {ATTENTION_BIASES(BM_BIAS_ATTENTION, BM_BIAS_ATTENTION, BM_BIAS_ATTENTION, BM_BIAS_ATTENTION)}},
    {"phi3", &phi3_layout, {0, 0, 4096, BM_WINDOW_WHEN_SET, 0, .eos = 32000, .norm_epsilon = 1e-5f}, .bias = {0}},
    {"gemma2",
     &gemma2_layout,
     {4, 256, 8192, BM_WINDOW_WHEN_SET, 4096, .eos = 1, .tie_word_embeddings = true, .full_attention_every = 2,
      .query_scalar = 256, .attention_cap = 50, .logit_cap = 30},
     .bias = {ATTENTION_BIASES(BM_BIAS_ATTENTION, BM_BIAS_ATTENTION, BM_BIAS_ATTENTION, BM_BIAS_ATTENTION)},
     .adds_one_to_norms = true,
     .scales_embedding = true},
    {"gemma3_text",
     &gemma3_layout,
     {4, 256, 131072, BM_WINDOW_WHEN_SET, 4096, .eos = 1, .tie_word_embeddings = true, .full_attention_every = 6,
      .rope_theta = 1e6, .local_rope_theta = 1e4, .query_scalar = 256},
     .bias = {ATTENTION_BIASES(BM_BIAS_ATTENTION, BM_BIAS_ATTENTION, BM_BIAS_ATTENTION, BM_BIAS_ATTENTION)},
     .adds_one_to_norms = true,
     .scales_embedding = true},
    {"bloom",
     &bloom_layout,
     {0, 0, 2048, BM_WINDOW_NEVER, 0, .eos = 2, .tie_word_embeddings = true},
     .bias = {[BM_LINEAR_QKV] = BM_BIAS_ALWAYS,
              [BM_LINEAR_O] = BM_BIAS_ALWAYS,
              [BM_LINEAR_GATE] = BM_BIAS_ALWAYS,
              [BM_LINEAR_DOWN] = BM_BIAS_ALWAYS},
     .has_layer_norms = true,
     .has_alibi = true},
};

const bm_family *bm_family_find(const char *model_type)
{
    for (size_t i = 0; i < BM_COUNT(families); i++)
        if (strcmp(families[i].model_type, model_type) == 0)
            return &families[i];
    return NULL;
}

const char *bm_family_names(char *out, size_t size)
{
    size_t length = (size_t)snprintf(out, size, "one of ");
    for (size_t i = 0; i < BM_COUNT(families) && length < size; i++)
        length += (size_t)snprintf(out + length, size - length, "%s%s", i > 0 ? ", " : "", families[i].model_type);
    return out;
}

bool bm_family_has_up(const bm_family *family)
{
    return bm_family_has_linear(family, BM_LINEAR_UP) || bm_family_has_linear(family, BM_LINEAR_GATE_UP);
}

uint32_t bm_family_num_linears(const bm_family *family)
{
    uint32_t count = 0;
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++)
        count += bm_family_has_linear(family, linear);
    return count;
}

bm_stage bm_linear_stage(bm_linear_id linear)
{
    static const bm_stage stages[BM_NUM_LINEARS] = {
        [BM_LINEAR_QKV] = BM_STAGE_QKV,         [BM_LINEAR_Q] = BM_STAGE_QKV,      [BM_LINEAR_K] = BM_STAGE_QKV,
        [BM_LINEAR_V] = BM_STAGE_QKV,           [BM_LINEAR_O] = BM_STAGE_O,        [BM_LINEAR_GATE] = BM_STAGE_GATE_UP,
        [BM_LINEAR_GATE_UP] = BM_STAGE_GATE_UP, [BM_LINEAR_UP] = BM_STAGE_GATE_UP, [BM_LINEAR_DOWN] = BM_STAGE_DOWN,
    };
    return stages[linear];
}

bm_norm_id bm_norm_of_stage(bm_stage stage)
{
    return stage == BM_STAGE_QKV ? BM_NORM_INPUT : stage == BM_STAGE_GATE_UP ? BM_NORM_POST_ATTENTION : BM_NUM_NORMS;
}

void bm_linear_shape(const bm_hf_config *config, bm_linear_id linear, uint32_t *out_features, uint32_t *in_features)
{
    const uint32_t query = config->num_attention_heads * config->head_dim;
    const uint32_t key_value = config->num_key_value_heads * config->head_dim;
    const uint32_t hidden = config->hidden_size, intermediate = config->intermediate_size;
    const uint32_t shapes[BM_NUM_LINEARS][2] = {
        [BM_LINEAR_QKV] = {query + 2 * key_value, hidden},
        [BM_LINEAR_Q] = {query, hidden},
        [BM_LINEAR_K] = {key_value, hidden},
        [BM_LINEAR_V] = {key_value, hidden},
        [BM_LINEAR_O] = {hidden, query},
        [BM_LINEAR_GATE_UP] = {2 * intermediate, hidden},
        [BM_LINEAR_GATE] = {intermediate, hidden},
        [BM_LINEAR_UP] = {intermediate, hidden},
        [BM_LINEAR_DOWN] = {hidden, intermediate},
    };
    *out_features = shapes[linear][0];
    *in_features = shapes[linear][1];
}

bool bm_linear_has_bias(const bm_family *family, const bm_hf_config *config, bm_linear_id linear)
{
    switch (family->bias[linear]) {
    case BM_BIAS_ALWAYS:
        return true;
    case BM_BIAS_ATTENTION:
        return config->attention_bias;
    case BM_BIAS_MLP:
        return config->mlp_bias;
    case BM_BIAS_NEVER:
        break;
    }
    return false;
}

const char *bm_linear_tensor_name(const bm_family *family, uint32_t block, bm_linear_id linear, const char *suffix,
                                  char out[BM_TENSOR_NAME_SIZE])
{
    snprintf(out, BM_TENSOR_NAME_SIZE, "%s%u.%s%s", family->layout->blocks, block, family->layout->linears[linear],
             suffix);
    return out;
}

const char *bm_norm_name(const bm_family *family, uint32_t block, bm_norm_id norm, char out[BM_TENSOR_NAME_SIZE])
{
    snprintf(out, BM_TENSOR_NAME_SIZE, "%s%u.%s", family->layout->blocks, block, family->layout->norms[norm]);
    return out;
}

uint32_t bm_norm_width(const bm_hf_config *config, bm_norm_id norm)
{
    return norm == BM_NORM_Q || norm == BM_NORM_K ? config->head_dim : config->hidden_size;
}
