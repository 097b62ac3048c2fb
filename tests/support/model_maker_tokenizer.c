// Tokenizers for made models. Pieces beyond the single characters are grown one letter at a time from a space and the
// letters, in order of length: every piece is a shorter piece and a letter, which is its merge, and no two are equal.
#include "support/model_maker.h"

#include "base/file.h"
#include "formats/json.h"
#include "support/folders.h"

#include <string.h>

static const char letters[] = "etaoinshrdlucmfwypvbgkqjxz"; // by their frequency in English

// What is being written: the list of pieces, ids being their places.
typedef struct vocabulary {
    const model_maker_params *params;
    char **pieces;
    uint32_t count;
    uint32_t first_merged; // pieces from here on come from merges
    uint32_t *prefix;      // [vocab_size] of a merged piece, the piece without its last letter
    bool failed;
} vocabulary;

static void add(vocabulary *v, const char *piece)
{
    if (v->count == v->params->vocab_size)
        return;
    v->pieces[v->count] = bm_string_copy(piece);
    v->failed = v->failed || !v->pieces[v->count];
    v->count++;
}

// A code point below 0x800 as UTF-8.
static void put_utf8(char out[4], uint32_t code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        out[1] = '\0';
    } else {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 63));
        out[2] = '\0';
    }
}

static bool is_plain_byte(uint32_t byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

// The 256 bytes: printable ones stand for themselves, the others take the code points from 256 on. Source: GPT-2's
// encoder.
static void add_byte_characters(vocabulary *v)
{
    char text[4];
    for (uint32_t plain = 0; plain < 2; plain++) {
        uint32_t next = 256;
        for (uint32_t byte = 0; byte < 256; byte++) {
            if (is_plain_byte(byte) != (plain == 0))
                continue;
            put_utf8(text, plain == 0 ? byte : next++);
            add(v, text);
        }
    }
}

static void add_fallback_bytes(vocabulary *v)
{
    static const char digits[] = "0123456789ABCDEF";
    for (uint32_t byte = 0; byte < 256; byte++) {
        const char text[] = {'<', '0', 'x', digits[byte / 16], digits[byte % 16], '>', '\0'};
        add(v, text);
    }
}

static uint32_t find(const vocabulary *v, const char *piece)
{
    for (uint32_t i = 0; i < v->count; i++)
        if (strcmp(v->pieces[i], piece) == 0)
            return i;
    return 0; // a tiny vocabulary without it: growing then starts from a special token, which never gets that far
}

static void grow(vocabulary *v, const char *space)
{
    uint32_t seeds[sizeof letters];
    const uint32_t num_seeds = sizeof letters; // the space and 26 letters
    seeds[0] = find(v, space);
    for (uint32_t i = 1; i < num_seeds; i++)
        seeds[i] = find(v, (const char[]){letters[i - 1], '\0'});
    v->first_merged = v->count;
    for (uint32_t i = 0; v->count < v->params->vocab_size && !v->failed; i++) {
        const uint32_t prefix = i < num_seeds ? seeds[i] : v->first_merged + i - num_seeds;
        for (uint32_t k = 0; letters[k] && v->count < v->params->vocab_size && !v->failed; k++) {
            bm_string text = BM_STRING_INIT;
            v->prefix[v->count] = prefix;
            v->failed = !bm_string_append(&text, v->pieces[prefix]) || !bm_string_append_bytes(&text, &letters[k], 1);
            if (!v->failed)
                add(v, text.data);
            bm_string_free(&text);
        }
    }
}

static void fill_vocabulary(vocabulary *v)
{
    if (v->params->tokenizer == MODEL_MAKER_BYTE_LEVEL) {
        add(v, "<s>");
        add(v, "</s>");
        add_byte_characters(v);
        grow(v, "\xc4\xa0"); // the byte of a space, 0x20, is the 33rd that is not plain: U+0120
        return;
    }
    add(v, "<unk>");
    add(v, "<s>");
    add(v, "</s>");
    if (v->params->vocab_size >= 259)
        add_fallback_bytes(v);
    add(v, "\xe2\x96\x81");
    for (uint32_t i = 0; letters[i]; i++)
        add(v, (const char[]){letters[i], '\0'});
    for (int c = '!'; c <= '~'; c++)
        if (c < 'a' || c > 'z')
            add(v, (const char[]){(char)c, '\0'});
    grow(v, "\xe2\x96\x81");
}

void model_maker_special_ids(const model_maker_params *params, uint32_t *bos, uint32_t *eos)
{
    *bos = params->tokenizer == MODEL_MAKER_BYTE_LEVEL ? 0 : 1;
    *eos = *bos + 1;
}

static void put_added_tokens(bm_json_writer *json, const vocabulary *v, uint32_t num_special)
{
    bm_json_begin_array(json, "added_tokens");
    for (uint32_t id = 0; id < num_special; id++) {
        bm_json_begin_object(json, NULL);
        bm_json_put_integer(json, "id", id);
        bm_json_put_string(json, "content", v->pieces[id]);
        bm_json_put_bool(json, "single_word", false);
        bm_json_put_bool(json, "lstrip", false);
        bm_json_put_bool(json, "rstrip", false);
        bm_json_put_bool(json, "normalized", false);
        bm_json_put_bool(json, "special", true);
        bm_json_end_object(json);
    }
    bm_json_end_array(json);
}

// An object with one string beside its type.
static void put_typed(bm_json_writer *json, const char *type, const char *key, const char *value)
{
    bm_json_begin_object(json, NULL);
    bm_json_put_string(json, "type", type);
    if (key)
        bm_json_put_string(json, key, value);
    bm_json_end_object(json);
}

static void put_replace(bm_json_writer *json, const char *pattern, const char *content)
{
    bm_json_begin_object(json, NULL);
    bm_json_put_string(json, "type", "Replace");
    bm_json_begin_object(json, "pattern");
    bm_json_put_string(json, "String", pattern);
    bm_json_end_object(json);
    bm_json_put_string(json, "content", content);
    bm_json_end_object(json);
}

static void put_template_piece(bm_json_writer *json, const char *kind, const char *id)
{
    bm_json_begin_object(json, NULL);
    bm_json_begin_object(json, kind);
    bm_json_put_string(json, "id", id);
    bm_json_put_integer(json, "type_id", 0);
    bm_json_end_object(json);
    bm_json_end_object(json);
}

// <s> in front of the text.
static void put_post_processor(bm_json_writer *json, uint32_t bos)
{
    bm_json_begin_object(json, "post_processor");
    bm_json_put_string(json, "type", "TemplateProcessing");
    bm_json_begin_array(json, "single");
    put_template_piece(json, "SpecialToken", "<s>");
    put_template_piece(json, "Sequence", "A");
    bm_json_end_array(json);
    bm_json_begin_array(json, "pair");
    put_template_piece(json, "SpecialToken", "<s>");
    put_template_piece(json, "Sequence", "A");
    put_template_piece(json, "Sequence", "B");
    bm_json_end_array(json);
    bm_json_begin_object(json, "special_tokens");
    bm_json_begin_object(json, "<s>");
    bm_json_put_string(json, "id", "<s>");
    bm_json_begin_array(json, "ids");
    bm_json_put_integer(json, NULL, bos);
    bm_json_end_array(json);
    bm_json_begin_array(json, "tokens");
    bm_json_put_string(json, NULL, "<s>");
    bm_json_end_array(json);
    bm_json_end_object(json);
    bm_json_end_object(json);
    bm_json_end_object(json);
}

static void put_byte_level(bm_json_writer *json, const char *key, bool use_regex)
{
    bm_json_begin_object(json, key);
    bm_json_put_string(json, "type", "ByteLevel");
    bm_json_put_bool(json, "add_prefix_space", false);
    bm_json_put_bool(json, "trim_offsets", true);
    bm_json_put_bool(json, "use_regex", use_regex);
    bm_json_end_object(json);
}

static void put_pipeline(bm_json_writer *json, const model_maker_params *p, uint32_t bos)
{
    if (p->tokenizer == MODEL_MAKER_BYTE_LEVEL) {
        bm_json_put_null(json, "normalizer");
        put_byte_level(json, "pre_tokenizer", true);
        put_post_processor(json, bos);
        put_byte_level(json, "decoder", true);
        return;
    }
    bm_json_begin_object(json, "normalizer");
    bm_json_put_string(json, "type", "Sequence");
    bm_json_begin_array(json, "normalizers");
    put_typed(json, "Prepend", "prepend", "\xe2\x96\x81");
    put_replace(json, " ", "\xe2\x96\x81");
    bm_json_end_array(json);
    bm_json_end_object(json);
    bm_json_put_null(json, "pre_tokenizer");
    put_post_processor(json, bos);
    bm_json_begin_object(json, "decoder");
    bm_json_put_string(json, "type", "Sequence");
    bm_json_begin_array(json, "decoders");
    put_replace(json, "\xe2\x96\x81", " ");
    put_typed(json, "ByteFallback", NULL, NULL);
    put_typed(json, "Fuse", NULL, NULL);
    bm_json_begin_object(json, NULL);
    bm_json_put_string(json, "type", "Strip");
    bm_json_put_string(json, "content", " ");
    bm_json_put_integer(json, "start", 1);
    bm_json_put_integer(json, "stop", 0);
    bm_json_end_object(json);
    bm_json_end_array(json);
    bm_json_end_object(json);
}

static void put_model(bm_json_writer *json, const vocabulary *v)
{
    const bool is_byte_level = v->params->tokenizer == MODEL_MAKER_BYTE_LEVEL;
    bm_json_begin_object(json, "model");
    bm_json_put_string(json, "type", "BPE");
    bm_json_put_null(json, "dropout");
    bm_json_put_string(json, "unk_token", is_byte_level ? NULL : "<unk>");
    bm_json_put_null(json, "continuing_subword_prefix");
    bm_json_put_null(json, "end_of_word_suffix");
    bm_json_put_bool(json, "fuse_unk", !is_byte_level);
    bm_json_put_bool(json, "byte_fallback", !is_byte_level && v->params->vocab_size >= 259);
    bm_json_put_bool(json, "ignore_merges", false);
    bm_json_begin_object(json, "vocab");
    for (uint32_t id = 0; id < v->count; id++)
        bm_json_put_integer(json, v->pieces[id], id);
    bm_json_end_object(json);
    bm_json_begin_array(json, "merges");
    for (uint32_t id = v->first_merged; id < v->count; id++) {
        bm_string merge = BM_STRING_INIT;
        const char *piece = v->pieces[id];
        (void)bm_string_append_format(&merge, "%s %c", v->pieces[v->prefix[id]], piece[strlen(piece) - 1]);
        bm_json_put_string(json, NULL, bm_string_text(&merge));
        bm_string_free(&merge);
    }
    bm_json_end_array(json);
    bm_json_end_object(json);
}

static void put_tokenizer(bm_json_writer *json, const vocabulary *v)
{
    uint32_t bos, eos;
    model_maker_special_ids(v->params, &bos, &eos);
    bm_json_begin_object(json, NULL);
    bm_json_put_string(json, "version", "1.0");
    bm_json_put_null(json, "truncation");
    bm_json_put_null(json, "padding");
    put_added_tokens(json, v, eos + 1);
    put_pipeline(json, v->params, bos);
    put_model(json, v);
    bm_json_end_object(json);
}

static void put_tokenizer_config(bm_json_writer *json, const model_maker_params *p)
{
    bm_json_begin_object(json, NULL);
    bm_json_put_bool(json, "add_bos_token", true);
    bm_json_put_bool(json, "add_eos_token", false);
    bm_json_put_string(json, "bos_token", "<s>");
    bm_json_put_bool(json, "clean_up_tokenization_spaces", false);
    bm_json_put_string(json, "eos_token", "</s>");
    bm_json_put_integer(json, "model_max_length", p->max_positions);
    bm_json_put_string(json, "tokenizer_class", "PreTrainedTokenizerFast");
    if (p->tokenizer != MODEL_MAKER_BYTE_LEVEL)
        bm_json_put_string(json, "unk_token", "<unk>");
    bm_json_end_object(json);
}

static bm_status write_text(const char *folder, const char *name, bm_string *text, bm_error *err)
{
    char *path = bm_path_join(folder, name);
    (void)bm_string_append(text, "\n");
    const bm_status status = !path || text->failed ? bm_fail(err, BM_E_MEMORY, "out of memory")
                                                   : bm_file_write_all(path, text->data, text->length, err);
    bm_free(path);
    return status;
}

bm_status model_maker_write_tokenizer(const model_maker_params *params, const char *folder, bm_error *err)
{
    const uint32_t smallest = params->tokenizer == MODEL_MAKER_BYTE_LEVEL ? 258 : 4;
    bm_status status = BM_OK;
    bm_string text = BM_STRING_INIT;
    bm_json_writer json;
    vocabulary v = {.params = params};
    BM_FAIL_IF(params->vocab_size < smallest, err, BM_E_ARGUMENT,
               "vocab_size %u, expected at least %u for this tokenizer", params->vocab_size, smallest);
    v.pieces = bm_alloc_zero(params->vocab_size, sizeof *v.pieces);
    v.prefix = bm_alloc_zero(params->vocab_size, sizeof *v.prefix);
    BM_FAIL_IF(!v.pieces || !v.prefix, err, BM_E_MEMORY, "out of memory");
    fill_vocabulary(&v);
    BM_FAIL_IF(v.failed, err, BM_E_MEMORY, "out of memory");
    bm_json_writer_init(&json, &text, 2);
    put_tokenizer(&json, &v);
    BM_TRY(write_text(folder, "tokenizer.json", &text, err));
    bm_string_clear(&text);
    bm_json_writer_init(&json, &text, 2);
    put_tokenizer_config(&json, params);
    BM_TRY(write_text(folder, "tokenizer_config.json", &text, err));
done:
    for (uint32_t i = 0; v.pieces && i < v.count; i++)
        bm_free(v.pieces[i]);
    bm_free(v.pieces);
    bm_free(v.prefix);
    bm_string_free(&text);
    return status;
}

void model_maker_ids_write(const char *folder, const char *name, const uint32_t *lengths, uint32_t count)
{
    bm_string text = BM_STRING_INIT;
    uint32_t state = 12345;
    for (uint32_t i = 0; i < count; i++) {
        (void)bm_string_append(&text, "{\"input_ids\": [");
        for (uint32_t t = 0; t < lengths[i]; t++) {
            state = state * 1664525u + 1013904223u;
            (void)bm_string_append_format(&text, "%s%u", t ? ", " : "", 3 + (state >> 8) % 250);
        }
        (void)bm_string_append(&text, "]}\n");
    }
    bm_free(support_file_write(folder, name, bm_string_text(&text), text.length));
    bm_string_free(&text);
}
