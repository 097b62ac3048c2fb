// A tokenizer from its parts: they are checked, written as the files of a folder, and read like those.
#include "text/tokenizer_parts_internal.h"

#include <math.h>
#include <string.h>

#define MAX_TOKEN_BYTES UINT16_MAX

// ---- checks ----

static bool is_text(bm_text_span span, const char *text)
{
    return span.length == strlen(text) && memcmp(span.data, text, span.length) == 0;
}

static const char *show(bm_text_span span, char *out, size_t size)
{
    return bm_printable(span.data ? span.data : "", span.length, out, size);
}

static bm_status check_kind(text_parts *out, bm_error *err)
{
    const bm_tokenizer_parts *parts = out->given;
    char shown[80];
    out->is_spm = is_text(parts->model, "llama");
    if (!out->is_spm && !is_text(parts->model, "gpt2"))
        return bm_fail(err, BM_E_UNSUPPORTED,
                       "%s: key \"tokenizer.ggml.model\": \"%s\" is not supported, expected llama or gpt2", parts->name,
                       show(parts->model, shown, sizeof shown));
    if (out->is_spm)
        return BM_OK;
    const bm_text_span pre = parts->pre.length ? parts->pre : (bm_text_span){"default", 7};
    out->pre = text_pre_find(pre.data, pre.length);
    if (out->pre)
        return BM_OK;
    bm_string known = BM_STRING_INIT;
    text_pre_list(&known);
    const bm_status status =
        bm_fail(err, BM_E_UNSUPPORTED, "%s: key \"tokenizer.ggml.pre\": \"%s\" is not supported, expected one of %s",
                parts->name, show(pre, shown, sizeof shown), bm_string_text(&known));
    bm_string_free(&known);
    return status;
}

static bm_status check_token(text_parts *out, uint32_t id, bm_error *err)
{
    const bm_tokenizer_parts *parts = out->given;
    bm_text_span token = parts->tokens[id];
    char shown[80];
    if (token.length == 0) { // llama.cpp names it so
        char *name = bm_format("[EMPTY_%u]", id);
        if (!name)
            return bm_fail(err, BM_E_MEMORY, "%s: out of memory for %u tokens", parts->name, parts->num_tokens);
        out->names[out->num_names++] = name;
        token = (bm_text_span){name, strlen(name)};
    }
    out->tokens[id] = token;
    if (token.length > MAX_TOKEN_BYTES || memchr(token.data, 0, token.length) ||
        !bm_utf8_is_valid(token.data, token.length))
        return bm_fail(err, BM_E_FORMAT,
                       "%s: key \"tokenizer.ggml.tokens\": token %u, \"%s\": expected valid UTF-8 of at most %u bytes "
                       "without a zero",
                       parts->name, id, show(token, shown, sizeof shown), MAX_TOKEN_BYTES);
    uint32_t first = 0;
    bool existing = false;
    if (!bm_map_insert(out->ids, token.data, token.length, id, &existing))
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory for %u tokens", parts->name, parts->num_tokens);
    if (existing && bm_map_find(out->ids, token.data, token.length, &first))
        return bm_fail(err, BM_E_FORMAT, "%s: key \"tokenizer.ggml.tokens\": tokens %u and %u are both \"%s\"",
                       parts->name, first, id, show(token, shown, sizeof shown));
    if (parts->types && (parts->types[id] < BM_TOKEN_NORMAL || parts->types[id] > BM_TOKEN_BYTE))
        return bm_fail(err, BM_E_FORMAT, "%s: key \"tokenizer.ggml.token_type\": token %u: expected 1..%d, found %d",
                       parts->name, id, BM_TOKEN_BYTE, parts->types[id]);
    if (out->is_spm && !isfinite(parts->scores[id]))
        return bm_fail(err, BM_E_FORMAT, "%s: key \"tokenizer.ggml.scores\": token %u: expected a number, found %g",
                       parts->name, id, (double)parts->scores[id]);
    return BM_OK;
}

static bm_status check_tokens(text_parts *out, bm_error *err)
{
    const bm_tokenizer_parts *parts = out->given;
    const uint32_t count = parts->num_tokens;
    if (count == 0 || count > TEXT_MAX_ID)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"tokenizer.ggml.tokens\": %u tokens, expected 1..%u", parts->name,
                       count, TEXT_MAX_ID);
    if (out->is_spm && !parts->scores)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"tokenizer.ggml.scores\": expected scores beside model \"llama\"",
                       parts->name);
    out->tokens = bm_alloc(count, sizeof *out->tokens);
    out->names = bm_alloc(count, sizeof *out->names);
    out->ids = bm_map_create(count);
    if (!out->tokens || !out->names || !out->ids)
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory for %u tokens", parts->name, count);
    bm_status status = BM_OK;
    for (uint32_t id = 0; id < count && status == BM_OK; id++)
        status = check_token(out, id, err);
    return status;
}

// An id that is given must be one of a token; fallback is what llama.cpp takes of "llama" where it is absent.
static bm_status check_id(const text_parts *parts, const char *key, uint32_t given, uint32_t fallback, uint32_t *id,
                          bm_error *err)
{
    const uint32_t count = parts->given->num_tokens;
    *id = given;
    if (given == BM_PARTS_NO_ID)
        *id = parts->is_spm && fallback < count ? fallback : TEXT_NO_ID;
    else if (given >= count)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"tokenizer.ggml.%s\": expected 0..%u, found %u", parts->given->name,
                       key, count - 1, given);
    return BM_OK;
}

static bm_status check_flag(const text_parts *parts, const char *key, bm_parts_flag given, bool fallback, uint32_t id,
                            bool *flag, bm_error *err)
{
    *flag = given == BM_PARTS_ABSENT ? fallback && id != TEXT_NO_ID : given == BM_PARTS_TRUE;
    if (*flag && id == TEXT_NO_ID)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"tokenizer.ggml.%s\" is true, but there is no such token",
                       parts->given->name, key);
    return BM_OK;
}

bm_status text_parts_check(text_parts *out, const bm_tokenizer_parts *parts, bm_error *err)
{
    bm_status status = BM_OK;
    uint32_t spare = 0;
    *out = (text_parts){.given = parts};
    BM_TRY(check_kind(out, err));
    BM_TRY(check_tokens(out, err));
    BM_TRY(check_id(out, "bos_token_id", parts->bos, 1, &out->bos, err));
    BM_TRY(check_id(out, "eos_token_id", parts->eos, 2, &out->eos, err));
    BM_TRY(check_id(out, "unknown_token_id", parts->unknown, 0, &out->unknown, err));
    BM_TRY(check_id(out, "padding_token_id", parts->padding, TEXT_NO_ID, &out->padding, err));
    BM_TRY(check_id(out, "eot_token_id", parts->eot, TEXT_NO_ID, &spare, err));
    BM_TRY(check_id(out, "eom_token_id", parts->eom, TEXT_NO_ID, &spare, err));
    BM_TRY(check_flag(out, "add_bos_token", parts->add_bos, out->is_spm || (out->pre && out->pre->add_bos), out->bos,
                      &out->add_bos, err));
    BM_TRY(check_flag(out, "add_eos_token", parts->add_eos, false, out->eos, &out->add_eos, err));
    out->add_space_prefix = out->is_spm && parts->add_space_prefix != BM_PARTS_FALSE;
done:
    return status;
}

void text_parts_clear(text_parts *parts)
{
    for (uint32_t i = 0; i < parts->num_names; i++)
        bm_free(parts->names[i]);
    bm_free(parts->names);
    bm_free(parts->tokens);
    bm_map_destroy(&parts->ids);
}

bm_token_type text_parts_type(const text_parts *parts, uint32_t id)
{
    return parts->given->types ? (bm_token_type)parts->given->types[id] : BM_TOKEN_NORMAL;
}

bool text_parts_is_added(const text_parts *parts, uint32_t id)
{
    const bm_token_type type = text_parts_type(parts, id);
    return type == BM_TOKEN_UNKNOWN || type == BM_TOKEN_CONTROL || type == BM_TOKEN_USER_DEFINED;
}

// ---- what is made of them ----

static bm_status parse(bm_json **root, const bm_string *text, const char *name, bm_error *err)
{
    return text->failed ? bm_fail(err, BM_E_MEMORY, "%s: out of memory for the tokenizer", name)
                        : bm_json_parse(root, bm_string_text(text), text->length, name, err);
}

bm_status bm_tokenizer_from_parts(bm_tokenizer **out, const bm_tokenizer_parts *parts, bm_error *err)
{
    bm_status status = BM_OK;
    text_parts checked;
    bm_string text = BM_STRING_INIT;
    bm_json *root = NULL, *configs[TEXT_NUM_CONFIGS] = {0};
    bm_tokenizer *tokenizer = NULL;
    char *name = bm_string_copy(parts->name);
    char *paths[TEXT_NUM_CONFIGS] = {name, name, name};
    BM_TRY(text_parts_check(&checked, parts, err));
    BM_FAIL_IF(!name, err, BM_E_MEMORY, "out of memory for a tokenizer");
    BM_TRY(text_parts_write_json(&checked, &text, err));
    BM_TRY(parse(&root, &text, name, err));
    bm_string_free(&text);
    BM_TRY(text_tokenizer_make(&tokenizer, root, name, err));
    text_parts_write_config(&checked, &text);
    BM_TRY(parse(&configs[TEXT_CONFIG_TOKENIZER], &text, name, err));
    bm_string_clear(&text);
    text_parts_write_generation(&checked, &text);
    BM_TRY(parse(&configs[TEXT_CONFIG_GENERATION], &text, name, err));
    BM_TRY(text_config_apply(tokenizer, configs, paths, err));
    if (checked.is_spm)
        text_parts_rank(tokenizer, parts->scores);
    *out = tokenizer;
    tokenizer = NULL;
done:
    bm_tokenizer_close(&tokenizer);
    bm_json_destroy(&root);
    bm_json_destroy(&configs[TEXT_CONFIG_TOKENIZER]);
    bm_json_destroy(&configs[TEXT_CONFIG_GENERATION]);
    bm_string_free(&text);
    text_parts_clear(&checked);
    bm_free(name);
    return status;
}

bm_status bm_tokenizer_parts_to_files(const bm_tokenizer_parts *parts, bm_string *json, bm_string *config,
                                      bm_string *generation, bm_error *err)
{
    text_parts checked;
    bm_status status = text_parts_check(&checked, parts, err);
    if (status == BM_OK && json)
        status = text_parts_write_json(&checked, json, err);
    if (status == BM_OK && config)
        text_parts_write_config(&checked, config);
    if (status == BM_OK && generation)
        text_parts_write_generation(&checked, generation);
    if (status == BM_OK && ((json && json->failed) || (config && config->failed) || (generation && generation->failed)))
        status = bm_fail(err, BM_E_MEMORY, "%s: out of memory for the tokenizer", parts->name);
    text_parts_clear(&checked);
    return status;
}
