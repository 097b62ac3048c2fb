// The words for a tensor that a model needs and that its checkpoint lacks: often it is there, in a shard that the index
// leaves out, or by a name that another program gave it.
#include "model/model.h"

#include "base/str.h"
#include "model/gguf_target.h"

#include <string.h>

// What wraps a model writes its own name in front of the tensors'. The first mark that is found there counts.
static const struct {
    const char *mark, *words;
} wrappers[] = {
    {"base_model.", "names of a model in PEFT's wrapper: merge its adapter (merge_and_unload) and save the result"},
    {"_orig_mod.", "names of a model that torch.compile wraps: save the model inside it (model._orig_mod)"},
    {"module.", "names of a model that a trainer wraps: save the model inside it (model.module)"},
    {"language_model.", "names of a larger model around this one: save its language model alone"},
};

// What the first length characters of a name tell of it.
static const char *words_of_prefix(const bm_model *model, const char *name, size_t length)
{
    const size_t type_length = strlen(model->config.model_type);
    for (size_t i = 0; i < BM_COUNT(wrappers); i++) {
        const char *at = strstr(name, wrappers[i].mark);
        if (at && at < name + length)
            return wrappers[i].words;
    }
    if (length == type_length + 1 && strncmp(name, model->config.model_type, type_length) == 0)
        return "names of a PaddleNLP checkpoint, whose linears are transposed too: convert it to transformers' form "
               "first";
    if (length == 0)
        return "names of a model without its head: save the whole one (AutoModelForCausalLM)";
    return "expected the names that transformers gives";
}

// A tensor that has the same name behind another prefix; NULL: none. Its prefix has *length characters.
static const bm_tensor_info *find_renamed(const bm_model *model, const char *name, size_t *length)
{
    const char *prefix = model->family->layout->prefix;
    const char *end = bm_starts_with(name, prefix) ? name + strlen(prefix) : name;
    for (uint32_t i = 0; i < bm_checkpoint_count(model->checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(model->checkpoint, i);
        if (!bm_ends_with(info->name, end))
            continue;
        *length = strlen(info->name) - strlen(end);
        if (*length == 0 || info->name[*length - 1] == '.')
            return info;
    }
    return NULL;
}

static const char *name_in_gguf(const bm_model *model, const char *name, char out[BM_GGUF_NAME_SIZE])
{
    const bm_gguf_target *target = bm_gguf_target_find(model->config.model_type);
    bm_linear_id linear;
    return target && bm_gguf_tensor_name(target, model->family, name, out, &linear) ? out : name;
}

bm_status bm_model_fail_missing(const bm_model *model, const char *name, const char *reason, bm_error *err)
{
    char shown[160], in_file[BM_GGUF_NAME_SIZE];
    size_t length = 0;
    const bm_tensor_info *unlisted = bm_checkpoint_find_unlisted(model->checkpoint, name);
    if (unlisted)
        return bm_fail(err, BM_E_FORMAT,
                       "%s/model.safetensors.index.json: weight_map leaves out tensor \"%s\", which lies in \"%s\"; %s",
                       model->folder, name, bm_path_base_name(unlisted->path), reason);
    if (bm_checkpoint_gguf(model->checkpoint))
        return bm_fail(err, BM_E_FORMAT, "%s: tensor \"%s\" is missing; %s", model->config_path,
                       name_in_gguf(model, name, in_file), reason);
    const bm_tensor_info *renamed = find_renamed(model, name, &length);
    if (renamed)
        return bm_fail(err, BM_E_FORMAT, "%s: tensor \"%s\" is missing and \"%s\" is there: %s", model->folder, name,
                       bm_printable(renamed->name, strlen(renamed->name), shown, sizeof shown),
                       words_of_prefix(model, renamed->name, length));
    return bm_fail(err, BM_E_FORMAT, "%s: tensor \"%s\" is missing; %s", model->folder, name, reason);
}
