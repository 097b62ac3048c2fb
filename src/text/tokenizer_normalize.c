// Normalizers: Prepend, Replace, NFC, and Sequences of them.
//
// Each piece between added tokens is normalized by itself. A chain of replacements can blow a text up; what all
// components write together is bounded by the encoder's budget.
#include "text/tokenizer_internal.h"

#include "text/unicode.h"

#include <string.h>

bm_status text_components_flatten(text_components *out, const bm_json *json, const char *list_key, const char *where,
                                  bm_error *err)
{
    // An explicit stack: next component to visit at each level of Sequences (json.c bounds the nesting by 64 anyway).
    const bm_json *stack[TEXT_MAX_COMPONENTS];
    char found[BM_JSON_FOUND_SIZE];
    bool is_list[TEXT_MAX_COMPONENTS]; // false: the top component, which has no siblings to visit
    uint32_t depth = 0;
    out->count = 0;
    if (!json || bm_json_kind_of(json) == BM_JSON_NULL)
        return BM_OK;
    stack[0] = json;
    is_list[0] = false;
    depth = 1;
    while (depth > 0) {
        const bm_json *item = stack[depth - 1];
        if (!item) {
            depth--;
            continue;
        }
        stack[depth - 1] = is_list[depth - 1] ? bm_json_next(item) : NULL;
        const bm_json *type = bm_json_kind_of(item) == BM_JSON_OBJECT ? bm_json_find(item, "type") : NULL;
        if (!type || bm_json_kind_of(type) != BM_JSON_STRING)
            return bm_fail(err, BM_E_FORMAT, "%s: expected an object with a key \"type\", found %s", where,
                           bm_json_found(item, found, sizeof found));
        if (strcmp(bm_json_string(type), "Sequence") == 0) {
            const bm_json *list = bm_json_find(item, list_key);
            if (!list || bm_json_kind_of(list) != BM_JSON_ARRAY)
                return bm_fail(err, BM_E_FORMAT, "%s: Sequence: key \"%s\": expected an array", where, list_key);
            if (depth == TEXT_MAX_COMPONENTS)
                return bm_fail(err, BM_E_FORMAT, "%s: Sequences nested too deeply", where);
            stack[depth] = bm_json_first(list);
            is_list[depth++] = true;
            continue;
        }
        if (out->count == TEXT_MAX_COMPONENTS)
            return bm_fail(err, BM_E_FORMAT, "%s: more than %u components", where, TEXT_MAX_COMPONENTS);
        out->types[out->count] = bm_json_string(type);
        out->items[out->count++] = item;
    }
    return BM_OK;
}

static bm_status load_one(text_normalizer *normalizer, const char *type, const bm_json *json, const char *where,
                          bm_error *err)
{
    if (strcmp(type, "NFC") == 0) {
        normalizer->kind = NORMALIZER_NFC;
        return BM_OK;
    }
    if (strcmp(type, "Prepend") == 0) {
        normalizer->kind = NORMALIZER_PREPEND;
        return text_literal_get(&normalizer->content, json, "prepend", 0, where, err);
    }
    if (strcmp(type, "Replace") == 0) {
        normalizer->kind = NORMALIZER_REPLACE;
        bm_status status = text_pattern_parse(&normalizer->pattern, json, where, err);
        if (status == BM_OK)
            status = text_literal_get(&normalizer->content, json, "content", 0, where, err);
        if (status == BM_OK && normalizer->pattern.regex && strchr(normalizer->content, '$'))
            status = bm_fail(err, BM_E_UNSUPPORTED, "%s: Replace: groups ($1) in \"content\" are not supported", where);
        return status;
    }
    char shown[64];
    return bm_fail(err, BM_E_UNSUPPORTED,
                   "%s: type \"%s\" is not supported, expected Sequence, Prepend, Replace or NFC", where,
                   bm_printable(type, strlen(type), shown, sizeof shown));
}

bm_status text_normalizers_load(bm_tokenizer *tokenizer, const bm_json *json, bm_error *err)
{
    bm_status status = BM_OK;
    text_components components;
    char *where = bm_format("%s: normalizer", tokenizer->path);
    BM_FAIL_IF(!where, err, BM_E_MEMORY, "%s: out of memory", tokenizer->path);
    BM_TRY(text_components_flatten(&components, json, "normalizers", where, err));
    tokenizer->normalizers = bm_alloc_zero(components.count, sizeof *tokenizer->normalizers);
    BM_FAIL_IF(!tokenizer->normalizers, err, BM_E_MEMORY, "%s: out of memory", tokenizer->path);
    for (uint32_t i = 0; i < components.count; i++) {
        tokenizer->num_normalizers = i + 1;
        BM_TRY(load_one(&tokenizer->normalizers[i], components.types[i], components.items[i], where, err));
    }
done:
    bm_free(where);
    return status;
}

void text_normalizers_clear(bm_tokenizer *tokenizer)
{
    for (uint32_t i = 0; i < tokenizer->num_normalizers; i++) {
        bm_free(tokenizer->normalizers[i].content);
        text_pattern_clear(&tokenizer->normalizers[i].pattern);
    }
    bm_free(tokenizer->normalizers);
}

bm_status text_encoder_spend(text_encoder *encoder, size_t size_bytes)
{
    if (size_bytes > encoder->budget_bytes)
        return bm_fail(encoder->err, BM_E_FORMAT,
                       "the tokenizer's components blow the text up to more than %u times its size", TEXT_MAX_GROWTH);
    encoder->budget_bytes -= size_bytes;
    return BM_OK;
}

static bm_status replace(text_encoder *encoder, const text_normalizer *normalizer, const char *text, size_t length,
                         bm_string *out)
{
    const size_t content_length = strlen(normalizer->content);
    text_matcher matcher;
    text_matcher_begin(&matcher, &normalizer->pattern, text, length, &encoder->regex_effort);
    size_t begin = 0, end = 0, copied = 0;
    bool found = true;
    for (;;) {
        bm_status status = text_matcher_next(&matcher, &begin, &end, &found, encoder->err);
        if (status != BM_OK)
            return status;
        if (!found)
            break;
        status = text_encoder_spend(encoder, begin - copied + content_length);
        if (status != BM_OK)
            return status;
        bm_string_append_bytes(out, text + copied, begin - copied);
        bm_string_append_bytes(out, normalizer->content, content_length);
        copied = end;
    }
    bm_string_append_bytes(out, text + copied, length - copied);
    return text_encoder_spend(encoder, length - copied);
}

bm_status text_normalize(text_encoder *encoder, const char *text, size_t length, const bm_string **out)
{
    const bm_tokenizer *tokenizer = encoder->tokenizer;
    uint32_t current = 0;
    bm_string_clear(&encoder->normalized[0]);
    bm_string_append_bytes(&encoder->normalized[0], text, length);
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < tokenizer->num_normalizers && status == BM_OK; i++) {
        const text_normalizer *normalizer = &tokenizer->normalizers[i];
        const bm_string *from = &encoder->normalized[current];
        bm_string *to = &encoder->normalized[1 - current];
        bm_string_clear(to);
        switch (normalizer->kind) {
        case NORMALIZER_PREPEND:
            if (from->length > 0)
                bm_string_append(to, normalizer->content);
            bm_string_append_bytes(to, bm_string_text(from), from->length);
            status = text_encoder_spend(encoder, to->length);
            break;
        case NORMALIZER_REPLACE:
            status = replace(encoder, normalizer, bm_string_text(from), from->length, to);
            break;
        case NORMALIZER_NFC:
            if (!text_append_nfc(to, bm_string_text(from), from->length))
                to->failed = true;
            status = text_encoder_spend(encoder, to->length);
            break;
        }
        current = 1 - current;
    }
    if (status == BM_OK && (encoder->normalized[0].failed || encoder->normalized[1].failed))
        status = bm_fail(encoder->err, BM_E_MEMORY, "out of memory for a normalized text");
    *out = &encoder->normalized[current];
    return status;
}
