// What stands in front of the tensors of a GGUF file. Keys: formats.md 6.4 and 6.7.
#include "schedule/gguf.h"

#include "model/gguf_target.h"
#include "schedule/companions.h"
#include "store/gguf.h"
#include "text/tokenizer_parts.h"

#include <stdio.h>
#include <string.h>

#define KEY_SIZE 96
#define QUANTIZATION_VERSION 2 // of ggml's blocks
#define MAX_NAME 200           // bytes of a file's name in front of its type

bool bm_plan_writes_gguf(const bm_plan *plan)
{
    return plan->format == &bm_store_gguf;
}

static void put_text(bm_gguf_metadata *m, const char *key, const char *text)
{
    bm_gguf_put_string(m, key, text, strlen(text));
}

static const char *key_of(const bm_gguf_target *target, const char *rest, char key[KEY_SIZE])
{
    snprintf(key, KEY_SIZE, "%s.%s", target->name, rest);
    return key;
}

static void put_shape(bm_gguf_metadata *m, const bm_gguf_target *target, const bm_hf_config *c)
{
    const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {
        {"block_count", c->num_hidden_layers},
        {"context_length", c->max_position_embeddings},
        {"embedding_length", c->hidden_size},
        {"feed_forward_length", c->intermediate_size},
        {"attention.head_count", c->num_attention_heads},
        {"attention.head_count_kv", c->num_key_value_heads},
        {"attention.key_length", c->head_dim},
        {"attention.value_length", c->head_dim},
        {"rope.dimension_count", c->head_dim},
        {"vocab_size", c->vocab_size},
    };
    char key[KEY_SIZE];
    for (size_t i = 0; i < BM_COUNT(numbers); i++)
        bm_gguf_put_u32(m, key_of(target, numbers[i].key, key), numbers[i].value);
    bm_gguf_put_f32(m, key_of(target, "attention.layer_norm_rms_epsilon", key), c->norm_epsilon);
    bm_gguf_put_f32(m, key_of(target, "rope.freq_base", key), (float)c->rope.theta);
    if (c->rope.scaling == BM_ROPE_LINEAR) {
        put_text(m, key_of(target, "rope.scaling.type", key), "linear");
        bm_gguf_put_f32(m, key_of(target, "rope.scaling.factor", key), (float)c->rope.factor);
    }
}

static bm_status check_model(const bm_arguments *arguments, const bm_model *model, const bm_gguf_target *target,
                             bm_error *err)
{
    const bm_hf_config *c = &model->config;
    char names[96];
    if (!target)
        return bm_arguments_reject(arguments, err,
                                   "\"format\": \"gguf\": found a model of type %s, expected %s; compressed-tensors "
                                   "holds it",
                                   c->model_type, bm_gguf_target_names(names, sizeof names));
    if (c->not_built[0] != '\0')
        return bm_arguments_reject(arguments, err, "\"format\": \"gguf\": %s; compressed-tensors holds the model",
                                   c->not_built);
    if (c->hidden_act != BM_ACTIVATION_SILU)
        return bm_arguments_reject(
            arguments, err,
            "\"format\": \"gguf\": found an activation other than silu, expected silu: llama.cpp "
            "computes no other for %s; compressed-tensors holds the model",
            target->name);
    if (c->rope.scaling == BM_ROPE_LLAMA3 && !target->scales_by_tensor)
        return bm_arguments_reject(arguments, err,
                                   "\"format\": \"gguf\": found rope_type llama3 in a model of type %s, expected "
                                   "default or linear; compressed-tensors holds the model",
                                   c->model_type);
    if (target->fits_hidden_size && c->num_attention_heads * c->head_dim != c->hidden_size)
        return bm_arguments_reject(arguments, err,
                                   "\"format\": \"gguf\": found %u heads of %u in a model of type %s, expected the "
                                   "hidden size %u together; compressed-tensors holds the model",
                                   c->num_attention_heads, c->head_dim, c->model_type, c->hidden_size);
    return BM_OK;
}

static void put_tokens(bm_gguf_metadata *m, const bm_tokenizer_parts *parts)
{
    bm_gguf_begin_array(m, "tokenizer.ggml.tokens", BM_GGUF_STRING, parts->num_tokens);
    for (uint32_t i = 0; i < parts->num_tokens; i++)
        bm_gguf_add_string(m, parts->tokens[i].data, parts->tokens[i].length);
    if (parts->scores) {
        bm_gguf_begin_array(m, "tokenizer.ggml.scores", BM_GGUF_FLOAT32, parts->num_tokens);
        for (uint32_t i = 0; i < parts->num_tokens; i++)
            bm_gguf_add_f32(m, parts->scores[i]);
    }
    if (parts->types) {
        bm_gguf_begin_array(m, "tokenizer.ggml.token_type", BM_GGUF_INT32, parts->num_tokens);
        for (uint32_t i = 0; i < parts->num_tokens; i++)
            bm_gguf_add_u32(m, (uint32_t)parts->types[i]);
    }
    if (parts->num_merges > 0) {
        bm_gguf_begin_array(m, "tokenizer.ggml.merges", BM_GGUF_STRING, parts->num_merges);
        for (uint32_t i = 0; i < parts->num_merges; i++)
            bm_gguf_add_string(m, parts->merges[i].data, parts->merges[i].length);
    }
}

static void put_ids(bm_gguf_metadata *m, const bm_tokenizer_parts *parts)
{
    const struct {
        const char *key;
        uint32_t id;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", parts->bos},         {"tokenizer.ggml.eos_token_id", parts->eos},
        {"tokenizer.ggml.unknown_token_id", parts->unknown}, {"tokenizer.ggml.padding_token_id", parts->padding},
        {"tokenizer.ggml.eot_token_id", parts->eot},         {"tokenizer.ggml.eom_token_id", parts->eom},
    };
    for (size_t i = 0; i < BM_COUNT(ids); i++)
        if (ids[i].id != BM_PARTS_NO_ID)
            bm_gguf_put_u32(m, ids[i].key, ids[i].id);
}

static void put_parts(bm_gguf_metadata *m, const bm_tokenizer_parts *parts)
{
    const struct {
        const char *key;
        bm_parts_flag flag;
    } flags[] = {
        {"tokenizer.ggml.add_bos_token", parts->add_bos},
        {"tokenizer.ggml.add_eos_token", parts->add_eos},
        {"tokenizer.ggml.add_space_prefix", parts->add_space_prefix},
    };
    bm_gguf_put_string(m, "tokenizer.ggml.model", parts->model.data, parts->model.length);
    if (parts->pre.length > 0)
        bm_gguf_put_string(m, "tokenizer.ggml.pre", parts->pre.data, parts->pre.length);
    put_tokens(m, parts);
    put_ids(m, parts);
    for (size_t i = 0; i < BM_COUNT(flags); i++)
        if (flags[i].flag != BM_PARTS_ABSENT)
            bm_gguf_put_bool(m, flags[i].key, flags[i].flag == BM_PARTS_TRUE);
}

// The tokenizer's whole file, for programs that read it, and what its neighbours name; llama.cpp then takes ids alone.
static bm_status put_tokenizer_json(bm_gguf_metadata *m, const char *folder, const bm_tokenizer *tokenizer,
                                    bm_error *err)
{
    bm_status status = BM_OK;
    char *text = NULL, *path = bm_path_join(folder, "tokenizer.json");
    uint64_t length = 0;
    bm_tokenizer_parts parts = BM_TOKENIZER_PARTS_INIT;
    put_text(m, "tokenizer.ggml.model", "no_vocab");
    if (tokenizer)
        bm_tokenizer_parts_name_ends(&parts, tokenizer);
    put_ids(m, &parts);
    bm_tokenizer_parts_free(&parts);
    BM_FAIL_IF(!path, err, BM_E_MEMORY, "out of memory");
    if (bm_path_kind_of(path) != BM_PATH_FILE)
        goto done;
    BM_TRY(bm_file_read_all(path, BM_MAX_COMPANION_BYTES, &text, &length, err));
    bm_gguf_put_string(m, "tokenizer.huggingface.json", text, length);
done:
    bm_free(text);
    bm_free(path);
    return status;
}

static bm_status find_parts(bm_plan *plan, const bm_tokenizer *tokenizer, uint32_t vocab_size,
                            bm_tokenizer_parts *parts, bool *found, bm_error *err)
{
    bm_error words = {0};
    bm_status status = BM_OK;
    if (bm_tokenizer_vocabulary_size(tokenizer) > vocab_size)
        status = bm_fail(&words, BM_E_UNSUPPORTED,
                         "tokenizer.json: found %u tokens, expected at most %u, the rows of "
                         "the embedding",
                         bm_tokenizer_vocabulary_size(tokenizer), vocab_size);
    else
        status = bm_tokenizer_to_parts(parts, tokenizer, vocab_size, &words);
    *found = status == BM_OK;
    if (status == BM_OK && parts->note)
        bm_notes_add(&plan->notes, "%s", parts->note);
    if (status != BM_E_UNSUPPORTED)
        return status == BM_OK ? BM_OK : bm_fail(err, status, "%s", words.message);
    bm_notes_add(&plan->notes,
                 "%s; the file has no vocabulary for llama.cpp, which takes ids alone, and tokenizer.json as it is",
                 words.message);
    return BM_OK;
}

static bm_status put_tokenizer(bm_plan *plan, const bm_arguments *arguments, const bm_model *model, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tokenizer *tokenizer = NULL;
    bm_tokenizer_parts parts = BM_TOKENIZER_PARTS_INIT;
    bool found = false;
    if (plan->tokenizer == BM_PLAN_TOKENIZER_READ) {
        BM_TRY(bm_tokenizer_open(&tokenizer, arguments->tokenizer_name_or_path, err));
        BM_TRY(find_parts(plan, tokenizer, model->config.vocab_size, &parts, &found, err));
    }
    if (found)
        put_parts(&plan->gguf, &parts);
    else
        BM_TRY(put_tokenizer_json(&plan->gguf, arguments->tokenizer_name_or_path, tokenizer, err));
done:
    bm_tokenizer_parts_free(&parts);
    bm_tokenizer_close(&tokenizer);
    return status;
}

// The template that is to be used where several are there.
static const bm_json *find_template(const bm_json *root)
{
    const bm_json *value = bm_json_find(root, "chat_template");
    if (!value || bm_json_kind_of(value) != BM_JSON_ARRAY)
        return value;
    for (const bm_json *one = bm_json_first(value); one; one = bm_json_next(one)) {
        const bm_json *name = bm_json_find(one, "name");
        if (name && bm_json_kind_of(name) == BM_JSON_STRING && strcmp(bm_json_string(name), "default") == 0)
            return bm_json_find(one, "template");
    }
    return NULL;
}

// Of the first file that has one, in the order of transformers.
static bm_status put_chat_template(bm_gguf_metadata *m, const char *folder, bm_error *err)
{
    static const char *const names[] = {"chat_template.jinja", "chat_template.json", "tokenizer_config.json"};
    bm_status status = BM_OK;
    bool found = false;
    for (size_t i = 0; i < BM_COUNT(names) && !found && status == BM_OK; i++) {
        bm_json *root = NULL;
        char *text = NULL, *path = bm_path_join(folder, names[i]);
        uint64_t length = 0;
        if (!path) {
            status = bm_fail(err, BM_E_MEMORY, "out of memory");
        } else if (bm_path_kind_of(path) != BM_PATH_FILE) {
            ;
        } else if (i == 0) {
            status = bm_file_read_all(path, BM_MAX_COMPANION_BYTES, &text, &length, err);
            found = status == BM_OK;
        } else {
            status = bm_json_read_file(&root, path, BM_MAX_COMPANION_BYTES, err);
            const bm_json *value = status == BM_OK ? find_template(root) : NULL;
            found = value && bm_json_kind_of(value) == BM_JSON_STRING;
            text = found ? bm_string_copy(bm_json_string(value)) : NULL;
            length = text ? strlen(text) : 0;
        }
        if (found && text)
            bm_gguf_put_string(m, "tokenizer.chat_template", text, length);
        bm_json_destroy(&root);
        bm_free(text);
        bm_free(path);
    }
    return status;
}

// Of a model that is a file itself.
static bm_status put_template_of_file(bm_gguf_metadata *m, const bm_gguf *gguf, bm_error *err)
{
    bm_gguf_string text = {NULL, 0};
    const bm_status status = bm_gguf_get_string(gguf, "tokenizer.chat_template", &text, err);
    if (status == BM_OK && text.bytes)
        bm_gguf_put_string(m, "tokenizer.chat_template", text.bytes, text.length);
    return status;
}

// What the model is called: its folder, or its file without what tells the format.
static char *name_of(const bm_model *model)
{
    char *path = bm_path_resolve(model->folder);
    const char *base = path ? bm_path_base_name(path) : "";
    size_t length = strlen(base);
    if (bm_ends_with(base, ".gguf"))
        length -= strlen(".gguf");
    char *name = length > 0 ? bm_format("%.*s", (int)length, base) : bm_string_copy("model");
    bm_free(path);
    return name;
}

static const bm_gguf_mixture_row mixtures[] = {
    [BM_MIXTURE_Q4_K] = {"Q4_K", "gguf (Q4_K)", 14}, [BM_MIXTURE_Q4_K_M] = {"Q4_K_M", "gguf (Q4_K_M)", 15},
    [BM_MIXTURE_Q5_K] = {"Q5_K", "gguf (Q5_K)", 16}, [BM_MIXTURE_Q5_K_M] = {"Q5_K_M", "gguf (Q5_K_M)", 17},
    [BM_MIXTURE_Q6_K] = {"Q6_K", "gguf (Q6_K)", 18},
};

// general.file_type, by the type of most tensors.
static uint32_t file_type_of(const bm_plan *plan, bm_gguf_type type)
{
    if (plan->mixture)
        return plan->mixture->file_type;
    return type == BM_GGUF_Q4_0 ? 2 : type == BM_GGUF_Q4_1 ? 3 : 7;
}

bm_status bm_plan_describe_gguf(bm_plan *plan, const bm_arguments *arguments, const bm_model *model, bm_error *err)
{
    const bm_gguf_target *target = bm_gguf_target_find(model->config.model_type);
    const bm_gguf_type type = bm_store_gguf_type(&bm_plan_first(plan)->grid);
    const bm_gguf *source = plan->makes_tokenizer ? bm_checkpoint_gguf(model->checkpoint) : NULL;
    bm_gguf_metadata *m = &plan->gguf;
    bm_status status = BM_OK;
    char *name = name_of(model);
    BM_FAIL_IF(!name, err, BM_E_MEMORY, "out of memory");
    BM_TRY(check_model(arguments, model, target, err));
    if (arguments->gguf_type != BM_MIXTURE_AUTO)
        plan->mixture = &mixtures[arguments->gguf_type];
    plan->packs_embeddings = arguments->gguf_embeddings == BM_EMBEDDINGS_Q8_0;
    if (plan->packs_embeddings && model->config.hidden_size % bm_gguf_layout_of(BM_GGUF_Q8_0)->block_elements != 0) {
        status = bm_arguments_reject(arguments, err,
                                     "\"gguf_embeddings\": \"q8_0\": the model has a hidden size of %u, expected a "
                                     "multiple of 32",
                                     model->config.hidden_size);
        goto done;
    }
    put_text(m, "general.architecture", target->name);
    put_text(m, "general.type", "model");
    put_text(m, "general.name", name);
    bm_gguf_put_u32(m, "general.file_type", file_type_of(plan, type));
    bm_gguf_put_u32(m, "general.quantization_version", QUANTIZATION_VERSION);
    put_shape(m, target, &model->config);
    BM_TRY(put_tokenizer(plan, arguments, model, err));
    BM_TRY(source ? put_template_of_file(m, source, err)
                  : put_chat_template(m, arguments->tokenizer_name_or_path, err));
    plan->gguf_file = bm_format("%s-%s.gguf", strlen(name) <= MAX_NAME ? name : "model",
                                plan->mixture ? plan->mixture->name : bm_gguf_layout_of(type)->name);
    BM_FAIL_IF(!plan->gguf_file || m->bytes.failed, err, BM_E_MEMORY, "out of memory");
    plan->makes_tokenizer = false; // it lies in the file
    if (model->config.sliding_window > 0 && model->config.sliding_window < model->config.max_position_embeddings)
        bm_notes_add(&plan->notes,
                     "sliding_window: %u: llama.cpp computes %s without a window, so that longer texts differ there",
                     model->config.sliding_window, target->name);
done:
    bm_free(name);
    return status;
}
