// The table of families. qwen3 adds one row to qwen2: no biases, and norms of the heads.
#include "model/family.h"

#include <stdio.h>
#include <string.h>

#define ATTENTION_BIASES(q, k, v, o) [BM_LINEAR_Q] = (q), [BM_LINEAR_K] = (k), [BM_LINEAR_V] = (v), [BM_LINEAR_O] = (o)
#define MLP_BIASES(rule) [BM_LINEAR_GATE] = (rule), [BM_LINEAR_UP] = (rule), [BM_LINEAR_DOWN] = (rule)

static const bm_family families[] = {
    {"llama",
     {0, 0, 2048, BM_WINDOW_NEVER, 0, 2},
     {ATTENTION_BIASES(BM_BIAS_ATTENTION, BM_BIAS_ATTENTION, BM_BIAS_ATTENTION, BM_BIAS_ATTENTION),
      MLP_BIASES(BM_BIAS_MLP)},
     .has_head_norms = false},
    {"mistral", {8, 0, 131072, BM_WINDOW_WHEN_SET, 4096, 2}, {0}, .has_head_norms = false},
    {"qwen2",
     {32, 0, 32768, BM_WINDOW_WHEN_USED, 4096, -1},
     {ATTENTION_BIASES(BM_BIAS_ALWAYS, BM_BIAS_ALWAYS, BM_BIAS_ALWAYS, BM_BIAS_NEVER)},
     .has_head_norms = false},
    {"qwen3",
     {32, 128, 32768, BM_WINDOW_WHEN_USED, 4096, -1},
     {ATTENTION_BIASES(BM_BIAS_ATTENTION, BM_BIAS_ATTENTION, BM_BIAS_ATTENTION, BM_BIAS_ATTENTION)},
     .has_head_norms = true},
};

static const struct {
    const char *name;
    bm_stage stage;
} linears[BM_NUM_LINEARS] = {
    [BM_LINEAR_Q] = {"self_attn.q_proj", BM_STAGE_QKV},     [BM_LINEAR_K] = {"self_attn.k_proj", BM_STAGE_QKV},
    [BM_LINEAR_V] = {"self_attn.v_proj", BM_STAGE_QKV},     [BM_LINEAR_O] = {"self_attn.o_proj", BM_STAGE_O},
    [BM_LINEAR_GATE] = {"mlp.gate_proj", BM_STAGE_GATE_UP}, [BM_LINEAR_UP] = {"mlp.up_proj", BM_STAGE_GATE_UP},
    [BM_LINEAR_DOWN] = {"mlp.down_proj", BM_STAGE_DOWN},
};

static const char *const norms[BM_NUM_NORMS] = {
    [BM_NORM_INPUT] = "input_layernorm",
    [BM_NORM_POST_ATTENTION] = "post_attention_layernorm",
    [BM_NORM_Q] = "self_attn.q_norm",
    [BM_NORM_K] = "self_attn.k_norm",
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

const char *bm_linear_name(bm_linear_id linear)
{
    return linears[linear].name;
}
bm_stage bm_linear_stage(bm_linear_id linear)
{
    return linears[linear].stage;
}

void bm_linear_shape(const bm_hf_config *config, bm_linear_id linear, uint32_t *out_features, uint32_t *in_features)
{
    const uint32_t query = config->num_attention_heads * config->head_dim;
    const uint32_t key_value = config->num_key_value_heads * config->head_dim;
    const uint32_t hidden = config->hidden_size, intermediate = config->intermediate_size;
    const uint32_t shapes[BM_NUM_LINEARS][2] = {
        [BM_LINEAR_Q] = {query, hidden},           [BM_LINEAR_K] = {key_value, hidden},
        [BM_LINEAR_V] = {key_value, hidden},       [BM_LINEAR_O] = {hidden, query},
        [BM_LINEAR_GATE] = {intermediate, hidden}, [BM_LINEAR_UP] = {intermediate, hidden},
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

const char *bm_linear_tensor_name(uint32_t block, bm_linear_id linear, const char *suffix,
                                  char out[BM_TENSOR_NAME_SIZE])
{
    snprintf(out, BM_TENSOR_NAME_SIZE, "model.layers.%u.%s%s", block, linears[linear].name, suffix);
    return out;
}

const char *bm_norm_tensor_name(uint32_t block, bm_norm_id norm, char out[BM_TENSOR_NAME_SIZE])
{
    snprintf(out, BM_TENSOR_NAME_SIZE, "model.layers.%u.%s.weight", block, norms[norm]);
    return out;
}

uint32_t bm_norm_width(const bm_hf_config *config, bm_norm_id norm)
{
    return norm == BM_NORM_Q || norm == BM_NORM_K ? config->head_dim : config->hidden_size;
}

bool bm_family_has_norm(const bm_family *family, bm_norm_id norm)
{
    return family->has_head_norms || (norm != BM_NORM_Q && norm != BM_NORM_K);
}
