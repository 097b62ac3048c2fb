// Pre-tokenizers: stages that cut a piece of text into words, or rewrite the words.
//
// The components of the file become simpler stages: ByteLevel = [a space in front] [split by the GPT-2 expression]
// bytes; Metaspace = metaspace [split in front of each]. Words are ranges of one string; a stage that cuts makes new
// ranges, a stage that rewrites makes a new string as well.
//
// Source    formats.md 8.3 to 8.5; the behaviours of a split as in the reference's normalizer.rs.
#include "text/tokenizer_internal.h"

#include "text/unicode.h"

#include <string.h>

static const char gpt2_expression[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

bool text_words_add(text_words *words, size_t start, size_t length, bool is_first)
{
    if (length == 0)
        return true;
    if (words->count == words->capacity) {
        const size_t capacity = words->capacity * 2 + 64;
        text_word *items = bm_resize(words->items, capacity, sizeof *items);
        if (!items)
            return false;
        words->items = items;
        words->capacity = capacity;
    }
    words->items[words->count++] = (text_word){start, length, is_first};
    return true;
}

void text_words_free(text_words *words)
{
    bm_string_free(&words->text);
    bm_free(words->items);
    *words = (text_words){0};
}

// ---- loading ----

static bm_status load_split(text_stage *stage, const bm_json *json, const char *where, bm_error *err)
{
    static const char *const names[] = {
        [SPLIT_ISOLATED] = "Isolated",   [SPLIT_REMOVED] = "Removed",       [SPLIT_PREVIOUS] = "MergedWithPrevious",
        [SPLIT_NEXT] = "MergedWithNext", [SPLIT_CONTIGUOUS] = "Contiguous",
    };
    bm_status status = text_pattern_parse(&stage->pattern, json, where, err);
    if (status != BM_OK)
        return status;
    const char *behavior = NULL;
    status = bm_json_get_string(json, "behavior", "", &behavior, where, err);
    if (status != BM_OK)
        return status;
    stage->kind = STAGE_SPLIT;
    for (uint32_t i = 0; i < BM_COUNT(names); i++)
        if (strcmp(behavior, names[i]) == 0) {
            stage->behavior = i;
            return bm_json_get_bool(json, "invert", false, &stage->invert, where, err);
        }
    char shown[64];
    return bm_fail(err, BM_E_FORMAT,
                   "%s: Split: key \"behavior\": expected Isolated, Removed, MergedWithPrevious, MergedWithNext or "
                   "Contiguous, found \"%s\"",
                   where, bm_printable(behavior, strlen(behavior), shown, sizeof shown));
}

static bm_status load_byte_level(bm_tokenizer *tokenizer, const bm_json *json, const char *where, bm_error *err)
{
    bool prefix_space = true, use_regex = true;
    bm_status status = bm_json_get_bool(json, "add_prefix_space", true, &prefix_space, where, err);
    if (status == BM_OK)
        status = bm_json_get_bool(json, "use_regex", true, &use_regex, where, err);
    if (status != BM_OK)
        return status;
    text_stage *stages = tokenizer->stages;
    if (prefix_space)
        stages[tokenizer->num_stages++].kind = STAGE_PREFIX_SPACE;
    if (use_regex) {
        text_stage *split = &stages[tokenizer->num_stages++];
        split->kind = STAGE_SPLIT;
        split->behavior = SPLIT_ISOLATED;
        status = text_regex_compile(&split->pattern.regex, gpt2_expression, where, err);
    }
    stages[tokenizer->num_stages++].kind = STAGE_BYTES;
    return status;
}

static bm_status load_metaspace(bm_tokenizer *tokenizer, const bm_json *json, const char *where, bm_error *err)
{
    bm_status status = BM_OK;
    const char *scheme = NULL;
    bool prefix_space = true, split = true;
    text_stage *stage = &tokenizer->stages[tokenizer->num_stages++];
    stage->kind = STAGE_METASPACE;
    BM_TRY(text_literal_get(&stage->replacement, json, "replacement", 1, where, err));
    BM_FAIL_IF(stage->replacement[text_utf8_length(stage->replacement[0])] != '\0', err, BM_E_FORMAT,
               "%s: Metaspace: key \"replacement\": expected one character", where);
    BM_TRY(bm_json_get_bool(json, "add_prefix_space", true, &prefix_space, where, err));
    BM_TRY(bm_json_get_string(json, "prepend_scheme", NULL, &scheme, where, err));
    BM_TRY(bm_json_get_bool(json, "split", true, &split, where, err));
    if (!scheme)
        scheme = prefix_space ? "always" : "never";
    BM_FAIL_IF(!prefix_space && strcmp(scheme, "never") != 0, err, BM_E_FORMAT,
               "%s: Metaspace: \"add_prefix_space\" false disagrees with \"prepend_scheme\"", where);
    if (strcmp(scheme, "always") == 0)
        stage->prepend = PREPEND_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        stage->prepend = PREPEND_FIRST;
    else if (strcmp(scheme, "never") == 0)
        stage->prepend = PREPEND_NEVER;
    else
        BM_FAIL_IF(true, err, BM_E_FORMAT, "%s: Metaspace: key \"prepend_scheme\": expected always, first or never",
                   where);
    if (split) {
        text_stage *cut = &tokenizer->stages[tokenizer->num_stages++];
        cut->kind = STAGE_SPLIT;
        cut->behavior = SPLIT_NEXT;
        cut->pattern.literal = bm_string_copy(stage->replacement);
        BM_FAIL_IF(!cut->pattern.literal, err, BM_E_MEMORY, "%s: out of memory", where);
        cut->pattern.literal_length = strlen(cut->pattern.literal);
    }
done:
    return status;
}

static bm_status load_one(bm_tokenizer *tokenizer, const char *type, const bm_json *json, const char *where,
                          bm_error *err)
{
    if (strcmp(type, "Split") == 0)
        return load_split(&tokenizer->stages[tokenizer->num_stages++], json, where, err);
    if (strcmp(type, "ByteLevel") == 0)
        return load_byte_level(tokenizer, json, where, err);
    if (strcmp(type, "Metaspace") == 0)
        return load_metaspace(tokenizer, json, where, err);
    if (strcmp(type, "Digits") == 0) {
        text_stage *stage = &tokenizer->stages[tokenizer->num_stages++];
        stage->kind = STAGE_DIGITS;
        const bm_status status = bm_json_get_bool(json, "individual_digits", false, &stage->individual, where, err);
        stage->behavior = stage->individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
        return status;
    }
    char shown[64];
    return bm_fail(err, BM_E_UNSUPPORTED,
                   "%s: type \"%s\" is not supported, expected Sequence, Split, Digits, ByteLevel or Metaspace", where,
                   bm_printable(type, strlen(type), shown, sizeof shown));
}

bm_status text_stages_load(bm_tokenizer *tokenizer, const bm_json *json, bm_error *err)
{
    bm_status status = BM_OK;
    text_components components;
    char *where = bm_format("%s: pre_tokenizer", tokenizer->path);
    BM_FAIL_IF(!where, err, BM_E_MEMORY, "%s: out of memory", tokenizer->path);
    BM_TRY(text_components_flatten(&components, json, "pretokenizers", where, err));
    tokenizer->stages = bm_alloc_zero((uint64_t)components.count * 3, sizeof *tokenizer->stages); // at most 3 of each
    BM_FAIL_IF(!tokenizer->stages, err, BM_E_MEMORY, "%s: out of memory", tokenizer->path);
    for (uint32_t i = 0; i < components.count; i++)
        BM_TRY(load_one(tokenizer, components.types[i], components.items[i], where, err));
done:
    bm_free(where);
    return status;
}

void text_stages_clear(bm_tokenizer *tokenizer)
{
    for (uint32_t i = 0; i < tokenizer->num_stages; i++) {
        text_pattern_clear(&tokenizer->stages[i].pattern);
        bm_free(tokenizer->stages[i].replacement);
    }
    bm_free(tokenizer->stages);
}

// ---- cutting ----

static bm_status no_memory(text_encoder *encoder)
{
    return bm_fail(encoder->err, BM_E_MEMORY, "out of memory for the words of a text");
}

// The matches field is reused for matches and gaps in order; unlike words, empty matches count (they cut).
static bool add_match(text_words *matches, size_t begin, size_t end, bool is_match)
{
    if (begin < end)
        return text_words_add(matches, begin, end - begin, is_match);
    if (!text_words_add(matches, begin, 1, is_match))
        return false;
    matches->items[matches->count - 1].length = 0;
    return true;
}

static bm_status match_pattern(text_encoder *encoder, const text_stage *stage, const char *text, size_t length)
{
    text_matcher matcher;
    text_matcher_begin(&matcher, &stage->pattern, text, length, &encoder->regex_effort);
    size_t done = 0;
    for (;;) {
        size_t begin = 0, end = 0;
        bool found = false;
        const bm_status status = text_matcher_next(&matcher, &begin, &end, &found, encoder->err);
        if (status != BM_OK)
            return status;
        if (!found)
            break;
        if ((begin > done && !add_match(&encoder->matches, done, begin, stage->invert)) ||
            !add_match(&encoder->matches, begin, end, !stage->invert))
            return no_memory(encoder);
        done = end;
    }
    return done == length || add_match(&encoder->matches, done, length, stage->invert) ? BM_OK : no_memory(encoder);
}

static bm_status match_digits(text_encoder *encoder, const char *text, size_t length)
{
    size_t done = 0;
    for (size_t i = 0; i < length;) {
        const size_t next = i + text_utf8_length(text[i]);
        if (text_is_number(text_utf8_decode(text + i))) {
            if ((i > done && !add_match(&encoder->matches, done, i, false)) ||
                !add_match(&encoder->matches, i, next, true))
                return no_memory(encoder);
            done = next;
        }
        i = next;
    }
    return done == length || add_match(&encoder->matches, done, length, false) ? BM_OK : no_memory(encoder);
}

// Joins matches to their neighbours in place, as the behaviour says, so that every item left is a word.
static void join_matches(text_words *matches, const text_stage *stage)
{
    text_word *items = matches->items;
    size_t kept = 0;
    bool was_match = false;
    if (stage->behavior == SPLIT_REMOVED) {
        for (size_t i = 0; i < matches->count; i++)
            if (!items[i].is_first)
                items[kept++] = items[i];
        matches->count = kept;
    } else if (stage->behavior == SPLIT_PREVIOUS || stage->behavior == SPLIT_CONTIGUOUS) {
        for (size_t i = 0; i < matches->count; i++) {
            const bool is_match = items[i].is_first;
            const bool joins = stage->behavior == SPLIT_CONTIGUOUS ? is_match == was_match : is_match && !was_match;
            was_match = is_match;
            if (joins && kept > 0)
                items[kept - 1].length = items[i].start + items[i].length - items[kept - 1].start;
            else
                items[kept++] = items[i];
        }
        matches->count = kept;
    } else if (stage->behavior == SPLIT_NEXT) { // the same from the end; the kept ones gather at the end
        size_t first = matches->count;
        for (size_t i = matches->count; i-- > 0;) {
            const bool joins = items[i].is_first && !was_match;
            was_match = items[i].is_first;
            if (joins && first < matches->count) {
                items[first].length += items[first].start - items[i].start;
                items[first].start = items[i].start;
            } else {
                items[--first] = items[i];
            }
        }
        matches->count -= first;
        memmove(items, items + first, matches->count * sizeof *items);
    }
}

// ---- stages ----

// Cuts every word of from; the string is taken over.
static bm_status run_split(text_encoder *encoder, const text_stage *stage, text_words *from, text_words *to)
{
    const char *text = bm_string_text(&from->text);
    for (size_t i = 0; i < from->count; i++) {
        const text_word word = from->items[i];
        encoder->matches.count = 0;
        const bm_status status = stage->kind == STAGE_DIGITS
                                     ? match_digits(encoder, text + word.start, word.length)
                                     : match_pattern(encoder, stage, text + word.start, word.length);
        if (status != BM_OK)
            return status;
        join_matches(&encoder->matches, stage);
        for (size_t k = 0; k < encoder->matches.count; k++) {
            const text_word part = encoder->matches.items[k];
            if (!text_words_add(to, word.start + part.start, part.length, word.is_first && part.start == 0))
                return no_memory(encoder);
        }
    }
    const bm_string spare = to->text;
    to->text = from->text;
    from->text = spare;
    return BM_OK;
}

static void append_mapped(const bm_tokenizer *tokenizer, bm_string *out, const char *text, size_t length)
{
    char block[512];
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        const uint32_t code_point = tokenizer->code_point_of[(uint8_t)text[i]]; // below U+0144: one or two bytes
        if (code_point < 0x80) {
            block[used++] = (char)code_point;
        } else {
            block[used++] = (char)(0xC0 | code_point >> 6);
            block[used++] = (char)(0x80 | (code_point & 0x3F));
        }
        if (used > sizeof block - 2) {
            bm_string_append_bytes(out, block, used);
            used = 0;
        }
    }
    bm_string_append_bytes(out, block, used);
}

static void append_metaspaced(const text_stage *stage, bm_string *out, const char *text, size_t length, bool is_first)
{
    const size_t width = strlen(stage->replacement);
    if (stage->prepend == PREPEND_ALWAYS || (stage->prepend == PREPEND_FIRST && is_first)) {
        const bool begins = text[0] == ' ' || (length >= width && memcmp(text, stage->replacement, width) == 0);
        if (!begins)
            bm_string_append_bytes(out, stage->replacement, width);
    }
    for (size_t i = 0; i < length;) {
        const char *space = memchr(text + i, ' ', length - i);
        const size_t end = space ? (size_t)(space - text) : length;
        bm_string_append_bytes(out, text + i, end - i);
        if (space)
            bm_string_append_bytes(out, stage->replacement, width);
        i = end + 1;
    }
}

// Rewrites every word of from into a new string.
static bm_status run_rewrite(text_encoder *encoder, const text_stage *stage, text_words *from, text_words *to)
{
    for (size_t i = 0; i < from->count; i++) {
        const text_word word = from->items[i];
        const char *text = bm_string_text(&from->text) + word.start;
        const size_t start = to->text.length;
        if (stage->kind == STAGE_BYTES) {
            append_mapped(encoder->tokenizer, &to->text, text, word.length);
        } else if (stage->kind == STAGE_METASPACE) {
            append_metaspaced(stage, &to->text, text, word.length, word.is_first);
        } else {
            if (text[0] != ' ')
                bm_string_append_bytes(&to->text, " ", 1);
            bm_string_append_bytes(&to->text, text, word.length);
        }
        const size_t length = to->text.length - start;
        const bm_status status = text_encoder_spend(encoder, length);
        if (status != BM_OK)
            return status;
        if (to->text.failed || !text_words_add(to, start, length, word.is_first))
            return no_memory(encoder);
    }
    return BM_OK;
}

bm_status text_pretokenize(text_encoder *encoder, const char *text, size_t length, bool is_first,
                           const text_words **out)
{
    const bm_tokenizer *tokenizer = encoder->tokenizer;
    uint32_t current = 0;
    text_words *words = &encoder->words[0];
    words->count = 0;
    bm_string_clear(&words->text);
    if (!bm_string_append_bytes(&words->text, text, length) || !text_words_add(words, 0, length, is_first))
        return no_memory(encoder);
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < tokenizer->num_stages && status == BM_OK; i++) {
        const text_stage *stage = &tokenizer->stages[i];
        text_words *from = &encoder->words[current], *to = &encoder->words[1 - current];
        to->count = 0;
        bm_string_clear(&to->text);
        status = stage->kind == STAGE_SPLIT || stage->kind == STAGE_DIGITS ? run_split(encoder, stage, from, to)
                                                                           : run_rewrite(encoder, stage, from, to);
        current = 1 - current;
    }
    *out = &encoder->words[current];
    return status;
}
