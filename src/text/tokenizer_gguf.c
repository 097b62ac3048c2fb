// Keys of a GGUF file become the parts of a tokenizer.
#include "text/tokenizer_gguf.h"

#include "text/tokenizer_internal.h"

#include <stdio.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name
#define KEY_JSON "tokenizer.huggingface.json"
#define MAX_TOKENS UINT32_MAX

static bm_text_span span_of(bm_gguf_string string)
{
    return (bm_text_span){string.bytes, (size_t)string.length};
}

// An array that must have as many elements as there are tokens; absent: NULL.
static bm_status check_count(const bm_gguf *gguf, const char *key, const bm_gguf_value *array, uint32_t num_tokens,
                             bm_error *err)
{
    if (!array || bm_gguf_count(array) == num_tokens)
        return BM_OK;
    return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": an array of %llu, expected %u, one for each token",
                   bm_gguf_path(gguf), key, (unsigned long long)bm_gguf_count(array), num_tokens);
}

static bm_status read_strings(const bm_gguf *gguf, const char *key, bm_text_span **out, uint32_t *count, bm_error *err)
{
    const bm_gguf_value *array = NULL;
    bm_status status = BM_OK;
    BM_TRY(bm_gguf_get_strings(gguf, key, &array, err));
    if (!array)
        goto done;
    BM_FAIL_IF(bm_gguf_count(array) > MAX_TOKENS, err, BM_E_FORMAT, "%s: key \"%s\": an array of %llu",
               bm_gguf_path(gguf), key, (unsigned long long)bm_gguf_count(array));
    *count = (uint32_t)bm_gguf_count(array);
    *out = bm_alloc(*count, sizeof **out);
    BM_FAIL_IF(!*out, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < *count; i++)
        (*out)[i] = span_of(bm_gguf_string_at(array, i));
done:
    return status;
}

static bm_status read_tokens(bm_gguf_parts *out, const bm_gguf *gguf, bm_error *err)
{
    bm_tokenizer_parts *p = &out->parts;
    const bm_gguf_value *scores = NULL, *types = NULL;
    bm_status status = BM_OK;
    BM_TRY(read_strings(gguf, KEY("tokens"), &out->tokens, &p->num_tokens, err));
    BM_TRY(read_strings(gguf, KEY("merges"), &out->merges, &p->num_merges, err));
    BM_TRY(bm_gguf_get_numbers(gguf, KEY("scores"), &scores, err));
    BM_TRY(check_count(gguf, KEY("scores"), scores, p->num_tokens, err));
    BM_TRY(bm_gguf_get_integers(gguf, KEY("token_type"), &types, err));
    BM_TRY(check_count(gguf, KEY("token_type"), types, p->num_tokens, err));
    out->scores = scores ? bm_alloc(p->num_tokens, sizeof *out->scores) : NULL;
    out->types = types ? bm_alloc(p->num_tokens, sizeof *out->types) : NULL;
    BM_FAIL_IF((scores && !out->scores) || (types && !out->types), err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < p->num_tokens && scores; i++)
        out->scores[i] = (float)bm_gguf_number_at(scores, i);
    for (uint32_t i = 0; i < p->num_tokens && types; i++) {
        const int64_t type = bm_gguf_integer_at(types, i);
        out->types[i] = type < 0 || type > INT32_MAX ? -1 : (int32_t)type;
    }
    p->tokens = out->tokens;
    p->merges = out->merges;
    p->scores = out->scores;
    p->types = out->types;
done:
    return status;
}

static bm_status read_ids(bm_tokenizer_parts *p, const bm_gguf *gguf, bm_error *err)
{
    const struct {
        const char *key;
        uint32_t *id;
    } ids[] = {
        {KEY("bos_token_id"), &p->bos},         {KEY("eos_token_id"), &p->eos}, {KEY("unknown_token_id"), &p->unknown},
        {KEY("padding_token_id"), &p->padding}, {KEY("eot_token_id"), &p->eot}, {KEY("eom_token_id"), &p->eom},
    };
    bm_status status = BM_OK;
    for (size_t i = 0; i < BM_COUNT(ids) && status == BM_OK; i++) {
        int64_t id = -1;
        status = bm_gguf_get_integer(gguf, ids[i].key, 0, UINT32_MAX, -1, &id, err);
        *ids[i].id = id < 0 ? BM_PARTS_NO_ID : (uint32_t)id; // 2^32 - 1 is how some say that there is none
    }
    return status;
}

static bm_status read_flags(bm_tokenizer_parts *p, const bm_gguf *gguf, bm_error *err)
{
    const struct {
        const char *key;
        bm_parts_flag *flag;
    } flags[] = {
        {KEY("add_bos_token"), &p->add_bos},
        {KEY("add_eos_token"), &p->add_eos},
        {KEY("add_space_prefix"), &p->add_space_prefix},
    };
    bm_status status = BM_OK;
    for (size_t i = 0; i < BM_COUNT(flags) && status == BM_OK; i++) {
        bool value = false;
        status = bm_gguf_get_bool(gguf, flags[i].key, false, &value, err);
        *flags[i].flag = !bm_gguf_find(gguf, flags[i].key) ? BM_PARTS_ABSENT : value ? BM_PARTS_TRUE : BM_PARTS_FALSE;
    }
    return status;
}

bm_status bm_gguf_parts_read(bm_gguf_parts *out, const bm_gguf *gguf, bm_error *err)
{
    bm_status status = BM_OK;
    bm_gguf_string model, pre, chat;
    *out = (bm_gguf_parts){.parts = BM_TOKENIZER_PARTS_INIT};
    out->parts.name = bm_gguf_path(gguf);
    BM_TRY(bm_gguf_get_string(gguf, KEY("model"), &model, err));
    BM_FAIL_IF(!model.bytes, err, BM_E_FORMAT, "%s: no key \"" KEY("model") "\": the file has no tokenizer",
               bm_gguf_path(gguf));
    BM_TRY(bm_gguf_get_string(gguf, KEY("pre"), &pre, err));
    BM_TRY(bm_gguf_get_string(gguf, "tokenizer.chat_template", &chat, err));
    out->parts.model = span_of(model);
    out->parts.pre = span_of(pre);
    out->parts.chat_template = span_of(chat);
    BM_TRY(read_tokens(out, gguf, err));
    BM_TRY(read_ids(&out->parts, gguf, err));
    BM_TRY(read_flags(&out->parts, gguf, err));
done:
    return status;
}

static bm_status check_names(const bm_gguf *gguf, const bm_gguf_value *tokens, bm_error *err)
{
    bm_status status = BM_OK;
    const uint32_t count = (uint32_t)bm_gguf_count(tokens);
    bm_map *ids = bm_map_create(count);
    BM_FAIL_IF(!ids, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < count; i++) {
        const bm_gguf_string token = bm_gguf_string_at(tokens, i);
        char shown[80];
        uint32_t first = 0;
        bool existing = false;
        BM_FAIL_IF(token.length > 0 && !bm_map_insert(ids, token.bytes, (size_t)token.length, i, &existing), err,
                   BM_E_MEMORY, "out of memory");
        BM_FAIL_IF(existing && bm_map_find(ids, token.bytes, (size_t)token.length, &first), err, BM_E_FORMAT,
                   "%s: key \"" KEY("tokens") "\": tokens %u and %u are both \"%s\"", bm_gguf_path(gguf), first, i,
                   bm_printable(token.bytes, (size_t)token.length, shown, sizeof shown));
    }
done:
    bm_map_destroy(&ids);
    return status;
}

bm_status bm_gguf_tokenizer_check_peers(const bm_gguf *gguf, bm_error *err)
{
    static const char *const keys[] = {KEY("scores"), KEY("token_type")};
    bm_status status = BM_OK;
    const bm_gguf_value *tokens = NULL, *arrays[BM_COUNT(keys)] = {NULL}, *merges = NULL;
    bm_gguf_string model;
    BM_TRY(bm_gguf_get_string(gguf, KEY("model"), &model, err));
    if (!model.bytes) // a file without a tokenizer is written as one
        goto done;
    if (bm_gguf_string_is(model, "no_vocab") || bm_gguf_string_is(model, "none")) // ids alone
        goto done;
    BM_TRY(bm_gguf_get_strings(gguf, KEY("tokens"), &tokens, err));
    BM_FAIL_IF(!tokens, err, BM_E_FORMAT, "%s: no key \"" KEY("tokens") "\" beside \"" KEY("model") "\"",
               bm_gguf_path(gguf));
    BM_FAIL_IF(bm_gguf_count(tokens) > MAX_TOKENS, err, BM_E_FORMAT, "%s: key \"" KEY("tokens") "\": an array of %llu",
               bm_gguf_path(gguf), (unsigned long long)bm_gguf_count(tokens));
    BM_TRY(bm_gguf_get_numbers(gguf, keys[0], &arrays[0], err));
    BM_TRY(bm_gguf_get_integers(gguf, keys[1], &arrays[1], err));
    for (size_t i = 0; i < BM_COUNT(keys); i++)
        BM_FAIL_IF(arrays[i] && bm_gguf_count(arrays[i]) < bm_gguf_count(tokens), err, BM_E_FORMAT,
                   "%s: key \"%s\": an array of %llu, expected %llu, one for each token", bm_gguf_path(gguf), keys[i],
                   (unsigned long long)bm_gguf_count(arrays[i]), (unsigned long long)bm_gguf_count(tokens));
    BM_TRY(bm_gguf_get_strings(gguf, KEY("merges"), &merges, err));
    BM_FAIL_IF(bm_gguf_string_is(model, "gpt2") && !merges, err, BM_E_FORMAT,
               "%s: no key \"" KEY("merges") "\" beside \"" KEY("model") "\": \"gpt2\"", bm_gguf_path(gguf));
    BM_TRY(check_names(gguf, tokens, err));
done:
    return status;
}

void bm_gguf_parts_free(bm_gguf_parts *parts)
{
    bm_free(parts->tokens);
    bm_free(parts->merges);
    bm_free(parts->scores);
    bm_free(parts->types);
    *parts = (bm_gguf_parts){0};
}

// {"bos_token_id": 1, "eos_token_id": [2, 5]} of the ids that the file names.
static bm_status write_ids(const bm_gguf *gguf, bm_string *json, bm_error *err)
{
    bm_tokenizer_parts p = BM_TOKENIZER_PARTS_INIT;
    bm_json_writer w;
    const bm_status status = read_ids(&p, gguf, err);
    const uint32_t ends[] = {p.eos, p.eot, p.eom};
    bm_json_writer_init(&w, json, 0);
    bm_json_begin_object(&w, NULL);
    if (p.bos != BM_PARTS_NO_ID)
        bm_json_put_integer(&w, "bos_token_id", p.bos);
    bm_json_begin_array(&w, "eos_token_id");
    for (size_t i = 0; i < BM_COUNT(ends); i++)
        if (ends[i] != BM_PARTS_NO_ID)
            bm_json_put_integer(&w, NULL, ends[i]);
    bm_json_end_array(&w);
    bm_json_end_object(&w);
    return status == BM_OK && json->failed ? bm_fail(err, BM_E_MEMORY, "out of memory") : status;
}

// What lies beside a tokenizer.json: the files that the parts make, where they are parts of a tokenizer; else the ids.
static bm_status write_configs(const bm_gguf *gguf, bm_string texts[TEXT_NUM_CONFIGS], bm_error *err)
{
    bm_gguf_parts parts = {0};
    bm_status status = bm_gguf_parts_read(&parts, gguf, NULL);
    if (status == BM_OK)
        status = bm_tokenizer_parts_to_files(&parts.parts, NULL, &texts[TEXT_CONFIG_TOKENIZER],
                                             &texts[TEXT_CONFIG_GENERATION], NULL);
    bm_gguf_parts_free(&parts);
    if (status == BM_OK)
        return BM_OK;
    bm_string_clear(&texts[TEXT_CONFIG_TOKENIZER]);
    bm_string_clear(&texts[TEXT_CONFIG_GENERATION]);
    return write_ids(gguf, &texts[TEXT_CONFIG_MODEL], err);
}

static bm_status from_json(bm_tokenizer **out, const bm_gguf *gguf, bm_gguf_string text, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tokenizer *tokenizer = NULL;
    bm_json *root = NULL, *configs[TEXT_NUM_CONFIGS] = {0};
    bm_string texts[TEXT_NUM_CONFIGS] = {BM_STRING_INIT, BM_STRING_INIT, BM_STRING_INIT};
    char *name = bm_format("%s: key \"" KEY_JSON "\"", bm_gguf_path(gguf));
    char *paths[TEXT_NUM_CONFIGS] = {name, name, name};
    BM_FAIL_IF(!name, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(text.length > TEXT_MAX_JSON_BYTES, err, BM_E_FORMAT, "%s: found %llu bytes, expected at most %llu", name,
               (unsigned long long)text.length, (unsigned long long)TEXT_MAX_JSON_BYTES);
    BM_TRY(bm_json_parse(&root, text.bytes, (size_t)text.length, name, err));
    BM_TRY(text_tokenizer_make(&tokenizer, root, name, err));
    BM_TRY(write_configs(gguf, texts, err));
    for (int i = 0; i < TEXT_NUM_CONFIGS; i++)
        if (texts[i].length > 0)
            BM_TRY(bm_json_parse(&configs[i], texts[i].data, texts[i].length, name, err));
    BM_TRY(text_config_apply(tokenizer, configs, paths, err));
    *out = tokenizer;
    tokenizer = NULL;
done:
    bm_tokenizer_close(&tokenizer);
    bm_json_destroy(&root);
    for (int i = 0; i < TEXT_NUM_CONFIGS; i++) {
        bm_json_destroy(&configs[i]);
        bm_string_free(&texts[i]);
    }
    bm_free(name);
    return status;
}

bm_status bm_tokenizer_from_gguf(bm_tokenizer **out, const bm_gguf *gguf, bm_error *err)
{
    bm_gguf_parts parts = {0};
    bm_gguf_string text;
    bm_status status = bm_gguf_get_string(gguf, KEY_JSON, &text, err);
    if (status == BM_OK && text.bytes)
        return from_json(out, gguf, text, err);
    if (status == BM_OK)
        status = bm_gguf_parts_read(&parts, gguf, err);
    if (status == BM_OK)
        status = bm_tokenizer_from_parts(out, &parts.parts, err);
    bm_gguf_parts_free(&parts);
    return status;
}

bm_status bm_gguf_tokenizer_files(const bm_gguf *gguf, bm_string *json, bm_string *config, bm_string *generation,
                                  bm_error *err)
{
    bm_status status = BM_OK;
    bm_gguf_parts parts = {0};
    bm_gguf_string text;
    BM_TRY(bm_gguf_get_string(gguf, KEY_JSON, &text, err));
    status = bm_gguf_parts_read(&parts, gguf, err);
    if (status == BM_OK)
        status = bm_tokenizer_parts_to_files(&parts.parts, text.bytes ? NULL : json, config, generation, err);
    if (!text.bytes)
        goto done;
    if (status != BM_OK) { // the text counts, whatever the parts are
        bm_string_clear(config);
        bm_string_clear(generation);
    }
    status = bm_string_append_bytes(json, text.bytes, (size_t)text.length) ? BM_OK
                                                                           : bm_fail(err, BM_E_MEMORY, "out of memory");
done:
    bm_gguf_parts_free(&parts);
    return status;
}

const char *bm_gguf_describe_tokenizer(const bm_gguf *gguf, char out[BM_GGUF_TOKENIZER_SIZE])
{
    const bm_gguf_value *tokens = NULL;
    bm_gguf_string model, pre, json;
    char shown[2][40];
    (void)bm_gguf_get_string(gguf, KEY_JSON, &json, NULL);
    if (bm_gguf_get_string(gguf, KEY("model"), &model, NULL) != BM_OK || !model.bytes ||
        bm_gguf_get_strings(gguf, KEY("tokens"), &tokens, NULL) != BM_OK || !tokens) {
        snprintf(out, BM_GGUF_TOKENIZER_SIZE, "%s", json.bytes ? "that of its tokenizer.json" : "none");
        return out;
    }
    (void)bm_gguf_get_string(gguf, KEY("pre"), &pre, NULL);
    snprintf(out, BM_GGUF_TOKENIZER_SIZE, "%s%s%s%s, %llu tokens%s",
             bm_printable(model.bytes, model.length, shown[0], sizeof shown[0]), pre.bytes ? " (" : "",
             bm_printable(pre.bytes ? pre.bytes : "", pre.length, shown[1], sizeof shown[1]), pre.bytes ? ")" : "",
             (unsigned long long)bm_gguf_count(tokens), json.bytes ? "; with its tokenizer.json" : "");
    return out;
}
