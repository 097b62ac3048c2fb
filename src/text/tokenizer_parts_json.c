// The tokenizer.json of parts that were checked.
//
// All tokens stand in the model's vocabulary; those that are cut out of the text stand among the added tokens as well.
// Source    formats.md 8.3, 8.6 to 8.9: the components of Llama 2 and of byte-level tokenizers.
#include "text/tokenizer_parts_internal.h"

#include <string.h>

static void put_component(bm_json_writer *json, const char *key, const char *type)
{
    bm_json_begin_object(json, key);
    bm_json_put_string(json, "type", type);
}

static void put_pattern(bm_json_writer *json, const char *kind, const char *text)
{
    bm_json_begin_object(json, "pattern");
    bm_json_put_string(json, kind, text);
    bm_json_end_object(json);
}

static void put_replace(bm_json_writer *json, const char *from, const char *to)
{
    put_component(json, NULL, "Replace");
    put_pattern(json, "String", from);
    bm_json_put_string(json, "content", to);
    bm_json_end_object(json);
}

static void put_byte_level(bm_json_writer *json, const char *key)
{
    put_component(json, key, "ByteLevel");
    bm_json_put_bool(json, "add_prefix_space", false);
    bm_json_put_bool(json, "trim_offsets", true);
    bm_json_put_bool(json, "use_regex", false);
    bm_json_end_object(json);
}

static void put_added_tokens(bm_json_writer *json, const text_parts *parts)
{
    bm_json_begin_array(json, "added_tokens");
    for (uint32_t id = 0; id < parts->given->num_tokens; id++) {
        if (!text_parts_is_added(parts, id))
            continue;
        bm_json_begin_object(json, NULL);
        bm_json_put_integer(json, "id", id);
        bm_json_put_text(json, "content", parts->tokens[id].data, parts->tokens[id].length);
        bm_json_put_bool(json, "single_word", false);
        bm_json_put_bool(json, "lstrip", false);
        bm_json_put_bool(json, "rstrip", false);
        bm_json_put_bool(json, "normalized", false);
        bm_json_put_bool(json, "special", text_parts_type(parts, id) != BM_TOKEN_USER_DEFINED);
        bm_json_end_object(json);
    }
    bm_json_end_array(json);
}

static void put_normalizer(bm_json_writer *json, const text_parts *parts)
{
    if (!parts->is_spm && parts->pre->composes) {
        put_component(json, "normalizer", "NFC");
        bm_json_end_object(json);
    } else if (!parts->is_spm) {
        bm_json_put_null(json, "normalizer");
    } else {
        put_component(json, "normalizer", "Sequence");
        bm_json_begin_array(json, "normalizers");
        if (parts->add_space_prefix) {
            put_component(json, NULL, "Prepend");
            bm_json_put_string(json, "prepend", TEXT_SPACE);
            bm_json_end_object(json);
        }
        put_replace(json, " ", TEXT_SPACE);
        bm_json_end_array(json);
        bm_json_end_object(json);
    }
}

static void put_pre_tokenizer(bm_json_writer *json, const text_parts *parts)
{
    if (parts->is_spm) {
        bm_json_put_null(json, "pre_tokenizer");
        return;
    }
    put_component(json, "pre_tokenizer", "Sequence");
    bm_json_begin_array(json, "pretokenizers");
    for (uint32_t i = 0; i < TEXT_PRE_SPLITS && parts->pre->splits[i]; i++) {
        const bool is_digits = strcmp(parts->pre->splits[i], TEXT_PRE_DIGITS) == 0;
        put_component(json, NULL, is_digits ? "Digits" : "Split");
        if (is_digits) {
            bm_json_put_bool(json, "individual_digits", true);
        } else {
            put_pattern(json, "Regex", parts->pre->splits[i]);
            bm_json_put_string(json, "behavior", "Isolated");
            bm_json_put_bool(json, "invert", false);
        }
        bm_json_end_object(json);
    }
    put_byte_level(json, NULL);
    bm_json_end_array(json);
    bm_json_end_object(json);
}

// One item of a template: {"SpecialToken" or "Sequence": {"id", "type_id"}}.
static void put_item(bm_json_writer *json, const char *kind, const char *id, int64_t type)
{
    bm_json_begin_object(json, NULL);
    bm_json_begin_object(json, kind);
    bm_json_put_string(json, "id", id);
    bm_json_put_integer(json, "type_id", type);
    bm_json_end_object(json);
    bm_json_end_object(json);
}

static void put_special(bm_json_writer *json, const char *name, uint32_t id)
{
    bm_json_begin_object(json, name);
    bm_json_put_string(json, "id", name);
    bm_json_begin_array(json, "ids");
    bm_json_put_integer(json, NULL, id);
    bm_json_end_array(json);
    bm_json_begin_array(json, "tokens");
    bm_json_put_string(json, NULL, name);
    bm_json_end_array(json);
    bm_json_end_object(json);
}

static void put_template(bm_json_writer *json, const text_parts *parts, const char *bos, const char *eos)
{
    static const char *const sequences[] = {"A", "B"};
    put_component(json, "post_processor", "TemplateProcessing");
    for (uint32_t pair = 0; pair < 2; pair++) {
        bm_json_begin_array(json, pair ? "pair" : "single");
        for (uint32_t i = 0; i <= pair; i++) {
            if (parts->add_bos)
                put_item(json, "SpecialToken", bos, i);
            put_item(json, "Sequence", sequences[i], i);
            if (parts->add_eos)
                put_item(json, "SpecialToken", eos, i);
        }
        bm_json_end_array(json);
    }
    bm_json_begin_object(json, "special_tokens");
    if (parts->add_bos)
        put_special(json, bos, parts->bos);
    if (parts->add_eos && !(parts->add_bos && parts->bos == parts->eos))
        put_special(json, eos, parts->eos);
    bm_json_end_object(json);
    bm_json_end_object(json);
}

static char *copy_token(const text_parts *parts, uint32_t id)
{
    return id == TEXT_NO_ID ? bm_string_copy("")
                            : bm_format("%.*s", (int)parts->tokens[id].length, parts->tokens[id].data);
}

static bm_status put_post_processor(bm_json_writer *json, const text_parts *parts, bm_error *err)
{
    char *bos = copy_token(parts, parts->bos), *eos = copy_token(parts, parts->eos);
    bm_status status = BM_OK;
    if (!bos || !eos)
        status = bm_fail(err, BM_E_MEMORY, "%s: out of memory for the tokenizer", parts->given->name);
    else if (parts->add_bos || parts->add_eos)
        put_template(json, parts, bos, eos);
    else if (parts->is_spm)
        bm_json_put_null(json, "post_processor");
    else
        put_byte_level(json, "post_processor");
    bm_free(bos);
    bm_free(eos);
    return status;
}

static void put_decoder(bm_json_writer *json, const text_parts *parts)
{
    static const char *const plain[] = {"ByteFallback", "Fuse"};
    if (!parts->is_spm) {
        put_byte_level(json, "decoder");
        return;
    }
    put_component(json, "decoder", "Sequence");
    bm_json_begin_array(json, "decoders");
    put_replace(json, TEXT_SPACE, " ");
    for (uint32_t i = 0; i < BM_COUNT(plain); i++) {
        put_component(json, NULL, plain[i]);
        bm_json_end_object(json);
    }
    if (parts->add_space_prefix) {
        put_component(json, NULL, "Strip");
        bm_json_put_string(json, "content", " ");
        bm_json_put_integer(json, "start", 1);
        bm_json_put_integer(json, "stop", 0);
        bm_json_end_object(json);
    }
    bm_json_end_array(json);
    bm_json_end_object(json);
}

static void put_merge(bm_json_writer *json, bm_text_span left, bm_text_span right)
{
    bm_json_begin_array(json, NULL);
    bm_json_put_text(json, NULL, left.data, left.length);
    bm_json_put_text(json, NULL, right.data, right.length);
    bm_json_end_array(json);
}

// Of "gpt2": "left right". A token may begin with a space in hostile files only; llama.cpp looks from the second byte.
static bm_status put_merges(bm_json_writer *json, const text_parts *parts, bm_error *err)
{
    const bm_tokenizer_parts *given = parts->given;
    for (uint32_t i = 0; i < given->num_merges; i++) {
        const bm_text_span merge = given->merges[i];
        const char *space = merge.length > 1 ? memchr(merge.data + 1, ' ', merge.length - 1) : NULL;
        const size_t left = space ? (size_t)(space - merge.data) : 0;
        char shown[80];
        if (!space || left + 1 == merge.length || !bm_utf8_is_valid(merge.data, merge.length) ||
            memchr(merge.data, 0, merge.length))
            return bm_fail(
                err, BM_E_FORMAT, "%s: key \"tokenizer.ggml.merges\": merge %u: expected \"left right\", found \"%s\"",
                given->name, i, bm_printable(merge.length ? merge.data : "", merge.length, shown, sizeof shown));
        put_merge(json, (bm_text_span){merge.data, left}, (bm_text_span){space + 1, merge.length - left - 1});
    }
    return BM_OK;
}

static bm_status put_pairs(bm_json_writer *json, const text_parts *parts, bm_error *err)
{
    text_pair *pairs = NULL;
    uint64_t count = 0;
    const bm_status status = text_parts_pairs(parts, &pairs, &count, err);
    for (uint64_t i = 0; status == BM_OK && i < count; i++)
        put_merge(json, parts->tokens[pairs[i].left], parts->tokens[pairs[i].right]);
    bm_free(pairs);
    return status;
}

static bm_status put_model(bm_json_writer *json, const text_parts *parts, bm_error *err)
{
    bm_status status = BM_OK;
    char *unknown = copy_token(parts, parts->unknown);
    BM_FAIL_IF(!unknown, err, BM_E_MEMORY, "%s: out of memory for the tokenizer", parts->given->name);
    put_component(json, "model", "BPE");
    bm_json_put_null(json, "dropout");
    bm_json_put_string(json, "unk_token", parts->is_spm && parts->unknown != TEXT_NO_ID ? unknown : NULL);
    bm_json_put_null(json, "continuing_subword_prefix");
    bm_json_put_null(json, "end_of_word_suffix");
    bm_json_put_bool(json, "fuse_unk", parts->is_spm);
    bm_json_put_bool(json, "byte_fallback", parts->is_spm);
    bm_json_put_bool(json, "ignore_merges", !parts->is_spm && parts->pre->ignore_merges);
    bm_json_begin_object(json, "vocab");
    for (uint32_t id = 0; id < parts->given->num_tokens; id++) { // a key is zero-terminated, a token is not
        char *token = copy_token(parts, id);
        BM_FAIL_IF(!token, err, BM_E_MEMORY, "%s: out of memory for the tokenizer", parts->given->name);
        bm_json_put_integer(json, token, id);
        bm_free(token);
    }
    bm_json_end_object(json);
    bm_json_begin_array(json, "merges");
    BM_TRY(parts->is_spm ? put_pairs(json, parts, err) : put_merges(json, parts, err));
    bm_json_end_array(json);
    bm_json_end_object(json);
done:
    bm_free(unknown);
    return status;
}

bm_status text_parts_write_json(const text_parts *parts, bm_string *out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_json_writer json;
    bm_json_writer_init(&json, out, 0);
    bm_json_begin_object(&json, NULL);
    bm_json_put_string(&json, "version", "1.0");
    bm_json_put_null(&json, "truncation");
    bm_json_put_null(&json, "padding");
    put_added_tokens(&json, parts);
    put_normalizer(&json, parts);
    put_pre_tokenizer(&json, parts);
    BM_TRY(put_post_processor(&json, parts, err));
    put_decoder(&json, parts);
    BM_TRY(put_model(&json, parts, err));
    bm_json_end_object(&json);
    bm_string_append(out, "\n");
done:
    return status;
}
