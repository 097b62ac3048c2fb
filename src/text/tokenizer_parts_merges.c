// The merges of a "llama" vocabulary, which has none: every way to put a token together from two others.
//
// What is cut out of the text before (control, unknown and user-defined tokens) never comes from merging. A character
// that is no token by itself is bytes here; llama.cpp could still merge it, but no trained vocabulary has such tokens.
#include "text/tokenizer_parts_internal.h"

#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

// Pairs for each token on average, where real vocabularies have 2 to 3; one takes 350 bytes while its JSON is read.
#define MAX_PAIRS_EACH 4u
#define MAX_PAIRS_BESIDE 1024u // in all, for vocabularies of a few long tokens

typedef struct pair_list {
    text_pair *items;
    uint64_t count, capacity;
} pair_list;

static bool add_pair(pair_list *list, text_pair pair)
{
    if (list->count == list->capacity) {
        const uint64_t capacity = list->capacity * 2 + 1024;
        text_pair *items = bm_resize(list->items, capacity, sizeof *items);
        if (!items)
            return false;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = pair;
    return true;
}

static bool add_splits(const text_parts *parts, uint32_t id, pair_list *list)
{
    const bm_text_span token = parts->tokens[id];
    for (size_t cut = text_utf8_length(token.data[0]); cut < token.length; cut += text_utf8_length(token.data[cut])) {
        text_pair pair = {.score = parts->given->scores[id], .id = id};
        if (bm_map_find(parts->ids, token.data, cut, &pair.left) && !text_parts_is_added(parts, pair.left) &&
            bm_map_find(parts->ids, token.data + cut, token.length - cut, &pair.right) &&
            !text_parts_is_added(parts, pair.right) && !add_pair(list, pair))
            return false;
    }
    return true;
}

static int compare_ids(uint32_t a, uint32_t b)
{
    return a < b ? -1 : a > b;
}

// Highest score first; of equal ones the order in which Hugging Face's converter lists them.
static int compare_pairs(const void *a, const void *b)
{
    const text_pair *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->id != y->id)
        return compare_ids(x->id, y->id);
    return x->left != y->left ? compare_ids(x->left, y->left) : compare_ids(x->right, y->right);
}

bm_status text_parts_pairs(const text_parts *parts, text_pair **out, uint64_t *count, bm_error *err)
{
    const uint32_t num_tokens = parts->given->num_tokens;
    const uint64_t limit = (uint64_t)num_tokens * MAX_PAIRS_EACH + MAX_PAIRS_BESIDE;
    pair_list list = {0};
    bm_status status = BM_OK;
    for (uint32_t id = 0; id < num_tokens; id++) {
        if (text_parts_is_added(parts, id) || parts->tokens[id].length > TEXT_MAX_SPLIT_BYTES)
            continue;
        BM_FAIL_IF(!add_splits(parts, id, &list), err, BM_E_MEMORY, "%s: out of memory for the merges",
                   parts->given->name);
        BM_FAIL_IF(list.count > limit, err, BM_E_FORMAT,
                   "%s: key \"tokenizer.ggml.tokens\": more than %u ways on average to put a token together",
                   parts->given->name, MAX_PAIRS_EACH);
    }
    if (list.count > 1)
        qsort(list.items, list.count, sizeof *list.items, compare_pairs);
    *out = list.items;
    *count = list.count;
    list.items = NULL;
done:
    bm_free(list.items);
    return status;
}

// A number that falls where the score rises. Zero has one form.
static uint32_t rank_of(float score)
{
    const float value = score + 0.0F;
    uint32_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 31 ? bits : ~(bits | UINT32_C(1) << 31);
}

void text_parts_rank(bm_tokenizer *tokenizer, const float *scores)
{
    text_bpe *bpe = &tokenizer->bpe;
    for (uint64_t slot = 0; slot <= bpe->merge_mask; slot++)
        if (bpe->merges[slot].pair != UINT64_MAX)
            bpe->merges[slot].rank = rank_of(scores[bpe->merges[slot].id]);
}
