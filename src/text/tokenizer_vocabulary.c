// The model's vocabulary: {"piece": id, ...}, both ways.
//
// The pieces' bytes are copied into one block, so that the JSON tree may go. The list is walked once to measure and
// once to copy; ids may have gaps (a piece without data), never two pieces.
#include "text/tokenizer_internal.h"

#include <string.h>

static bm_status measure(const bm_tokenizer *tokenizer, const bm_json *vocab, uint64_t *size_bytes, uint32_t *count,
                         uint32_t *num_ids, bm_error *err)
{
    char shown[80];
    for (const bm_json *item = bm_json_first(vocab); item; item = bm_json_next(item)) {
        const char *piece = bm_json_key(item);
        const size_t length = strlen(piece);
        const bool is_integer = bm_json_kind_of(item) == BM_JSON_NUMBER && bm_json_is_integer(item);
        const double id = is_integer ? bm_json_number(item) : -1;
        if (id < 0 || id >= TEXT_MAX_ID)
            return bm_fail(err, BM_E_FORMAT, "%s: model.vocab: key \"%s\": expected an integer in 0..%u",
                           tokenizer->path, bm_printable(piece, length, shown, sizeof shown), TEXT_MAX_ID - 1);
        if (length > UINT16_MAX)
            return bm_fail(err, BM_E_FORMAT, "%s: model.vocab: a piece of %zu bytes, expected at most %u",
                           tokenizer->path, length, UINT16_MAX);
        *size_bytes += length + 1;
        *num_ids = (uint32_t)id >= *num_ids ? (uint32_t)id + 1 : *num_ids;
        ++*count;
    }
    return BM_OK;
}

static bm_status copy_pieces(bm_tokenizer *tokenizer, const bm_json *vocab, bm_error *err)
{
    char shown[80];
    char *place = tokenizer->storage;
    for (const bm_json *item = bm_json_first(vocab); item; item = bm_json_next(item)) {
        const char *piece = bm_json_key(item);
        const size_t length = strlen(piece);
        const uint32_t id = (uint32_t)bm_json_number(item);
        if (tokenizer->pieces[id].data)
            return bm_fail(err, BM_E_FORMAT, "%s: model.vocab: key \"%s\": id %u is taken by another piece",
                           tokenizer->path, bm_printable(piece, length, shown, sizeof shown), id);
        memcpy(place, piece, length + 1);
        tokenizer->pieces[id] = (text_piece){.data = place, .length = (uint32_t)length, .special = false};
        bool existing = false;
        if (!bm_map_insert(tokenizer->ids, place, length, id, &existing))
            return bm_fail(err, BM_E_MEMORY, "%s: out of memory for the vocabulary", tokenizer->path);
        if (existing)
            return bm_fail(err, BM_E_FORMAT, "%s: model.vocab: key \"%s\" is given twice", tokenizer->path,
                           bm_printable(piece, length, shown, sizeof shown));
        place += length + 1;
    }
    return BM_OK;
}

bm_status text_vocabulary_load(bm_tokenizer *tokenizer, const bm_json *model, bm_error *err)
{
    const bm_json *vocab = bm_json_find(model, "vocab");
    char found[BM_JSON_FOUND_SIZE];
    if (!vocab || bm_json_kind_of(vocab) != BM_JSON_OBJECT || !bm_json_first(vocab))
        return bm_fail(err, BM_E_FORMAT, "%s: key \"model.vocab\": expected an object of pieces and ids, found %s",
                       tokenizer->path, bm_json_found(vocab, found, sizeof found));
    uint64_t size_bytes = 0;
    uint32_t count = 0;
    const bm_status status = measure(tokenizer, vocab, &size_bytes, &count, &tokenizer->num_ids, err);
    if (status != BM_OK)
        return status;
    tokenizer->storage = bm_alloc(size_bytes, 1);
    tokenizer->pieces = bm_alloc_zero(tokenizer->num_ids, sizeof *tokenizer->pieces);
    tokenizer->ids = bm_map_create(count);
    if (!tokenizer->storage || !tokenizer->pieces || !tokenizer->ids)
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory for the vocabulary", tokenizer->path);
    return copy_pieces(tokenizer, vocab, err);
}
