// The table of targets, and names of tensors from those of Hugging Face.
#include "model/gguf_target.h"

#include "base/str.h"
#include "model/gguf_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTENTION_BIASES [BM_LINEAR_Q] = true, [BM_LINEAR_K] = true, [BM_LINEAR_V] = true
#define ALL_BIASES                                                                                                     \
    ATTENTION_BIASES, [BM_LINEAR_O] = true, [BM_LINEAR_GATE] = true, [BM_LINEAR_UP] = true, [BM_LINEAR_DOWN] = true

static const bm_gguf_target targets[] = {
    {"llama", "llama", true, true, {ALL_BIASES}, false},
    {"mistral", "llama", true, true, {ALL_BIASES}, false},
    {"qwen2", "qwen2", false, false, {ATTENTION_BIASES}, true},
    {"qwen3", "qwen3", false, false, {0}, false},
};

const bm_gguf_target *bm_gguf_target_find(const char *model_type)
{
    for (size_t i = 0; i < BM_COUNT(targets); i++)
        if (strcmp(targets[i].model_type, model_type) == 0)
            return &targets[i];
    return NULL;
}

const char *bm_gguf_target_names(char *out, size_t size)
{
    size_t length = 0;
    out[0] = '\0';
    for (size_t i = 0; i < BM_COUNT(targets) && length < size; i++)
        length += (size_t)snprintf(out + length, size - length, "%s%s",
                                   i == 0                      ? ""
                                   : i + 1 < BM_COUNT(targets) ? ", "
                                                               : " and ",
                                   targets[i].model_type);
    return out;
}

// What follows prefix in text; NULL: it does not begin with it.
static const char *behind(const char *text, const char *prefix)
{
    return bm_starts_with(text, prefix) ? text + strlen(prefix) : NULL;
}

static bool name_in_block(const bm_gguf_target *target, const bm_family *family, unsigned long block, const char *rest,
                          char out[BM_GGUF_NAME_SIZE], bm_linear_id *linear)
{
    for (bm_norm_id norm = 0; norm < BM_NUM_NORMS; norm++) {
        const char *suffix = bm_family_has_norm(family, norm) ? behind(rest, family->layout->norms[norm]) : NULL;
        if (suffix && strcmp(suffix, ".weight") == 0)
            return snprintf(out, BM_GGUF_NAME_SIZE, "blk.%lu.%s.weight", block, bm_gguf_norm_name(norm)) <
                   BM_GGUF_NAME_SIZE;
    }
    for (bm_linear_id l = 0; l < BM_NUM_LINEARS; l++) {
        const char *suffix = bm_family_has_linear(family, l) ? behind(rest, family->layout->linears[l]) : NULL;
        const bool is_bias = suffix && strcmp(suffix, ".bias") == 0;
        if (!suffix || !(is_bias ? target->has_biases[l] : strcmp(suffix, ".weight") == 0))
            continue;
        *linear = l;
        return snprintf(out, BM_GGUF_NAME_SIZE, "blk.%lu.%s%s", block, bm_gguf_linear_name(l), suffix) <
               BM_GGUF_NAME_SIZE;
    }
    return false;
}

bool bm_gguf_tensor_name(const bm_gguf_target *target, const bm_family *family, const char *name,
                         char out[BM_GGUF_NAME_SIZE], bm_linear_id *linear)
{
    const char *in_block = behind(name, family->layout->blocks);
    const char *of_norm = behind(name, family->layout->final_norm);
    const char *simple = strcmp(name, family->layout->embedding) == 0 ? "token_embd.weight"
                         : of_norm && strcmp(of_norm, ".weight") == 0 ? "output_norm.weight"
                         : strcmp(name, BM_TENSOR_LM_HEAD) == 0       ? "output.weight"
                                                                      : NULL;
    char *end = NULL;
    *linear = BM_NUM_LINEARS;
    if (simple)
        return snprintf(out, BM_GGUF_NAME_SIZE, "%s", simple) > 0;
    if (!in_block || in_block[0] < '0' || in_block[0] > '9')
        return false;
    const unsigned long block = strtoul(in_block, &end, 10);
    return *end == '.' && name_in_block(target, family, block, end + 1, out, linear);
}
