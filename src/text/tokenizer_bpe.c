// Byte pair encoding: the merge table, and the loop that turns a word into ids.
//
// A word becomes a linked list of symbols, one a character. Candidates (adjacent pairs that have a merge) wait in a
// heap ordered by (rank, position); a candidate is looked at again when it is taken, because its neighbours may have
// been swallowed meanwhile. n log n for a word of n characters, and a whole text may be one word.
//
// Source    formats.md 8.6; the re-check compares the merged id, not the rank, as the reference does.
#include "text/tokenizer_internal.h"

#include "base/clock.h"
#include "text/unicode.h"

#include <string.h>

#define MAX_MERGES (1u << 26)

// The table's slot of a pair. The seed keeps a file from choosing pairs that collide.
static uint64_t pair_hash(const text_bpe *bpe, uint64_t pair)
{
    uint64_t x = (pair ^ bpe->seed) * UINT64_C(0x9E3779B97F4A7C15);
    x ^= x >> 29;
    x = (x + bpe->seed) * UINT64_C(0xBF58476D1CE4E5B9);
    return x ^ x >> 32;
}

static text_merge *merge_slot(const text_bpe *bpe, uint64_t pair)
{
    uint64_t slot = pair_hash(bpe, pair) & bpe->merge_mask;
    while (bpe->merges[slot].pair != UINT64_MAX && bpe->merges[slot].pair != pair)
        slot = (slot + 1) & bpe->merge_mask;
    return &bpe->merges[slot];
}

static inline const text_merge *find_merge(const text_bpe *bpe, uint32_t left, uint32_t right)
{
    const text_merge *merge = merge_slot(bpe, (uint64_t)left << 32 | right);
    return merge->pair == UINT64_MAX ? NULL : merge;
}

// ---- loading ----

// The two halves of one entry of the list: "a b" or ["a", "b"].
typedef struct merge_halves {
    const char *text[2];
    size_t length[2];
} merge_halves;

static bool split_entry(const bm_json *entry, merge_halves *out)
{
    if (bm_json_kind_of(entry) == BM_JSON_STRING) {
        const char *text = bm_json_string(entry);
        const char *space = strchr(text, ' ');
        if (!space || strchr(space + 1, ' '))
            return false;
        *out = (merge_halves){{text, space + 1}, {(size_t)(space - text), strlen(space + 1)}};
        return true;
    }
    const bm_json *left = bm_json_kind_of(entry) == BM_JSON_ARRAY ? bm_json_first(entry) : NULL;
    const bm_json *right = left ? bm_json_next(left) : NULL;
    if (!right || bm_json_next(right) || bm_json_kind_of(left) != BM_JSON_STRING ||
        bm_json_kind_of(right) != BM_JSON_STRING)
        return false;
    *out = (merge_halves){{bm_json_string(left), bm_json_string(right)},
                          {strlen(bm_json_string(left)), strlen(bm_json_string(right))}};
    return true;
}

// Resolves one entry to ids and puts it into the table. joined is scratch.
static bm_status add_merge(bm_tokenizer *tokenizer, const bm_json *entry, uint32_t rank, bm_string *joined,
                           bm_error *err)
{
    merge_halves halves;
    if (!split_entry(entry, &halves))
        return bm_fail(err, BM_E_FORMAT, "%s: model.merges[%u]: expected \"a b\" or [\"a\", \"b\"]", tokenizer->path,
                       rank);
    bm_string_clear(joined);
    bm_string_append_bytes(joined, halves.text[0], halves.length[0]);
    if (!bm_string_append_bytes(joined, halves.text[1], halves.length[1]))
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory for the merges", tokenizer->path);
    uint32_t ids[3];
    const char *texts[3] = {halves.text[0], halves.text[1], bm_string_text(joined)};
    const size_t lengths[3] = {halves.length[0], halves.length[1], joined->length};
    for (uint32_t i = 0; i < 3; i++) {
        char shown[80];
        if (!bm_map_find(tokenizer->ids, texts[i], lengths[i], &ids[i]))
            return bm_fail(err, BM_E_FORMAT, "%s: model.merges[%u]: \"%s\" is not in the vocabulary", tokenizer->path,
                           rank, bm_printable(texts[i], lengths[i], shown, sizeof shown));
    }
    const uint64_t pair = (uint64_t)ids[0] << 32 | ids[1];
    *merge_slot(&tokenizer->bpe, pair) = (text_merge){pair, rank, ids[2]}; // of a pair given twice the last counts
    return BM_OK;
}

static bm_status load_merges(bm_tokenizer *tokenizer, const bm_json *merges, bm_error *err)
{
    text_bpe *bpe = &tokenizer->bpe;
    if (merges && bm_json_kind_of(merges) != BM_JSON_ARRAY)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"model.merges\": expected an array, found %s", tokenizer->path,
                       bm_json_kind_name(bm_json_kind_of(merges)));
    const uint32_t count = merges ? bm_json_count(merges) : 0;
    if (count > MAX_MERGES)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"model.merges\": %u entries, expected at most %u", tokenizer->path,
                       count, MAX_MERGES);
    uint64_t slots = 16;
    while (slots < (uint64_t)count * 2)
        slots *= 2;
    bpe->merges = bm_alloc(slots, sizeof *bpe->merges);
    if (!bpe->merges)
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory for %u merges", tokenizer->path, count);
    for (uint64_t i = 0; i < slots; i++)
        bpe->merges[i].pair = UINT64_MAX;
    bpe->merge_mask = slots - 1;
    bpe->seed = bm_hash64(&bpe->merges, sizeof bpe->merges, bm_clock_ns()); // results do not depend on it
    bm_string joined = BM_STRING_INIT;
    bm_status status = BM_OK;
    uint32_t rank = 0;
    for (const bm_json *entry = merges ? bm_json_first(merges) : NULL; entry && status == BM_OK;
         entry = bm_json_next(entry)) {
        if (bm_json_kind_of(entry) == BM_JSON_STRING && bm_starts_with(bm_json_string(entry), "#version"))
            continue;
        status = add_merge(tokenizer, entry, rank++, &joined, err);
    }
    bm_string_free(&joined);
    return status;
}

static bm_status load_flags(bm_tokenizer *tokenizer, const bm_json *model, bm_error *err)
{
    text_bpe *bpe = &tokenizer->bpe;
    const char *path = tokenizer->path;
    bm_status status = BM_OK;
    const char *text = NULL;
    double dropout = 0;
    BM_TRY(bm_json_get_double(model, "dropout", 0, 1, 0, &dropout, path, err));
    BM_FAIL_IF(dropout != 0, err, BM_E_UNSUPPORTED, "%s: key \"model.dropout\": %g: only null or 0 is supported", path,
               dropout);
    BM_TRY(bm_json_get_string(model, "continuing_subword_prefix", "", &text, path, err));
    BM_FAIL_IF(text[0], err, BM_E_UNSUPPORTED, "%s: key \"model.continuing_subword_prefix\" is not supported", path);
    BM_TRY(bm_json_get_string(model, "end_of_word_suffix", "", &text, path, err));
    BM_FAIL_IF(text[0], err, BM_E_UNSUPPORTED, "%s: key \"model.end_of_word_suffix\" is not supported", path);
    BM_TRY(bm_json_get_bool(model, "byte_fallback", false, &bpe->byte_fallback, path, err));
    BM_TRY(bm_json_get_bool(model, "fuse_unk", false, &bpe->fuse_unknown, path, err));
    BM_TRY(bm_json_get_bool(model, "ignore_merges", false, &bpe->ignore_merges, path, err));
    BM_TRY(bm_json_get_string(model, "unk_token", NULL, &text, path, err));
    bpe->unknown = TEXT_NO_ID;
    if (text && !bm_map_find(tokenizer->ids, text, strlen(text), &bpe->unknown)) {
        char shown[80];
        return bm_fail(err, BM_E_FORMAT, "%s: key \"model.unk_token\": \"%s\" is not in the vocabulary", path,
                       bm_printable(text, strlen(text), shown, sizeof shown));
    }
done:
    return status;
}

static void fill_tables(bm_tokenizer *tokenizer)
{
    text_bpe *bpe = &tokenizer->bpe;
    static const char digits[] = "0123456789ABCDEF";
    for (uint32_t byte = 0; byte < 256; byte++) {
        const char name[6] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
        if (!bm_map_find(tokenizer->ids, name, sizeof name, &bpe->byte_ids[byte]))
            bpe->byte_ids[byte] = TEXT_NO_ID;
    }
    for (uint32_t code_point = 0; code_point < BM_COUNT(bpe->near_ids); code_point++) {
        char bytes[4];
        const uint32_t length = text_utf8_encode(code_point, bytes);
        if (!bm_map_find(tokenizer->ids, bytes, length, &bpe->near_ids[code_point]))
            bpe->near_ids[code_point] = TEXT_NO_ID;
    }
}

bm_status text_bpe_load(bm_tokenizer *tokenizer, const bm_json *model, bm_error *err)
{
    const bm_status status = load_flags(tokenizer, model, err);
    if (status != BM_OK)
        return status;
    fill_tables(tokenizer);
    return load_merges(tokenizer, bm_json_find(model, "merges"), err);
}

void text_bpe_clear(text_bpe *bpe)
{
    bm_free(bpe->merges);
    bpe->merges = NULL;
}

// ---- encoding ----

static bm_status no_memory(text_encoder *encoder)
{
    return bm_fail(encoder->err, BM_E_MEMORY, "out of memory for the tokens of a text");
}

static bool add_symbol(text_encoder *encoder, uint32_t id)
{
    if (encoder->num_symbols == encoder->symbol_capacity) {
        const size_t capacity = encoder->symbol_capacity * 2 + 64;
        text_symbol *symbols = bm_resize(encoder->symbols, capacity, sizeof *symbols);
        if (!symbols)
            return false;
        encoder->symbols = symbols;
        encoder->symbol_capacity = capacity;
    }
    const uint32_t index = (uint32_t)encoder->num_symbols++;
    encoder->symbols[index] = (text_symbol){id, index - 1, index + 1}; // ends are mended by the caller
    return true;
}

// The bytes of one character as "<0xNN>" symbols. *done: all of them have pieces.
static bool add_bytes(text_encoder *encoder, const char *character, uint32_t length, bool *done)
{
    const text_bpe *bpe = &encoder->tokenizer->bpe;
    *done = false;
    for (uint32_t i = 0; i < length; i++)
        if (bpe->byte_ids[(uint8_t)character[i]] == TEXT_NO_ID)
            return true;
    for (uint32_t i = 0; i < length; i++)
        if (!add_symbol(encoder, bpe->byte_ids[(uint8_t)character[i]]))
            return false;
    *done = true;
    return true;
}

// One symbol a character; unknown ones by bytes, else as the unknown token, else dropped. A pending unknown is written
// before the next known character, and (as the reference has it) behind bytes that come between.
static bool add_characters(text_encoder *encoder, const char *word, size_t length)
{
    const bm_tokenizer *tokenizer = encoder->tokenizer;
    const text_bpe *bpe = &tokenizer->bpe;
    bool is_pending = false;
    for (size_t i = 0; i < length;) {
        const uint32_t width = text_utf8_length(word[i]);
        const uint32_t code_point = text_utf8_decode(word + i);
        uint32_t id = TEXT_NO_ID;
        if (code_point < BM_COUNT(bpe->near_ids))
            id = bpe->near_ids[code_point];
        else
            bm_map_find(tokenizer->ids, word + i, width, &id);
        bool by_bytes = false;
        if (id == TEXT_NO_ID && bpe->byte_fallback && !add_bytes(encoder, word + i, width, &by_bytes))
            return false;
        if (id != TEXT_NO_ID) {
            if ((is_pending && !add_symbol(encoder, bpe->unknown)) || !add_symbol(encoder, id))
                return false;
            is_pending = false;
        } else if (!by_bytes && bpe->unknown != TEXT_NO_ID) {
            if (is_pending && !bpe->fuse_unknown && !add_symbol(encoder, bpe->unknown))
                return false;
            is_pending = true;
        }
        i += width;
    }
    return !is_pending || add_symbol(encoder, bpe->unknown);
}

static bool heap_push(text_encoder *encoder, uint32_t rank, uint32_t position, uint32_t id)
{
    if (encoder->heap_count == encoder->heap_capacity) {
        const size_t capacity = encoder->heap_capacity * 2 + 64;
        text_candidate *heap = bm_resize(encoder->heap, capacity, sizeof *heap);
        if (!heap)
            return false;
        encoder->heap = heap;
        encoder->heap_capacity = capacity;
    }
    text_candidate *heap = encoder->heap;
    const uint64_t key = (uint64_t)rank << 32 | position;
    size_t at = encoder->heap_count++;
    for (; at > 0 && heap[(at - 1) / 2].key > key; at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = (text_candidate){key, id};
    return true;
}

static text_candidate heap_pop(text_encoder *encoder)
{
    text_candidate *heap = encoder->heap;
    const text_candidate top = heap[0];
    const size_t count = --encoder->heap_count;
    const text_candidate last = heap[count];
    size_t at = 0;
    for (size_t child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && heap[child + 1].key < heap[child].key)
            child++;
        if (heap[child].key >= last.key)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

// Puts the pair that begins at left into the heap if it has a merge.
static bool consider(text_encoder *encoder, uint32_t left)
{
    const text_symbol *symbols = encoder->symbols;
    const uint32_t right = symbols[left].next;
    if (right >= encoder->num_symbols)
        return true;
    const text_merge *merge = find_merge(&encoder->tokenizer->bpe, symbols[left].id, symbols[right].id);
    return !merge || heap_push(encoder, merge->rank, left, merge->id);
}

static bool merge_symbols(text_encoder *encoder)
{
    text_symbol *symbols = encoder->symbols;
    const uint32_t count = (uint32_t)encoder->num_symbols;
    encoder->heap_count = 0;
    for (uint32_t i = 0; i + 1 < count; i++)
        if (!consider(encoder, i))
            return false;
    while (encoder->heap_count > 0) {
        const text_candidate top = heap_pop(encoder);
        const uint32_t left = (uint32_t)top.key;
        const uint32_t right = symbols[left].next;
        if (symbols[left].id == TEXT_NO_ID || right >= count)
            continue;
        const text_merge *merge = find_merge(&encoder->tokenizer->bpe, symbols[left].id, symbols[right].id);
        if (!merge || merge->id != top.id)
            continue;
        symbols[left].id = top.id;
        symbols[left].next = symbols[right].next;
        symbols[right].id = TEXT_NO_ID;
        if (symbols[left].next < count)
            symbols[symbols[left].next].previous = left;
        if (symbols[left].previous < count && !consider(encoder, symbols[left].previous))
            return false;
        if (!consider(encoder, left))
            return false;
    }
    return true;
}

bm_status text_bpe_encode(text_encoder *encoder, const char *word, size_t length)
{
    const bm_tokenizer *tokenizer = encoder->tokenizer;
    uint32_t id;
    if (tokenizer->bpe.ignore_merges && bm_map_find(tokenizer->ids, word, length, &id))
        return bm_token_list_append(&encoder->ids, &id, 1) ? BM_OK : no_memory(encoder);
    encoder->num_symbols = 0;
    if (!add_characters(encoder, word, length))
        return no_memory(encoder);
    if (encoder->num_symbols == 0)
        return BM_OK;
    if (!merge_symbols(encoder))
        return no_memory(encoder);
    for (uint32_t i = 0; i < encoder->num_symbols; i = encoder->symbols[i].next)
        if (!bm_token_list_append(&encoder->ids, &encoder->symbols[i].id, 1))
            return no_memory(encoder);
    return BM_OK;
}
