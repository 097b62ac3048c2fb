// Decoding: ids to pieces, then the file's chain of decoders, each a list of strings to a list of strings.
//
// Source    formats.md 8.8; decode_chain of each decoder of the reference.
#include "text/tokenizer_internal.h"

#include "text/unicode.h"

#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD" // U+FFFD

// ---- loading ----

static bm_status load_replace(text_decoder *decoder, const bm_json *json, const char *where, bm_error *err)
{
    decoder->kind = DECODER_REPLACE;
    bm_status status = text_pattern_parse(&decoder->pattern, json, where, err);
    if (status == BM_OK)
        status = text_literal_get(&decoder->content, json, "content", 0, where, err);
    if (status == BM_OK && decoder->pattern.regex && strchr(decoder->content, '$'))
        status = bm_fail(err, BM_E_UNSUPPORTED, "%s: Replace: groups ($1) in \"content\" are not supported", where);
    return status;
}

static bm_status load_strip(text_decoder *decoder, const bm_json *json, const char *where, bm_error *err)
{
    bm_status status = BM_OK;
    int64_t start = 0, stop = 0;
    decoder->kind = DECODER_STRIP;
    BM_TRY(text_literal_get(&decoder->content, json, "content", 1, where, err));
    BM_FAIL_IF(decoder->content[text_utf8_length(decoder->content[0])] != '\0', err, BM_E_FORMAT,
               "%s: Strip: key \"content\": expected one character", where);
    BM_TRY(bm_json_get_integer(json, "start", 0, UINT16_MAX, 0, &start, where, err));
    BM_TRY(bm_json_get_integer(json, "stop", 0, UINT16_MAX, 0, &stop, where, err));
    decoder->start = (uint32_t)start;
    decoder->stop = (uint32_t)stop;
done:
    return status;
}

static bm_status load_metaspace(text_decoder *decoder, const bm_json *json, const char *where, bm_error *err)
{
    bm_status status = BM_OK;
    const char *scheme = NULL;
    bool prefix_space = true;
    decoder->kind = DECODER_METASPACE;
    BM_TRY(text_literal_get(&decoder->content, json, "replacement", 1, where, err));
    BM_FAIL_IF(decoder->content[text_utf8_length(decoder->content[0])] != '\0', err, BM_E_FORMAT,
               "%s: Metaspace: key \"replacement\": expected one character", where);
    BM_TRY(bm_json_get_bool(json, "add_prefix_space", true, &prefix_space, where, err));
    BM_TRY(bm_json_get_string(json, "prepend_scheme", prefix_space ? "always" : "never", &scheme, where, err));
    BM_FAIL_IF(strcmp(scheme, "always") != 0 && strcmp(scheme, "first") != 0 && strcmp(scheme, "never") != 0, err,
               BM_E_FORMAT, "%s: Metaspace: key \"prepend_scheme\": expected always, first or never", where);
    decoder->drops_first = strcmp(scheme, "never") != 0;
done:
    return status;
}

static bm_status load_one(text_decoder *decoder, const char *type, const bm_json *json, const char *where,
                          bm_error *err)
{
    static const struct {
        const char *type;
        uint32_t kind;
    } plain[] = {{"ByteFallback", DECODER_BYTE_FALLBACK}, {"Fuse", DECODER_FUSE}, {"ByteLevel", DECODER_BYTES}};
    for (size_t i = 0; i < BM_COUNT(plain); i++)
        if (strcmp(type, plain[i].type) == 0) {
            decoder->kind = plain[i].kind;
            return BM_OK;
        }
    if (strcmp(type, "Replace") == 0)
        return load_replace(decoder, json, where, err);
    if (strcmp(type, "Strip") == 0)
        return load_strip(decoder, json, where, err);
    if (strcmp(type, "Metaspace") == 0)
        return load_metaspace(decoder, json, where, err);
    char shown[64];
    return bm_fail(
        err, BM_E_UNSUPPORTED,
        "%s: type \"%s\" is not supported, expected Sequence, Replace, ByteFallback, Fuse, Strip, Metaspace or "
        "ByteLevel",
        where, bm_printable(type, strlen(type), shown, sizeof shown));
}

bm_status text_decoders_load(bm_tokenizer *tokenizer, const bm_json *json, bm_error *err)
{
    bm_status status = BM_OK;
    text_components components;
    char *where = bm_format("%s: decoder", tokenizer->path);
    BM_FAIL_IF(!where, err, BM_E_MEMORY, "%s: out of memory", tokenizer->path);
    BM_TRY(text_components_flatten(&components, json, "decoders", where, err));
    tokenizer->has_decoder = json && bm_json_kind_of(json) != BM_JSON_NULL;
    tokenizer->decoders = bm_alloc_zero(components.count, sizeof *tokenizer->decoders);
    BM_FAIL_IF(!tokenizer->decoders, err, BM_E_MEMORY, "%s: out of memory", tokenizer->path);
    for (uint32_t i = 0; i < components.count; i++) {
        tokenizer->num_decoders = i + 1;
        BM_TRY(load_one(&tokenizer->decoders[i], components.types[i], components.items[i], where, err));
    }
done:
    bm_free(where);
    return status;
}

void text_decoders_clear(bm_tokenizer *tokenizer)
{
    for (uint32_t i = 0; i < tokenizer->num_decoders; i++) {
        bm_free(tokenizer->decoders[i].content);
        text_pattern_clear(&tokenizer->decoders[i].pattern);
    }
    bm_free(tokenizer->decoders);
}

// ---- decoding ----

// A list of strings: ranges of one string. Unlike words, empty ones count.
typedef struct strings {
    bm_string text;
    size_t *ends; // [count]
    size_t count, capacity;
    bool failed;
} strings;

static void strings_end(strings *list)
{
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity * 2 + 64;
        size_t *ends = bm_resize(list->ends, capacity, sizeof *ends);
        if (!ends) {
            list->failed = true;
            return;
        }
        list->ends = ends;
        list->capacity = capacity;
    }
    list->ends[list->count++] = list->text.length;
}

static void strings_add(strings *list, const char *text, size_t length)
{
    bm_string_append_bytes(&list->text, text, length);
    strings_end(list);
}

static bm_status run_replace(const text_decoder *decoder, const char *text, size_t length, uint64_t *effort,
                             strings *to, bm_error *err)
{
    text_matcher matcher;
    text_matcher_begin(&matcher, &decoder->pattern, text, length, effort);
    size_t begin = 0, end = 0, copied = 0;
    bool found = false;
    for (;;) {
        const bm_status status = text_matcher_next(&matcher, &begin, &end, &found, err);
        if (status != BM_OK)
            return status;
        if (!found)
            break;
        bm_string_append_bytes(&to->text, text + copied, begin - copied);
        bm_string_append(&to->text, decoder->content);
        copied = end;
    }
    strings_add(to, text + copied, length - copied);
    return BM_OK;
}

static void run_strip(const text_decoder *decoder, const char *text, size_t length, strings *to)
{
    const size_t width = strlen(decoder->content);
    for (uint32_t i = 0; i < decoder->start && length >= width && memcmp(text, decoder->content, width) == 0; i++) {
        text += width;
        length -= width;
    }
    for (uint32_t i = 0;
         i < decoder->stop && length >= width && memcmp(text + length - width, decoder->content, width) == 0; i++)
        length -= width;
    strings_add(to, text, length);
}

static void run_metaspace(const text_decoder *decoder, const char *text, size_t length, bool is_first, strings *to)
{
    const size_t width = strlen(decoder->content);
    for (size_t i = 0; i < length;) {
        const size_t step = text_utf8_length(text[i]);
        if (step == width && length - i >= width && memcmp(text + i, decoder->content, width) == 0) {
            if (!is_first || !decoder->drops_first)
                bm_string_append_bytes(&to->text, " ", 1);
        } else {
            bm_string_append_bytes(&to->text, text + i, step);
        }
        i += step;
    }
    strings_end(to);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

// The byte of a piece "<0xNN>"; -1: another piece. (Rust's parser, which the reference uses, also takes "+N".)
static int byte_of_piece(const char *text, size_t length)
{
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    const int high = text[3] == '+' ? 0 : hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// Ends a run of bytes: itself when it is valid UTF-8, else one replacement character a byte.
static void flush_bytes(bm_string *run, strings *to)
{
    if (run->length == 0)
        return;
    if (bm_utf8_is_valid(run->data, run->length)) {
        strings_add(to, run->data, run->length);
    } else {
        for (size_t i = 0; i < run->length; i++)
            strings_add(to, REPLACEMENT, 3);
    }
    bm_string_clear(run);
}

static void run_byte_fallback(const strings *from, strings *to)
{
    bm_string run = BM_STRING_INIT;
    const char *text = bm_string_text(&from->text);
    size_t start = 0;
    for (size_t i = 0; i < from->count; start = from->ends[i++]) {
        const int byte = byte_of_piece(text + start, from->ends[i] - start);
        if (byte >= 0) {
            const char value = (char)(uint8_t)byte;
            bm_string_append_bytes(&run, &value, 1);
        } else {
            flush_bytes(&run, to);
            strings_add(to, text + start, from->ends[i] - start);
        }
    }
    to->failed = to->failed || run.failed;
    flush_bytes(&run, to);
    bm_string_free(&run);
}

// The bytes that a piece of the byte-level alphabet stands for; a piece with a foreign character stands for itself.
static void append_piece_bytes(const bm_tokenizer *tokenizer, bm_string *out, const char *text, size_t length)
{
    const size_t start = out->length;
    for (size_t i = 0; i < length; i += text_utf8_length(text[i])) {
        const uint32_t code_point = text_utf8_decode(text + i);
        const int16_t byte = code_point < BM_COUNT(tokenizer->byte_of) ? tokenizer->byte_of[code_point] : -1;
        if (byte < 0) {
            out->length = start;
            bm_string_append_bytes(out, text, length);
            return;
        }
        const char value = (char)(uint8_t)byte;
        bm_string_append_bytes(out, &value, 1);
    }
}

// How many bytes of an ill-formed sequence one replacement character stands for: its longest prefix that could have
// become a character, at least one (Unicode 15 section 3.9, table 3-7; Rust's from_utf8_lossy).
static size_t broken_length(const char *text, size_t length)
{
    const uint8_t *s = (const uint8_t *)text;
    uint8_t low = 0x80, high = 0xBF;
    size_t expected = 1;
    if (s[0] >= 0xC2 && s[0] <= 0xDF)
        expected = 2;
    else if (s[0] >= 0xE0 && s[0] <= 0xEF)
        expected = 3;
    else if (s[0] >= 0xF0 && s[0] <= 0xF4)
        expected = 4;
    if (s[0] == 0xE0)
        low = 0xA0;
    else if (s[0] == 0xED)
        high = 0x9F;
    else if (s[0] == 0xF0)
        low = 0x90;
    else if (s[0] == 0xF4)
        high = 0x8F;
    size_t used = 1;
    for (; used < expected && used < length && s[used] >= low && s[used] <= high; used++) {
        low = 0x80;
        high = 0xBF;
    }
    return used;
}

static void append_lossy(bm_string *out, const char *text, size_t length)
{
    while (length > 0) {
        const size_t valid = text_utf8_valid_length(text, length);
        bm_string_append_bytes(out, text, valid);
        text += valid;
        length -= valid;
        if (length > 0) {
            const size_t broken = broken_length(text, length);
            bm_string_append_bytes(out, REPLACEMENT, 3);
            text += broken;
            length -= broken;
        }
    }
}

static void run_bytes(const bm_tokenizer *tokenizer, const strings *from, strings *to)
{
    bm_string bytes = BM_STRING_INIT;
    size_t start = 0;
    for (size_t i = 0; i < from->count; start = from->ends[i++])
        append_piece_bytes(tokenizer, &bytes, bm_string_text(&from->text) + start, from->ends[i] - start);
    append_lossy(&to->text, bm_string_text(&bytes), bytes.length);
    strings_end(to);
    to->failed = to->failed || bytes.failed;
    bm_string_free(&bytes);
}

static bm_status run_decoder(const bm_tokenizer *tokenizer, const text_decoder *decoder, const strings *from,
                             uint64_t *effort, strings *to, bm_error *err)
{
    const char *text = bm_string_text(&from->text);
    to->count = 0;
    bm_string_clear(&to->text);
    if (decoder->kind == DECODER_BYTE_FALLBACK) {
        run_byte_fallback(from, to);
    } else if (decoder->kind == DECODER_BYTES) {
        run_bytes(tokenizer, from, to);
    } else if (decoder->kind == DECODER_FUSE) {
        strings_add(to, text, from->text.length);
    } else {
        size_t start = 0;
        for (size_t i = 0; i < from->count; start = from->ends[i++]) {
            const size_t length = from->ends[i] - start;
            bm_status status = BM_OK;
            if (decoder->kind == DECODER_REPLACE)
                status = run_replace(decoder, text + start, length, effort, to, err);
            else if (decoder->kind == DECODER_STRIP)
                run_strip(decoder, text + start, length, to);
            else
                run_metaspace(decoder, text + start, length, i == 0, to);
            if (status != BM_OK)
                return status;
        }
    }
    return to->failed || to->text.failed ? bm_fail(err, BM_E_MEMORY, "out of memory for a decoded text") : BM_OK;
}

// The pieces of the ids; without a decoder the reference joins them by spaces.
static void collect_pieces(const bm_tokenizer *tokenizer, const uint32_t *ids, size_t count, bool skip_special,
                           strings *out)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] >= tokenizer->num_ids || !tokenizer->pieces[ids[i]].data)
            continue;
        const text_piece *piece = &tokenizer->pieces[ids[i]];
        if (skip_special && piece->special)
            continue;
        if (!tokenizer->has_decoder && out->count > 0)
            bm_string_append_bytes(&out->text, " ", 1);
        strings_add(out, piece->data, piece->length);
    }
}

bm_status bm_tokenizer_decode(const bm_tokenizer *tokenizer, const uint32_t *ids, size_t count, bool skip_special,
                              bm_string *out, bm_error *err)
{
    bm_status status = BM_OK;
    strings lists[2] = {0};
    uint32_t current = 0;
    collect_pieces(tokenizer, ids, count, skip_special, &lists[0]);
    uint64_t effort = text_regex_effort(lists[0].text.length);
    const uint64_t bound = ((uint64_t)lists[0].text.length * TEXT_MAX_GROWTH) + TEXT_GROWTH_BASE;
    BM_FAIL_IF(lists[0].failed || lists[0].text.failed, err, BM_E_MEMORY, "out of memory for a decoded text");
    for (uint32_t i = 0; i < tokenizer->num_decoders; i++) {
        BM_TRY(run_decoder(tokenizer, &tokenizer->decoders[i], &lists[current], &effort, &lists[1 - current], err));
        current = 1 - current;
        BM_FAIL_IF(lists[current].text.length > bound, err, BM_E_FORMAT,
                   "%s: decoder: blows a text up to more than %u times its size", tokenizer->path, TEXT_MAX_GROWTH);
    }
    BM_FAIL_IF(!bm_string_append_bytes(out, bm_string_text(&lists[current].text), lists[current].text.length), err,
               BM_E_MEMORY, "out of memory for a decoded text");
done:
    for (uint32_t i = 0; i < 2; i++) {
        bm_string_free(&lists[i].text);
        bm_free(lists[i].ends);
    }
    return status;
}
