// Opening a model: every tensor that its family needs is looked up before any work.
#include "model/model.h"

#include "base/half.h"
#include "base/str.h"
#include "formats/gguf_locate.h"
#include "model/added.h"
#include "model/gguf_model.h"
#include "model/inputs.h"

#include <stdio.h>
#include <string.h>

#define MAX_OLDER_BYTES (UINT64_C(1) << 20)

// "[256, 2]".
static void append_shape(bm_string *out, const uint64_t *shape, uint32_t num_dims)
{
    (void)bm_string_append(out, "[");
    for (uint32_t d = 0; d < num_dims; d++)
        (void)bm_string_append_format(out, "%s%llu", d ? ", " : "", (unsigned long long)shape[d]);
    (void)bm_string_append(out, "]");
}

// A tensor that the model needs, marked as read. reason: why it is needed, for the words where it is missing.
static bm_status find_needed(const bm_model *model, const char *name, const char *reason, const bm_tensor_info **out,
                             bm_error *err)
{
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, name);
    if (!info) {
        (void)bm_model_fail_missing(model, name, reason, err);
        return BM_E_FORMAT; // in so many words for the static analyzer: no tensor, no BM_OK
    }
    model->reads[info - bm_checkpoint_at(model->checkpoint, 0)] = 1;
    *out = info;
    return BM_OK;
}

static const char *config_words(const bm_model *model)
{
    return bm_checkpoint_gguf(model->checkpoint) ? "its metadata" : "config.json";
}

// What a float tensor of this shape must look like; words name tensor, found and expected.
static bm_status check_tensor(const bm_model *model, const char *name, uint32_t rows, uint32_t cols, bm_error *err)
{
    const bm_tensor_info *info = NULL;
    char reason[64];
    snprintf(reason, sizeof reason, "a %s model needs it", model->config.model_type);
    const bm_status status = find_needed(model, name, reason, &info, err);
    if (status != BM_OK)
        return status;
    const bool is_vector = rows == 0;
    const bool fits = is_vector ? info->num_dims == 1 && info->shape[0] == cols
                                : info->num_dims == 2 && info->shape[0] == rows && info->shape[1] == cols;
    if (!fits) {
        bm_string found = BM_STRING_INIT;
        append_shape(&found, info->shape, info->num_dims);
        if (is_vector)
            bm_fail(err, BM_E_FORMAT, "%s: tensor \"%s\": shape %s, expected [%u] by %s", bm_checkpoint_file_name(info),
                    bm_checkpoint_tensor_name(info), bm_string_text(&found), cols, config_words(model));
        else
            bm_fail(err, BM_E_FORMAT, "%s: tensor \"%s\": shape %s, expected [%u, %u] by %s",
                    bm_checkpoint_file_name(info), bm_checkpoint_tensor_name(info), bm_string_text(&found), rows, cols,
                    config_words(model));
        bm_string_free(&found);
        return BM_E_FORMAT;
    }
    if (!bm_dtype_is_real(info->dtype))
        return bm_fail(err, BM_E_UNSUPPORTED, "%s: tensor \"%s\": type %s, expected F32, F16 or BF16",
                       bm_checkpoint_file_name(info), name, bm_dtype_name(info->dtype));
    return BM_OK;
}

static bm_status find_part(const bm_model *model, const char *linear, const char *suffix, const bm_tensor_info **out,
                           bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE + 24], reason[BM_TENSOR_NAME_SIZE + 64];
    snprintf(name, sizeof name, "%s%s", linear, suffix);
    snprintf(reason, sizeof reason, "quantization_config says that %s is quantized", linear);
    return find_needed(model, name, reason, out, err);
}

static const char *expected_type(const bm_store_part *part)
{
    return part->is_real ? "floats" : bm_dtype_name(part->dtype);
}

// What the shapes of a linear's parts come from, beside the linear's own.
static void append_grid(bm_string *out, const bm_store_linear *linear)
{
    (void)bm_string_append_format(out, "%u bits", linear->grid.bits);
    if (linear->per_channel)
        (void)bm_string_append(out, ", one scale an output");
    else if (linear->absent_group_size > 0)
        (void)bm_string_append_format(out, ", group_size %u as it is absent", linear->absent_group_size);
    else
        (void)bm_string_append_format(out, ", group_size %u", linear->grid.group_size);
}

static bm_status check_part(const bm_model *model, const bm_store_linear *linear, const bm_store_part *part,
                            bm_error *err)
{
    const bm_tensor_info *info = NULL;
    const bm_status status = find_part(model, linear->module, part->suffix, &info, err);
    if (status != BM_OK)
        return status;
    bool fits = part->is_real
                    ? bm_dtype_is_real(info->dtype)
                    : info->dtype == part->dtype || (part->or_dtype != BM_DTYPE_NONE && info->dtype == part->or_dtype);
    fits = fits && info->num_dims == part->num_dims;
    for (uint32_t d = 0; fits && d < part->num_dims; d++)
        fits = info->shape[d] == part->shape[d];
    if (fits)
        return BM_OK;
    bm_string found = BM_STRING_INIT, expected = BM_STRING_INIT, grid = BM_STRING_INIT;
    append_shape(&found, info->shape, info->num_dims);
    append_shape(&expected, part->shape, part->num_dims);
    append_grid(&grid, linear);
    bm_fail(err, BM_E_FORMAT, "%s: tensor \"%s\": %s %s, expected %s %s by config.json: %s",
            bm_checkpoint_file_name(info), info->name, bm_dtype_name(info->dtype), bm_string_text(&found),
            expected_type(part), bm_string_text(&expected), bm_string_text(&grid));
    bm_string_free(&grid);
    bm_string_free(&found);
    bm_string_free(&expected);
    return BM_E_FORMAT;
}

static bm_status check_quantized(const bm_model *model, const bm_store_linear *linear, bm_error *err)
{
    const bm_store_format *format = model->quantization.format;
    bm_store_part parts[BM_STORE_MAX_PARTS];
    bm_error words = {0};
    bm_status status = format->check(linear, &words);
    if (status != BM_OK)
        return bm_fail(err, status, "%s: quantization_config: %s", model->config_path, words.message);
    const uint32_t count = format->parts(linear, parts);
    for (uint32_t i = 0; i < count && status == BM_OK; i++)
        status = check_part(model, linear, &parts[i], err);
    return status == BM_OK ? format->check_values(model->checkpoint, linear, err) : status;
}

static bm_status check_vector(bm_model *model, const char *module, const char *suffix, uint32_t width, bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE + 24];
    snprintf(name, sizeof name, "%s%s", module, suffix);
    model->num_parameters += width;
    return check_tensor(model, name, 0, width, err);
}

static bm_status check_norm(bm_model *model, const char *module, uint32_t width, bm_error *err)
{
    const bm_status status = check_vector(model, module, ".weight", width, err);
    return status == BM_OK && bm_model_norm_has_bias(model, module) ? check_vector(model, module, ".bias", width, err)
                                                                    : status;
}

// What may lie before o and down.
static bm_status check_operations(bm_model *model, bm_linear_id linear, const char *module, uint32_t width,
                                  bm_error *err)
{
    static const char *const suffixes[] = {BM_ADDED_SHIFT, BM_ADDED_FACTOR};
    bm_status status = BM_OK;
    for (size_t i = 0; i < BM_COUNT(suffixes); i++)
        if (linear == bm_stage_linear(bm_linear_stage(linear)) && bm_model_added(model, module, suffixes[i]))
            BM_TRY(check_vector(model, module, suffixes[i], width, err));
done:
    return status;
}

static bm_status check_block(bm_model *model, uint32_t block, bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE];
    bm_store_linear quantized;
    bm_status status = BM_OK;
    for (bm_norm_id norm = 0; norm < BM_NUM_NORMS; norm++)
        if (bm_family_has_norm(model->family, norm))
            BM_TRY(check_norm(model, bm_norm_name(model->family, block, norm, name),
                              bm_norm_width(&model->config, norm), err));
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
        uint32_t rows, cols;
        if (!bm_family_has_linear(model->family, linear))
            continue;
        bm_linear_shape(&model->config, linear, &rows, &cols);
        bm_linear_tensor_name(model->family, block, linear, "", name);
        if (bm_store_match(&model->quantization, model->checkpoint, name, rows, cols, &quantized))
            BM_TRY(check_quantized(model, &quantized, err));
        else
            BM_TRY(check_tensor(model, bm_linear_tensor_name(model->family, block, linear, ".weight", name), rows, cols,
                                err));
        model->num_parameters += (uint64_t)rows * cols;
        bm_linear_tensor_name(model->family, block, linear, "", name);
        if (bm_model_linear_has_bias(model, block, linear))
            BM_TRY(check_vector(model, name, ".bias", rows, err));
        BM_TRY(check_operations(model, linear, name, cols, err));
    }
    BM_TRY(bm_model_check_added(model, block, err));
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        bm_input_grid input;
        BM_TRY(bm_model_stage_input(model, block, stage, &input, err));
        model->quantizes_inputs = model->quantizes_inputs || input.kind != BM_INPUT_FLOAT;
    }
done:
    return status;
}

// The block that a tensor belongs to: "model.layers.7." and more.
static bool block_of(const bm_family *family, const char *name, uint64_t *block)
{
    const char *prefix = family->layout->blocks, *digit = name + strlen(prefix);
    if (!bm_starts_with(name, prefix) || *digit < '0' || *digit > '9')
        return false;
    for (*block = 0; *digit >= '0' && *digit <= '9'; digit++)
        *block = bm_min_u64(*block * 10 + (uint64_t)(*digit - '0'), UINT32_MAX); // more is no block of anybody
    return *digit == '.';
}

// Blocks that the configuration leaves out would be carried along and never computed: a model cut short without a word.
static bm_status check_no_block_beyond(const bm_model *model, bm_error *err)
{
    const bm_tensor_info *first = NULL; // of the lowest block
    uint64_t lowest = UINT64_MAX, highest = 0, block;
    for (uint32_t i = 0; i < bm_checkpoint_count(model->checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(model->checkpoint, i);
        if (!block_of(model->family, info->name, &block) || block < model->config.num_hidden_layers)
            continue;
        if (block < lowest) {
            lowest = block;
            first = info;
        }
        highest = bm_max_u64(highest, block);
    }
    if (!first)
        return BM_OK;
    return bm_fail(err, BM_E_FORMAT,
                   "%s: key \"num_hidden_layers\": found %u, expected %llu: the checkpoint has tensor \"%s\"",
                   model->config_path, model->config.num_hidden_layers, (unsigned long long)(highest + 1),
                   bm_checkpoint_tensor_name(first));
}

// Loaders start such a model with a head of random numbers; taking the embedding for it would promise what they do not keep.
static bm_status check_head(bm_model *model, bm_error *err)
{
    const bm_hf_config *c = &model->config;
    const bm_json *key = bm_json_find(c->root, "tie_word_embeddings");
    bm_store_linear quantized;
    if (c->tie_word_embeddings)
        return BM_OK;
    if (bm_model_quantized_head(model, &quantized)) {
        if (quantized.input != BM_INPUT_FLOAT)
            return bm_fail(err, BM_E_UNSUPPORTED,
                           "%s/config.json: quantization_config: quantized inputs of lm_head are not built",
                           model->folder);
        model->num_parameters += (uint64_t)c->vocab_size * c->hidden_size;
        return check_quantized(model, &quantized, err);
    }
    if (!bm_checkpoint_find(model->checkpoint, BM_TENSOR_LM_HEAD) &&
        !bm_checkpoint_find_unlisted(model->checkpoint, BM_TENSOR_LM_HEAD))
        return bm_fail(err, BM_E_FORMAT,
                       "%s: key \"tie_word_embeddings\": found %s, expected true where the checkpoint has no "
                       "tensor \"%s\"",
                       model->config_path,
                       key && bm_json_kind_of(key) == BM_JSON_BOOL ? "false" : "none, which means false",
                       BM_TENSOR_LM_HEAD);
    model->num_parameters += (uint64_t)c->vocab_size * c->hidden_size;
    return check_tensor(model, BM_TENSOR_LM_HEAD, c->vocab_size, c->hidden_size, err);
}

// A model that was saved without its head has names without the prefix of those in it. transformers takes it for the same
// model, and so do we, by the names that the whole one has: runtimes look for those, also where linears are listed.
static bm_status add_lacking_prefix(bm_model *model, bm_error *err)
{
    const bm_family_layout *layout = model->family->layout;
    if (!layout->prefix_may_lack || bm_checkpoint_find(model->checkpoint, layout->embedding) ||
        !bm_checkpoint_find(model->checkpoint, layout->embedding + strlen(layout->prefix)))
        return BM_OK;
    return bm_checkpoint_add_prefix(model->checkpoint, layout->prefix, err);
}

static bm_status check_model(bm_model *model, bm_error *err)
{
    const bm_hf_config *c = &model->config;
    bm_status status = BM_OK;
    const bm_family_layout *layout = model->family->layout;
    BM_TRY(add_lacking_prefix(model, err));
    BM_TRY(check_tensor(model, layout->embedding, c->vocab_size, c->hidden_size, err));
    model->num_parameters = (uint64_t)c->vocab_size * c->hidden_size;
    if (layout->embedding_norm)
        BM_TRY(check_norm(model, layout->embedding_norm, c->hidden_size, err));
    BM_TRY(check_norm(model, layout->final_norm, c->hidden_size, err));
    BM_TRY(check_head(model, err));
    BM_TRY(check_no_block_beyond(model, err));
    for (uint32_t block = 0; block < c->num_hidden_layers; block++)
        BM_TRY(check_block(model, block, err));
done:
    return status;
}

// Whether the checkpoint has codes: a tensor of integers.
static bool has_codes(const bm_model *model)
{
    for (uint32_t i = 0; i < bm_checkpoint_count(model->checkpoint); i++)
        if (bm_checkpoint_at(model->checkpoint, i)->dtype == BM_DTYPE_I32)
            return true;
    return false;
}

// Older writers left config.json as it was and put a file beside it.
static bm_status open_older(bm_model *model, bm_error *err)
{
    const char *method = NULL, *name;
    bm_status status = BM_OK;
    for (uint32_t i = 0; !model->older_quantization && (name = bm_store_older_file(i, &method)) != NULL; i++) {
        char *path = bm_path_join(model->folder, name);
        BM_FAIL_IF(!path, err, BM_E_MEMORY, "out of memory");
        if (bm_path_kind_of(path) == BM_PATH_FILE)
            status = bm_json_read_file(&model->older_quantization, path, MAX_OLDER_BYTES, err);
        if (status == BM_OK && model->older_quantization)
            status = bm_json_kind_of(model->older_quantization) == BM_JSON_OBJECT
                         ? bm_store_open_older(&model->quantization, model->older_quantization, method, path, err)
                         : bm_fail(err, BM_E_FORMAT, "%s: is no JSON object", path);
        bm_free(path);
        BM_TRY(status);
    }
done:
    return status;
}

// config.json and the checkpoint that it describes.
static bm_status open_folder(bm_model *model, const char *folder, bm_error *err)
{
    bm_status status = BM_OK;
    // What may not be looked at is neither absent nor a file: reading config.json says why.
    const bm_path_kind kind = bm_path_kind_of(folder);
    BM_FAIL_IF(kind == BM_PATH_ABSENT || kind == BM_PATH_FILE, err, BM_E_IO,
               "%s: %s; expected a Hugging Face model folder with config.json, or a gguf file", folder,
               kind == BM_PATH_FILE ? "is a file" : "no such folder");
    model->config_path = bm_path_join(folder, "config.json");
    BM_FAIL_IF(!model->config_path, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_hf_config_read(&model->config, folder, err));
    BM_TRY(bm_checkpoint_open(&model->checkpoint, folder, err));
done:
    return status;
}

static void say_keys(const char *architecture, const char *path, bm_error *err)
{
    if (err)
        bm_gguf_say_keys(architecture, path, err->message, sizeof err->message);
}

// The metadata of a GGUF file as a configuration, and its tensors as a checkpoint.
static bm_status open_gguf(bm_model *model, const char *path, bm_error *err)
{
    bm_status status = BM_OK;
    bm_gguf *gguf = NULL;
    bm_gguf_view *views = NULL;
    bm_json *root = NULL;
    bm_string config = BM_STRING_INIT;
    const bm_gguf_architecture *architecture = NULL;
    uint32_t count = 0;
    model->config_path = bm_string_copy(path);
    BM_FAIL_IF(!model->config_path, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_gguf_open(&gguf, path, err));
    BM_TRY(bm_gguf_find_architecture(gguf, &architecture, err));
    BM_TRY(bm_gguf_write_config(gguf, &config, err));
    BM_TRY(bm_json_parse(&root, bm_string_text(&config), config.length, path, err));
    status = bm_hf_config_parse(&model->config, &root, path, err);
    if (status != BM_OK)
        say_keys(architecture->name, path, err);
    BM_TRY(status);
    bm_gguf_say_keys(architecture->name, path, model->config.not_built, sizeof model->config.not_built);
    BM_TRY(bm_gguf_name_tensors(gguf, &views, &count, err));
    BM_TRY(bm_checkpoint_open_gguf(&model->checkpoint, &gguf, views, count, err));
done:
    bm_free(views);
    bm_string_free(&config);
    bm_json_destroy(&root);
    bm_gguf_close(&gguf);
    return status;
}

bm_status bm_model_open(bm_model **out, const char *path, bm_error *err)
{
    bm_status status = BM_OK;
    char *gguf_path = NULL;
    bm_model *model = bm_alloc_zero(1, sizeof *model);
    BM_FAIL_IF(!model, err, BM_E_MEMORY, "out of memory");
    model->folder = bm_string_copy(path);
    BM_FAIL_IF(!model->folder, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_gguf_locate(path, &gguf_path, err));
    BM_TRY(gguf_path ? open_gguf(model, gguf_path, err) : open_folder(model, path, err));
    model->family = bm_family_find(model->config.model_type);
    BM_FAIL_IF(!model->family, err, BM_E_UNSUPPORTED, "%s: model_type \"%s\" has no family", model->config_path,
               model->config.model_type);
    model->reads = bm_alloc_zero(bm_checkpoint_count(model->checkpoint), 1);
    BM_FAIL_IF(!model->reads, err, BM_E_MEMORY, "out of memory");
    if (model->config.quantization_config)
        BM_TRY(bm_store_open(&model->quantization, model->config.quantization_config, model->config_path, err));
    else if (has_codes(model))
        BM_TRY(open_older(model, err));
    model->is_quantized = model->quantization.format != NULL;
    status = check_model(model, err);
    if (status != BM_OK && gguf_path)
        say_keys(model->config.model_type, model->config_path, err);
    BM_TRY(status);
    *out = model;
    model = NULL;
done:
    bm_model_close(&model);
    bm_free(gguf_path);
    return status;
}

void bm_model_close(bm_model **model)
{
    if (!model || !*model)
        return;
    bm_store_close(&(*model)->quantization);
    bm_json_destroy(&(*model)->older_quantization);
    bm_checkpoint_close(&(*model)->checkpoint);
    bm_hf_config_destroy(&(*model)->config);
    bm_free((*model)->reads);
    bm_free((*model)->config_path);
    bm_free((*model)->folder);
    bm_free(*model);
    *model = NULL;
}

bm_dtype bm_model_compute_dtype(const bm_model *model, const bm_device *device)
{
    const bm_dtype stored = bm_checkpoint_find(model->checkpoint, model->family->layout->embedding)->dtype;
    return bm_device_kind_is_gpu(bm_device_get_info(device)->kind) && !model->quantizes_inputs ? stored : BM_DTYPE_F32;
}

// Whoever matches all linears may have left the head float all the same: its tensors say so.
bool bm_model_quantized_head(const bm_model *model, bm_store_linear *out)
{
    bm_store_part parts[BM_STORE_MAX_PARTS];
    char name[BM_STORE_NAME_SIZE];
    if (model->config.tie_word_embeddings || !bm_store_match(&model->quantization, model->checkpoint, BM_STORE_HEAD,
                                                             model->config.vocab_size, model->config.hidden_size, out))
        return false;
    (void)model->quantization.format->parts(out, parts);
    snprintf(name, sizeof name, BM_STORE_HEAD "%s", parts[0].suffix);
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, name);
    return info && !bm_dtype_is_real(info->dtype);
}

const bm_tensor_info *bm_model_head(const bm_model *model)
{
    return bm_checkpoint_find(model->checkpoint,
                              model->config.tie_word_embeddings ? model->family->layout->embedding : BM_TENSOR_LM_HEAD);
}
