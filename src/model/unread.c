// Tensors that no part of the model reads.
//
// A checkpoint may hold more than its config.json declares: the value head of a reinforcement run (v_head.*), adapters
// that were not merged, buffers of old versions (rotary_emb.inv_freq), a head beside a tied embedding. transformers warns
// of them and goes on without, vLLM refuses modules that it does not know. So they are named and left out of a result:
// what is written loads everywhere and computes what the original computed.
//
// That holds for biases too which config.json does not declare, although the model may have been trained with them:
// transformers and vLLM then compute without, whoever used this folder has used that model, and a copy of the biases
// would still be ignored by both. But a config.json that lacks a key is the likelier story, so the words name the key.
#include "model/model.h"

#include "base/str.h"

#include <stdio.h>
#include <string.h>

typedef struct unread_kind {
    uint32_t count;
    const char *first; // by name
} unread_kind;

// The linear that a name is the bias of; BM_NUM_LINEARS: it is no linear's bias.
static bm_linear_id linear_of_bias(const bm_family *family, const char *name)
{
    char end[BM_TENSOR_NAME_SIZE];
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
        if (!bm_family_has_linear(family, linear))
            continue;
        snprintf(end, sizeof end, ".%s.bias", family->layout->linears[linear]);
        if (bm_starts_with(name, family->layout->blocks) && bm_ends_with(name, end))
            return linear;
    }
    return BM_NUM_LINEARS;
}

// The key of config.json that would declare it; NULL: the family has no such bias.
static const char *bias_key(const bm_model *model, bm_linear_id linear)
{
    switch (model->family->bias[linear]) {
    case BM_BIAS_ATTENTION:
        return "attention_bias";
    case BM_BIAS_MLP:
        return "mlp_bias";
    case BM_BIAS_NEVER:
    case BM_BIAS_ALWAYS:
        break;
    }
    return NULL;
}

static void add(unread_kind *kind, const bm_tensor_info *info)
{
    if (kind->count++ == 0)
        kind->first = bm_checkpoint_tensor_name(info);
}

bool bm_model_reads(const bm_model *model, const bm_tensor_info *info)
{
    return model->reads[info - bm_checkpoint_at(model->checkpoint, 0)] != 0;
}

uint32_t bm_model_describe_unread(const bm_model *model, const char *fate, bm_model_words words[BM_MAX_UNREAD_WORDS])
{
    unread_kind biases = {0}, others = {0};
    uint32_t count = 0;
    char name[160];
    for (uint32_t i = 0; i < bm_checkpoint_count(model->checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(model->checkpoint, i);
        if (!bm_model_reads(model, info))
            add(linear_of_bias(model->family, info->name) < BM_NUM_LINEARS ? &biases : &others, info);
    }
    if (others.count > 0)
        snprintf(words[count++].text, sizeof words->text,
                 "%u tensor%s that a %s model does not compute with %s %s (the first is \"%s\")", others.count,
                 others.count == 1 ? "" : "s", model->config.model_type, others.count == 1 ? "is" : "are", fate,
                 bm_printable(others.first, strlen(others.first), name, sizeof name));
    if (biases.count > 0) {
        const char *key = bias_key(model, linear_of_bias(model->family, biases.first));
        const int length =
            snprintf(words[count].text, sizeof words->text,
                     "%u bias%s that config.json does not declare %s %s (the first is \"%s\"), as transformers does",
                     biases.count, biases.count == 1 ? "" : "es", biases.count == 1 ? "is" : "are", fate,
                     bm_printable(biases.first, strlen(biases.first), name, sizeof name));
        if (key)
            snprintf(words[count].text + length, sizeof words->text - (size_t)length,
                     "; if the model was trained with them, its config.json lacks \"%s\": true", key);
        count++;
    }
    return count;
}
