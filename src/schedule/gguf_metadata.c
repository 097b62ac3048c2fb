// What stands in front of the tensors of a GGUF file. Keys: formats.md 6.4 and 6.7.
#include "schedule/gguf.h"

#include "model/gguf_target.h"
#include "schedule/companions.h"
#include "schedule/gguf_kept.h"
#include "schedule/tokenizer_files.h"
#include "store/gguf.h"
#include "text/chat_template.h"
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

bm_status bm_gguf_check_model(const bm_model *model, bm_error *err)
{
    const bm_hf_config *c = &model->config;
    const bm_gguf_target *target = bm_gguf_target_find(c->model_type);
    char names[96];
    if (!target)
        return bm_fail(err, BM_E_ARGUMENT, "found a model of type %s, expected %s", c->model_type,
                       bm_gguf_target_names(names, sizeof names));
    if (c->not_built[0] != '\0')
        return bm_fail(err, BM_E_ARGUMENT, "%s", c->not_built);
    if (c->hidden_act != BM_ACTIVATION_SILU)
        return bm_fail(err, BM_E_ARGUMENT,
                       "found an activation other than silu, expected silu: llama.cpp computes no other for %s",
                       target->name);
    if (c->rope.scaling == BM_ROPE_LLAMA3 && !target->scales_by_tensor)
        return bm_fail(err, BM_E_ARGUMENT, "found rope_type llama3 in a model of type %s, expected default or linear",
                       c->model_type);
    if (c->rope.scaling == BM_ROPE_DYNAMIC || c->rope.scaling == BM_ROPE_YARN)
        return bm_fail(err, BM_E_ARGUMENT, "found rope_type %s, expected default, linear or llama3",
                       c->rope.scaling == BM_ROPE_YARN ? "yarn" : "dynamic");
    if (target->fits_hidden_size && c->num_attention_heads * c->head_dim != c->hidden_size)
        return bm_fail(err, BM_E_ARGUMENT,
                       "found %u heads of %u in a model of type %s, expected the hidden size %u together",
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

static bm_status put_tokenizer(bm_plan *plan, const char *folder, const bm_model *model, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tokenizer *tokenizer = NULL;
    bm_tokenizer_parts parts = BM_TOKENIZER_PARTS_INIT;
    bool found = false;
    if (plan->tokenizer == BM_PLAN_TOKENIZER_READ) {
        BM_TRY(bm_tokenizer_open(&tokenizer, folder, err));
        BM_TRY(find_parts(plan, tokenizer, model->config.vocab_size, &parts, &found, err));
    }
    plan->has_no_vocabulary = !found;
    if (found)
        put_parts(&plan->gguf, &parts);
    else
        BM_TRY(put_tokenizer_json(&plan->gguf, folder, tokenizer, err));
done:
    bm_tokenizer_parts_free(&parts);
    bm_tokenizer_close(&tokenizer);
    return status;
}

// One that nobody could use stays behind: the model runs without it.
static bm_status put_chat_template(bm_plan *plan, const char *folder, bm_error *err)
{
    bm_chat_source source;
    bm_error words = {0};
    bm_status status = bm_chat_source_find(folder, &source, &words);
    if (status == BM_E_FORMAT) {
        bm_notes_add(&plan->notes, "%s; the file has no chat template", words.message);
        status = BM_OK;
    } else if (status != BM_OK) {
        *err = words;
    } else if (source.text) {
        bm_gguf_put_string(&plan->gguf, "tokenizer.chat_template", source.text, source.length);
    }
    bm_chat_source_free(&source);
    return status;
}

static bm_status put_template_of_file(bm_gguf_metadata *m, const bm_gguf *gguf, bm_error *err)
{
    bm_gguf_string text = {NULL, 0};
    const bm_status status = bm_gguf_get_string(gguf, "tokenizer.chat_template", &text, err);
    if (status == BM_OK && text.bytes)
        bm_gguf_put_string(m, "tokenizer.chat_template", text.bytes, text.length);
    return status;
}

// Readers want as many tokens as the embedding has rows.
static bool fits(const bm_gguf *gguf, uint32_t vocab_size)
{
    const bm_gguf_value *tokens = bm_gguf_find(gguf, "tokenizer.ggml.tokens");
    return !tokens || bm_gguf_count(tokens) == vocab_size;
}

// What a text becomes and what it comes from: of a file all that it says, of a folder what its files come to.
static bm_status put_text_keys(bm_plan *plan, const char *folder, const bm_model *model, bm_error *err)
{
    bm_status status = BM_OK;
    bm_gguf *gguf = NULL;
    char *path = NULL;
    BM_TRY(bm_tokenizer_files_source(folder, &path, err));
    if (path)
        BM_TRY(bm_gguf_open(&gguf, path, err));
    if (gguf && fits(gguf, model->config.vocab_size)) {
        bm_gguf_keep_tokenizer(&plan->gguf, gguf);
        bm_gguf_string kind = {NULL, 0};
        BM_TRY(bm_gguf_get_string(gguf, "tokenizer.ggml.model", &kind, err));
        plan->has_no_vocabulary = !kind.bytes || bm_gguf_string_is(kind, "no_vocab");
        if (!kind.bytes)
            put_text(&plan->gguf, "tokenizer.ggml.model", "no_vocab");
        goto done;
    }
    BM_TRY(put_tokenizer(plan, folder, model, err));
    BM_TRY(gguf ? put_template_of_file(&plan->gguf, gguf, err) : put_chat_template(plan, folder, err));
done:
    bm_gguf_close(&gguf);
    bm_free(path);
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

const bm_gguf_mixture_row *bm_gguf_mixture_find(bm_gguf_mixture mixture)
{
    return mixture == BM_MIXTURE_AUTO ? NULL : &mixtures[mixture];
}

// general.file_type, by the type of most tensors.
static uint32_t file_type_of(const bm_plan *plan, bm_gguf_type type)
{
    if (plan->mixture)
        return plan->mixture->file_type;
    return type == BM_GGUF_Q4_0 ? 2 : type == BM_GGUF_Q4_1 ? 3 : 7;
}

bm_status bm_plan_describe_gguf(bm_plan *plan, const char *tokenizer_folder, const bm_model *model, bm_error *err)
{
    const bm_gguf_target *target = bm_gguf_target_find(model->config.model_type);
    const bm_gguf_type type = bm_store_gguf_type(&bm_plan_first(plan)->grid);
    const bm_gguf *source = bm_checkpoint_gguf(model->checkpoint);
    bm_gguf_metadata *m = &plan->gguf;
    bm_status status = BM_OK;
    char *name = name_of(model);
    BM_FAIL_IF(!name, err, BM_E_MEMORY, "out of memory");
    put_text(m, "general.architecture", target->name);
    put_text(m, "general.type", "model");
    if (!source || !bm_gguf_find(source, "general.name"))
        put_text(m, "general.name", name);
    bm_gguf_put_u32(m, "general.file_type", file_type_of(plan, type));
    bm_gguf_put_u32(m, "general.quantization_version", QUANTIZATION_VERSION);
    put_shape(m, target, &model->config);
    if (source)
        bm_gguf_keep(m, source, !plan->method);
    BM_TRY(put_text_keys(plan, tokenizer_folder, model, err));
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
