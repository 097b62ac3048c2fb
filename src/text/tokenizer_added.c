// Added tokens: pieces of text that are cut out before the model sees the rest.
//
// The longest token that matches at the leftmost place wins. The tokens are sorted by their bytes; matching at a place
// narrows the range of those that agree with the text so far, so a place costs at most TEXT_MAX_LITERAL steps.
//
// Source    formats.md 8.2; the white space and word rules as in the reference's added_vocabulary.rs.
#include "text/tokenizer_internal.h"

#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ADDED 200000u

// ---- loading ----

static bm_status read_token(bm_tokenizer *tokenizer, const bm_json *json, uint32_t index, text_added *token,
                            bool *normalized, bool *special, bm_error *err)
{
    bm_status status = BM_OK;
    const char *path = tokenizer->path;
    int64_t id = 0;
    const char *content = NULL;
    BM_FAIL_IF(bm_json_kind_of(json) != BM_JSON_OBJECT, err, BM_E_FORMAT, "%s: added_tokens[%u]: expected an object",
               path, index);
    BM_TRY(bm_json_get_integer(json, "id", 0, TEXT_MAX_ID - 1, -1, &id, path, err));
    BM_FAIL_IF(id < 0, err, BM_E_FORMAT, "%s: added_tokens[%u]: expected a key \"id\"", path, index);
    BM_TRY(bm_json_get_string(json, "content", "", &content, path, err));
    BM_FAIL_IF(strlen(content) > TEXT_MAX_LITERAL, err, BM_E_FORMAT,
               "%s: added_tokens[%u]: content of %zu bytes, expected at most %u", path, index, strlen(content),
               TEXT_MAX_LITERAL);
    BM_TRY(bm_json_get_bool(json, "single_word", false, &token->single_word, path, err));
    BM_TRY(bm_json_get_bool(json, "lstrip", false, &token->lstrip, path, err));
    BM_TRY(bm_json_get_bool(json, "rstrip", false, &token->rstrip, path, err));
    BM_TRY(bm_json_get_bool(json, "normalized", true, normalized, path, err));
    BM_TRY(bm_json_get_bool(json, "special", false, special, path, err));
    token->id = (uint32_t)id;
    token->content = content;
done:
    return status;
}

// Makes the pieces reach to id.
static bool reserve_id(bm_tokenizer *tokenizer, uint32_t id)
{
    if (id < tokenizer->num_ids)
        return true;
    text_piece *pieces = bm_resize(tokenizer->pieces, (uint64_t)id + 1, sizeof *pieces);
    if (!pieces)
        return false;
    memset(pieces + tokenizer->num_ids, 0, (id + 1 - tokenizer->num_ids) * sizeof *pieces);
    tokenizer->pieces = pieces;
    tokenizer->num_ids = id + 1;
    return true;
}

// Gives the token its id and place in the vocabulary. *is_new is false for a content that was added before.
static bm_status register_token(bm_tokenizer *tokenizer, text_added *token, uint32_t index, bool special, bool *is_new,
                                bm_error *err)
{
    char shown[80];
    const char *path = tokenizer->path;
    const size_t length = strlen(token->content);
    bm_printable(token->content, length, shown, sizeof shown);
    uint32_t known = TEXT_NO_ID;
    if ((bm_map_find(tokenizer->added_ids, token->content, length, &known) ||
         bm_map_find(tokenizer->ids, token->content, length, &known)) &&
        known != token->id)
        return bm_fail(err, BM_E_FORMAT, "%s: added_tokens[%u]: \"%s\" has id %u, but the vocabulary says %u", path,
                       index, shown, token->id, known);
    if (!reserve_id(tokenizer, token->id))
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory for added tokens", path);
    text_piece *piece = &tokenizer->pieces[token->id];
    if (known == TEXT_NO_ID && piece->data)
        return bm_fail(err, BM_E_FORMAT, "%s: added_tokens[%u]: \"%s\": id %u is taken by another piece", path, index,
                       shown, token->id);
    char *copy = bm_string_copy(token->content);
    if (!copy)
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory for added tokens", path);
    tokenizer->added_storage[tokenizer->num_added_storage++] = copy;
    bool existing = false;
    if (!bm_map_insert(tokenizer->added_ids, copy, length, token->id, &existing))
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory for added tokens", path);
    token->content = copy;
    *piece = (text_piece){copy, (uint32_t)length, piece->special || special};
    *is_new = !existing;
    return BM_OK;
}

// What is searched for: the content, normalized when the text will be.
static bm_status prepare_match(bm_tokenizer *tokenizer, text_added *token, bool normalized, bm_error *err)
{
    bm_status status = BM_OK;
    text_encoder encoder = {.tokenizer = tokenizer, .err = err, .budget_bytes = TEXT_GROWTH_BASE};
    const char *matched = token->content;
    if (normalized) {
        const bm_string *text = NULL;
        BM_TRY(text_normalize(&encoder, token->content, strlen(token->content), &text));
        matched = bm_string_text(text);
    }
    token->matched = bm_string_copy(matched);
    token->matched_length = (uint32_t)strlen(matched);
    BM_FAIL_IF(!token->matched, err, BM_E_MEMORY, "%s: out of memory for added tokens", tokenizer->path);
    BM_FAIL_IF(token->matched_length > 4 * TEXT_MAX_LITERAL, err, BM_E_FORMAT,
               "%s: an added token has %u bytes when normalized", tokenizer->path, token->matched_length);
done:
    bm_string_free(&encoder.normalized[0]);
    bm_string_free(&encoder.normalized[1]);
    return status;
}

static int compare_added(const void *a, const void *b)
{
    const text_added *x = a, *y = b;
    const size_t shared = x->matched_length < y->matched_length ? x->matched_length : y->matched_length;
    const int order = memcmp(x->matched, y->matched, shared);
    if (order != 0)
        return order;
    if (x->matched_length != y->matched_length)
        return x->matched_length < y->matched_length ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void finish_set(text_added_set *set)
{
    if (set->count > 1)
        qsort(set->items, set->count, sizeof *set->items, compare_added);
    uint32_t item = 0;
    for (uint32_t byte = 0; byte <= 256; byte++) {
        while (item < set->count && (uint8_t)set->items[item].matched[0] < byte)
            item++;
        set->first[byte] = item;
    }
}

static bm_status load_token(bm_tokenizer *tokenizer, const bm_json *json, uint32_t index, bm_error *err)
{
    bm_status status = BM_OK;
    text_added token = {0};
    bool normalized = false, special = false, is_new = false;
    BM_TRY(read_token(tokenizer, json, index, &token, &normalized, &special, err));
    if (!token.content || token.content[0] == '\0') // the reference passes over it
        goto done;
    BM_TRY(register_token(tokenizer, &token, index, special, &is_new, err));
    if (!is_new)
        goto done;
    BM_TRY(prepare_match(tokenizer, &token, normalized, err));
    if (token.matched_length > 0) {
        if (normalized) { // the reference decodes it to its normalized form, too
            text_piece *piece = &tokenizer->pieces[token.id];
            *piece = (text_piece){token.matched, token.matched_length, piece->special};
        }
        text_added_set *set = normalized ? &tokenizer->added_normalized : &tokenizer->added_raw;
        set->items[set->count++] = token;
        token.matched = NULL;
    }
done:
    bm_free(token.matched);
    return status;
}

bm_status text_added_load(bm_tokenizer *tokenizer, const bm_json *added_tokens, bm_error *err)
{
    char found[BM_JSON_FOUND_SIZE];
    const bool is_absent = !added_tokens || bm_json_kind_of(added_tokens) == BM_JSON_NULL;
    if (!is_absent && bm_json_kind_of(added_tokens) != BM_JSON_ARRAY)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"added_tokens\": expected an array, found %s", tokenizer->path,
                       bm_json_found(added_tokens, found, sizeof found));
    const uint32_t count = is_absent ? 0 : bm_json_count(added_tokens);
    if (count > MAX_ADDED)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"added_tokens\": %u entries, expected at most %u", tokenizer->path,
                       count, MAX_ADDED);
    tokenizer->added_ids = bm_map_create(count);
    tokenizer->added_storage = bm_alloc_zero(count, sizeof *tokenizer->added_storage);
    tokenizer->added_raw.items = bm_alloc_zero(count, sizeof(text_added));
    tokenizer->added_normalized.items = bm_alloc_zero(count, sizeof(text_added));
    if (!tokenizer->added_ids || !tokenizer->added_storage || !tokenizer->added_raw.items ||
        !tokenizer->added_normalized.items)
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory for added tokens", tokenizer->path);
    uint32_t index = 0;
    for (const bm_json *json = is_absent ? NULL : bm_json_first(added_tokens); json; json = bm_json_next(json)) {
        const bm_status status = load_token(tokenizer, json, index++, err);
        if (status != BM_OK)
            return status;
    }
    finish_set(&tokenizer->added_raw);
    finish_set(&tokenizer->added_normalized);
    return BM_OK;
}

void text_added_set_clear(text_added_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        bm_free(set->items[i].matched);
    bm_free(set->items);
    *set = (text_added_set){0};
}

// ---- matching ----

// The longest token at text[0], or NULL. The range of items that agree with the first depth bytes shrinks step by step.
static const text_added *longest_at(const text_added_set *set, const char *text, size_t length)
{
    uint32_t low = set->first[(uint8_t)text[0]], high = set->first[(uint8_t)text[0] + 1];
    const text_added *best = NULL;
    for (size_t depth = 1; low < high; depth++) {
        // Those that end here come first in the order; of equal ones the first is taken.
        if (set->items[low].matched_length == depth) {
            best = &set->items[low];
            while (low < high && set->items[low].matched_length == depth)
                low++;
        }
        if (depth >= length || low >= high)
            break;
        const uint8_t byte = (uint8_t)text[depth];
        uint32_t from = low, to = high; // first item whose byte is >= byte
        while (from < to) {
            const uint32_t middle = from + (to - from) / 2;
            if ((uint8_t)set->items[middle].matched[depth] < byte)
                from = middle + 1;
            else
                to = middle;
        }
        low = from;
        to = high; // first item whose byte is > byte
        while (from < to) {
            const uint32_t middle = from + (to - from) / 2;
            if ((uint8_t)set->items[middle].matched[depth] <= byte)
                from = middle + 1;
            else
                to = middle;
        }
        high = from;
    }
    return best;
}

static bool touches_word(const char *text, size_t length, size_t begin, size_t end)
{
    return (begin > 0 && text_is_word(text_utf8_decode(text + text_utf8_previous(text, begin)))) ||
           (end < length && text_is_word(text_utf8_decode(text + end)));
}

// The end of the white space that begins at position. Measured once a run: tokens of white space that strip to the
// right would make a walk over blank text quadratic otherwise.
static size_t white_end(text_added_search *search, size_t position)
{
    if (position >= search->white_end) {
        size_t end = position;
        while (end < search->length && text_is_white_space(text_utf8_decode(search->text + end)))
            end += text_utf8_length(search->text[end]);
        search->white_end = end;
        return end;
    }
    return search->white_end; // positions only grow, so this one lies inside the measured run
}

// The beginning of the white space that ends at position, not before limit.
static size_t white_begin(const text_added_search *search, size_t position, size_t limit)
{
    while (position > limit) {
        const size_t before = text_utf8_previous(search->text, position);
        if (!text_is_white_space(text_utf8_decode(search->text + before)))
            break;
        position = before;
    }
    return position;
}

// The search goes on right behind a token, not behind the white space that it swallowed, as in the reference: a token
// that begins with white space may be found there, and the white space behind that one is then text again.
bool text_added_next(text_added_search *search, text_added_match *out)
{
    const text_added_set *set = search->set;
    const char *text = search->text;
    if (set->count == 0)
        return false;
    while (search->from < search->length) {
        const size_t at = search->from;
        const bool may_begin = set->first[(uint8_t)text[at]] < set->first[(uint8_t)text[at] + 1];
        const text_added *token = may_begin ? longest_at(set, text + at, search->length - at) : NULL;
        if (!token) {
            search->from++;
            continue;
        }
        size_t begin = at, end = at + token->matched_length;
        search->from = end;
        if (token->single_word && touches_word(text, search->length, begin, end))
            continue;
        if (token->lstrip)
            begin = begin > search->done ? white_begin(search, begin, search->done) : search->done;
        if (token->rstrip && end < search->length)
            end = white_end(search, end);
        *out = (text_added_match){begin, end, token->id};
        search->done = end;
        return true;
    }
    return false;
}
