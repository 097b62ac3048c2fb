// The parts of a tokenizer, for a GGUF file; or the reason why such parts cannot say what it does.
//
// Byte-level tokenizers are taken as they are: vocabulary, merges by rank, and the name of their regular expressions.
// A SentencePiece-like one has ranks, GGUF has scores of tokens, and every pair that makes a token merges there. Both
// agree when no pair is missing from the merges and the ranks of all pairs of one token lie together: then the score
// is minus the number of the token in the order of ranks.
#include "text/tokenizer_parts_internal.h"

#include "text/unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What bm_tokenizer_to_parts allocates, in one object.
typedef struct parts_storage {
    bm_text_span *tokens, *merges;
    float *scores;
    int32_t *types;
    char **names; // [num_names] of gaps
    uint32_t num_names;
    bm_string merge_text;
} parts_storage;

void bm_tokenizer_parts_free(bm_tokenizer_parts *parts)
{
    parts_storage *storage = parts->storage;
    if (storage) {
        for (uint32_t i = 0; i < storage->num_names; i++)
            bm_free(storage->names[i]);
        bm_free(storage->names);
        bm_free(storage->tokens);
        bm_free(storage->merges);
        bm_free(storage->scores);
        bm_free(storage->types);
        bm_string_free(&storage->merge_text);
        bm_free(storage);
    }
    bm_free(parts->note);
    *parts = (bm_tokenizer_parts)BM_TOKENIZER_PARTS_INIT;
}

static bm_status refuse(const bm_tokenizer *tokenizer, bm_error *err, const char *why)
{
    return bm_fail(err, BM_E_UNSUPPORTED, "%s: GGUF cannot hold this tokenizer: %s", tokenizer->path, why);
}

static bm_status no_memory(const bm_tokenizer *tokenizer, bm_error *err)
{
    return bm_fail(err, BM_E_MEMORY, "%s: out of memory for the parts of a tokenizer", tokenizer->path);
}

static void add_note(bm_tokenizer_parts *out, const char *text)
{
    if (!out->note)
        out->note = bm_string_copy(text);
}

// ---- tokens and types ----

static void mark_added(bm_tokenizer_parts *out, const bm_tokenizer *tokenizer, const text_added_set *set)
{
    parts_storage *storage = out->storage;
    for (uint32_t i = 0; i < set->count && storage->tokens && storage->types; i++) {
        const text_added *added = &set->items[i];
        storage->tokens[added->id] = (bm_text_span){added->content, strlen(added->content)};
        storage->types[added->id] = tokenizer->pieces[added->id].special ? BM_TOKEN_CONTROL : BM_TOKEN_USER_DEFINED;
        if (added->single_word || added->lstrip || added->rstrip)
            add_note(out, "added tokens that take the white space beside them (lstrip, rstrip) or stand alone "
                          "(single_word) do not do so in GGUF");
    }
}

static bm_status fill_tokens(bm_tokenizer_parts *out, const bm_tokenizer *tokenizer, bool is_spm, bm_error *err)
{
    parts_storage *storage = out->storage;
    const uint32_t count = out->num_tokens;
    storage->tokens = bm_alloc_zero(count, sizeof *storage->tokens);
    storage->types = bm_alloc(count, sizeof *storage->types);
    storage->names = bm_alloc(count, sizeof *storage->names);
    if (!storage->tokens || !storage->types || !storage->names)
        return no_memory(tokenizer, err);
    for (uint32_t id = 0; id < count; id++) {
        const text_piece *piece = id < tokenizer->num_ids ? &tokenizer->pieces[id] : NULL;
        storage->types[id] = BM_TOKEN_NORMAL;
        if (piece && piece->data) {
            storage->tokens[id] = (bm_text_span){piece->data, piece->length};
            continue;
        }
        char *name = bm_format("[PAD%u]", id);
        if (!name)
            return no_memory(tokenizer, err);
        storage->names[storage->num_names++] = name;
        storage->tokens[id] = (bm_text_span){name, strlen(name)};
        storage->types[id] = BM_TOKEN_UNUSED;
    }
    for (uint32_t byte = 0; byte < 256 && is_spm; byte++)
        storage->types[tokenizer->bpe.byte_ids[byte]] = BM_TOKEN_BYTE;
    mark_added(out, tokenizer, &tokenizer->added_raw);
    mark_added(out, tokenizer, &tokenizer->added_normalized);
    if (is_spm)
        storage->types[tokenizer->bpe.unknown] = BM_TOKEN_UNKNOWN;
    out->tokens = storage->tokens;
    out->types = storage->types;
    return BM_OK;
}

// ---- flags ----

void bm_tokenizer_parts_name_ends(bm_tokenizer_parts *out, const bm_tokenizer *tokenizer)
{
    const bm_token_list *ends = bm_tokenizer_ends(tokenizer);
    uint32_t id, *const others[] = {&out->eot, &out->eom};
    size_t num_others = 0;
    if (bm_tokenizer_bos(tokenizer, &id))
        out->bos = id;
    if (bm_tokenizer_eos(tokenizer, &id))
        out->eos = id;
    for (size_t i = 0; i < ends->count; i++) {
        id = ends->ids[i];
        if (id == out->eos || id == out->eot || id == out->eom)
            continue;
        if (num_others < BM_COUNT(others))
            *others[num_others++] = id;
        else
            add_note(out, "more than three tokens end a text, of which GGUF names three");
    }
}

static bm_status fill_flags(bm_tokenizer_parts *out, const bm_tokenizer *tokenizer, bm_error *err)
{
    const bm_token_list *front = &tokenizer->front, *behind = &tokenizer->behind;
    bm_tokenizer_parts_name_ends(out, tokenizer);
    if (front->count > 1 || (front->count == 1 && front->ids[0] != tokenizer->bos))
        return refuse(tokenizer, err, "other tokens than the beginning of sequence are put in front of a text");
    if (behind->count > 1 || (behind->count == 1 && behind->ids[0] != tokenizer->eos))
        return refuse(tokenizer, err, "other tokens than the end of sequence are put behind a text");
    out->add_bos = front->count ? BM_PARTS_TRUE : BM_PARTS_FALSE;
    out->add_eos = behind->count ? BM_PARTS_TRUE : BM_PARTS_FALSE;
    return BM_OK;
}

// ---- merges ----

static int compare_merges(const void *a, const void *b)
{
    const text_merge *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return x->pair < y->pair ? -1 : x->pair > y->pair;
}

// The merges of the table in the order of their ranks; bm_free it.
static text_merge *sorted_merges(const bm_tokenizer *tokenizer, uint32_t *count)
{
    const text_bpe *bpe = &tokenizer->bpe;
    *count = 0;
    for (uint64_t slot = 0; slot <= bpe->merge_mask; slot++)
        *count += bpe->merges[slot].pair != UINT64_MAX;
    text_merge *merges = bm_alloc(*count, sizeof *merges);
    uint32_t used = 0;
    for (uint64_t slot = 0; merges && slot <= bpe->merge_mask; slot++)
        if (bpe->merges[slot].pair != UINT64_MAX)
            merges[used++] = bpe->merges[slot];
    if (merges && used > 1)
        qsort(merges, used, sizeof *merges, compare_merges);
    return merges;
}

// "gpt2": "left right" by rank.
static bm_status fill_merges(bm_tokenizer_parts *out, const bm_tokenizer *tokenizer, bm_error *err)
{
    bm_status status = BM_OK;
    parts_storage *storage = out->storage;
    bm_string *text = &storage->merge_text;
    uint32_t count = 0;
    text_merge *merges = sorted_merges(tokenizer, &count);
    storage->merges = bm_alloc(count, sizeof *storage->merges);
    if (!merges || !storage->merges) {
        status = no_memory(tokenizer, err);
        goto done;
    }
    for (uint32_t i = 0; i < count; i++) {
        const text_piece *halves[2] = {&tokenizer->pieces[merges[i].pair >> 32],
                                       &tokenizer->pieces[(uint32_t)merges[i].pair]};
        const size_t start = text->length;
        for (uint32_t k = 0; k < 2; k++) {
            if (memchr(halves[k]->data, ' ', halves[k]->length)) {
                status = refuse(tokenizer, err, "a merge has a piece with a space in it");
                goto done;
            }
            bm_string_append_bytes(text, halves[k]->data, halves[k]->length);
            if (k == 0)
                bm_string_append_bytes(text, " ", 1);
        }
        storage->merges[i].length = text->length - start;
    }
    if (text->failed) {
        status = no_memory(tokenizer, err);
        goto done;
    }
    const char *place = bm_string_text(text); // it moves no more
    for (uint32_t i = 0; i < count; place += storage->merges[i++].length)
        storage->merges[i].data = place;
    out->merges = storage->merges;
    out->num_merges = count;
done:
    bm_free(merges);
    return status;
}

// Tokens that are cut out of the text take no part in merges.
static bool may_merge(const bm_tokenizer_parts *out, uint32_t id)
{
    return out->types[id] == BM_TOKEN_NORMAL || out->types[id] == BM_TOKEN_BYTE;
}

// Every pair of tokens that makes a token must be a merge, since llama.cpp would merge it.
static bm_status check_pairs(const bm_tokenizer_parts *out, const bm_tokenizer *tokenizer, const uint32_t *num_merges,
                             bm_error *err)
{
    for (uint32_t id = 0; id < tokenizer->num_ids; id++) {
        const bm_text_span token = out->tokens[id];
        if (!may_merge(out, id))
            continue;
        if (token.length > TEXT_MAX_SPLIT_BYTES) {
            char why[120];
            (void)snprintf(why, sizeof why, "token %u has %zu bytes, expected at most %u of one that merging may make",
                           id, token.length, TEXT_MAX_SPLIT_BYTES);
            return refuse(tokenizer, err, why);
        }
        uint32_t pairs = 0;
        for (size_t cut = text_utf8_length(token.data[0]); cut < token.length;
             cut += text_utf8_length(token.data[cut])) {
            uint32_t left = 0, right = 0;
            if (bm_map_find(tokenizer->ids, token.data, cut, &left) &&
                bm_map_find(tokenizer->ids, token.data + cut, token.length - cut, &right))
                pairs += may_merge(out, left) && may_merge(out, right);
        }
        if (pairs > num_merges[id]) {
            char why[200], shown[80];
            (void)bm_printable(token.data, token.length, shown, sizeof shown);
            (void)snprintf(why, sizeof why,
                           "it merges by rank, and \"%s\" can be put together in a way that is no merge", shown);
            return refuse(tokenizer, err, why);
        }
    }
    return BM_OK;
}

// "llama": the n-th token that the merges make gets the score -n; what is not made lies below.
static bm_status fill_scores(bm_tokenizer_parts *out, const bm_tokenizer *tokenizer, bm_error *err)
{
    bm_status status = BM_OK;
    parts_storage *storage = out->storage;
    uint32_t count = 0, made = 0, last = TEXT_NO_ID;
    text_merge *merges = sorted_merges(tokenizer, &count);
    uint32_t *num_merges = bm_alloc_zero(out->num_tokens, sizeof *num_merges);
    storage->scores = bm_alloc(out->num_tokens, sizeof *storage->scores);
    if (!merges || !num_merges || !storage->scores) {
        status = no_memory(tokenizer, err);
        goto done;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t id = merges[i].id;
        if (!may_merge(out, (uint32_t)(merges[i].pair >> 32)) || !may_merge(out, (uint32_t)merges[i].pair))
            continue;
        if (num_merges[id]++ == 0) {
            storage->scores[id] = -(float)made++;
        } else if (last != id) {
            status = refuse(tokenizer, err, "the ranks of merges that make one token do not lie together");
            goto done;
        }
        last = id;
    }
    for (uint32_t id = 0; id < out->num_tokens; id++)
        if (num_merges[id] == 0)
            storage->scores[id] = out->types[id] == BM_TOKEN_NORMAL   ? -(float)(made + 1)
                                  : out->types[id] == BM_TOKEN_UNUSED ? -1e6F
                                                                      : 0.0F;
    out->scores = storage->scores;
    BM_TRY(check_pairs(out, tokenizer, num_merges, err));
done:
    bm_free(merges);
    bm_free(num_merges);
    return status;
}

// ---- the two kinds ----

static bm_status fill_byte_level(bm_tokenizer_parts *out, const bm_tokenizer *tokenizer, bm_error *err)
{
    const text_pre *pre = text_pre_of(tokenizer);
    if (!pre)
        return refuse(tokenizer, err, "no pre-tokenizer that llama.cpp knows by name does what this one does");
    if (tokenizer->bpe.byte_fallback || tokenizer->bpe.unknown != TEXT_NO_ID)
        return refuse(tokenizer, err, "a byte-level model with byte_fallback or unk_token");
    out->model = (bm_text_span){"gpt2", 4};
    out->pre = (bm_text_span){pre->names[0], strlen(pre->names[0])};
    const bm_status status = fill_tokens(out, tokenizer, false, err);
    return status == BM_OK ? fill_merges(out, tokenizer, err) : status;
}

static bool is_replacement(const text_normalizer *normalizer)
{
    return normalizer->kind == NORMALIZER_REPLACE && !normalizer->pattern.regex &&
           strcmp(normalizer->pattern.literal, " ") == 0 && strcmp(normalizer->content, TEXT_SPACE) == 0;
}

// Spaces become U+2581, with one more in front of a text or without. A split at spaces finds none behind that.
static bool writes_spaces(bm_tokenizer_parts *out, const bm_tokenizer *tokenizer)
{
    const text_normalizer *normalizers = tokenizer->normalizers;
    const text_stage *stages = tokenizer->stages;
    if (tokenizer->num_normalizers == 0 && tokenizer->num_stages == 1 && stages[0].kind == STAGE_METASPACE) {
        out->add_space_prefix = stages[0].prepend == PREPEND_NEVER ? BM_PARTS_FALSE : BM_PARTS_TRUE;
        if (stages[0].prepend == PREPEND_FIRST)
            add_note(out, "GGUF puts a space in front of every stretch of text between special tokens, this tokenizer "
                          "in front of the first alone");
        else if (stages[0].prepend == PREPEND_ALWAYS)
            add_note(out, "GGUF puts a space in front of a text that begins with one, too");
        return strcmp(stages[0].replacement, TEXT_SPACE) == 0;
    }
    const bool has_no_stage =
        tokenizer->num_stages == 0 || (tokenizer->num_stages == 1 && stages[0].kind == STAGE_SPLIT &&
                                       stages[0].pattern.literal && strcmp(stages[0].pattern.literal, " ") == 0);
    const bool prepends = tokenizer->num_normalizers == 2 && normalizers[0].kind == NORMALIZER_PREPEND &&
                          strcmp(normalizers[0].content, TEXT_SPACE) == 0;
    out->add_space_prefix = prepends ? BM_PARTS_TRUE : BM_PARTS_FALSE;
    return has_no_stage && tokenizer->num_normalizers == (prepends ? 2u : 1u) &&
           is_replacement(&normalizers[prepends ? 1 : 0]);
}

static bm_status fill_spm(bm_tokenizer_parts *out, const bm_tokenizer *tokenizer, bm_error *err)
{
    const text_bpe *bpe = &tokenizer->bpe;
    if (!writes_spaces(out, tokenizer))
        return refuse(tokenizer, err,
                      "its normalizer and pre-tokenizer are neither those of a byte-level model nor those of a "
                      "SentencePiece model (spaces as U+2581, no words)");
    if (bpe->ignore_merges || bpe->unknown == TEXT_NO_ID || !bpe->byte_fallback)
        return refuse(tokenizer, err,
                      "a SentencePiece-like model without unk_token, without byte_fallback, or with "
                      "ignore_merges");
    for (uint32_t byte = 0; byte < 256; byte++)
        if (bpe->byte_ids[byte] == TEXT_NO_ID)
            return refuse(tokenizer, err, "its vocabulary lacks pieces of bytes, \"<0x00>\" to \"<0xFF>\"");
    out->model = (bm_text_span){"llama", 5};
    out->pre = (bm_text_span){"default", 7};
    out->unknown = bpe->unknown;
    const bm_status status = fill_tokens(out, tokenizer, true, err);
    return status == BM_OK ? fill_scores(out, tokenizer, err) : status;
}

bm_status bm_tokenizer_to_parts(bm_tokenizer_parts *out, const bm_tokenizer *tokenizer, uint32_t num_tokens,
                                bm_error *err)
{
    bm_status status = BM_OK;
    bm_tokenizer_parts parts = BM_TOKENIZER_PARTS_INIT;
    bool is_byte_level = false;
    if (!tokenizer->pieces)
        return refuse(tokenizer, err, "it has no tokens");
    parts.name = tokenizer->path;
    parts.num_tokens = num_tokens > tokenizer->num_ids ? num_tokens : tokenizer->num_ids;
    parts.storage = bm_alloc_zero(1, sizeof(parts_storage));
    BM_FAIL_IF(!parts.storage, err, BM_E_MEMORY, "%s: out of memory", tokenizer->path);
    for (uint32_t i = 0; i < tokenizer->num_stages; i++)
        is_byte_level = is_byte_level || tokenizer->stages[i].kind == STAGE_BYTES;
    BM_TRY(fill_flags(&parts, tokenizer, err));
    BM_TRY(is_byte_level ? fill_byte_level(&parts, tokenizer, err) : fill_spm(&parts, tokenizer, err));
    *out = parts;
    parts = (bm_tokenizer_parts)BM_TOKENIZER_PARTS_INIT;
done:
    bm_tokenizer_parts_free(&parts);
    return status;
}
