// Encoding: the walk from text to ids through the parts of a tokenizer.
#include "text/tokenizer_internal.h"

#include "text/unicode.h"

#include <string.h>

bool bm_token_list_append(bm_token_list *list, const uint32_t *ids, size_t count)
{
    if (count > list->capacity - list->count) {
        if (count > SIZE_MAX / 16 || list->count > SIZE_MAX / 16)
            return false;
        const size_t capacity = list->count + count + (list->count + count) / 2 + 16;
        uint32_t *grown = bm_resize(list->ids, capacity, sizeof *grown);
        if (!grown)
            return false;
        list->ids = grown;
        list->capacity = capacity;
    }
    if (count > 0)
        memcpy(list->ids + list->count, ids, count * sizeof *ids);
    list->count += count;
    return true;
}

void bm_token_list_free(bm_token_list *list)
{
    bm_free(list->ids);
    *list = (bm_token_list)BM_TOKEN_LIST_INIT;
}

static bm_status append_ids(text_encoder *encoder, const uint32_t *ids, size_t count)
{
    return bm_token_list_append(&encoder->ids, ids, count)
               ? BM_OK
               : bm_fail(encoder->err, BM_E_MEMORY, "out of memory for the tokens of a text");
}

// A stretch of normalized text without added tokens: words, then ids.
static bm_status encode_plain(text_encoder *encoder, const char *text, size_t length, bool is_first)
{
    if (length == 0)
        return BM_OK;
    const text_words *words = NULL;
    bm_status status = text_pretokenize(encoder, text, length, is_first, &words);
    for (size_t i = 0; status == BM_OK && i < words->count; i++)
        status = text_bpe_encode(encoder, bm_string_text(&words->text) + words->items[i].start, words->items[i].length);
    return status;
}

// A stretch of raw text without added tokens that are looked for in raw text.
static bm_status encode_raw(text_encoder *encoder, const char *text, size_t length, bool is_first)
{
    if (length == 0)
        return BM_OK;
    const bm_string *normalized = NULL;
    bm_status status = text_normalize(encoder, text, length, &normalized);
    if (status != BM_OK)
        return status;
    const char *data = bm_string_text(normalized);
    text_added_search search = {
        .set = &encoder->tokenizer->added_normalized, .text = data, .length = normalized->length};
    text_added_match match;
    size_t done = 0;
    while (text_added_next(&search, &match)) {
        if (done < match.begin)
            status = encode_plain(encoder, data + done, match.begin - done, is_first && done == 0);
        if (status == BM_OK)
            status = append_ids(encoder, &match.id, 1);
        if (status != BM_OK)
            return status;
        done = match.end;
    }
    return encode_plain(encoder, data + done, normalized->length - done, is_first && done == 0);
}

static bm_status encode_text(text_encoder *encoder, const char *text, size_t length)
{
    text_added_search search = {.set = &encoder->tokenizer->added_raw, .text = text, .length = length};
    text_added_match match;
    size_t done = 0;
    while (text_added_next(&search, &match)) {
        bm_status status = BM_OK;
        if (done < match.begin)
            status = encode_raw(encoder, text + done, match.begin - done, done == 0);
        if (status == BM_OK)
            status = append_ids(encoder, &match.id, 1);
        if (status != BM_OK)
            return status;
        done = match.end;
    }
    return encode_raw(encoder, text + done, length - done, done == 0);
}

bm_status bm_tokenizer_encode(const bm_tokenizer *tokenizer, const char *text, size_t length, bool add_special_tokens,
                              bm_token_list *out, bm_error *err)
{
    bm_status status = BM_OK;
    text_encoder encoder = {.tokenizer = tokenizer, .err = err, .ids = BM_TOKEN_LIST_INIT};
    encoder.regex_effort = text_regex_effort(length);
    encoder.budget_bytes = (uint64_t)length * TEXT_MAX_GROWTH + TEXT_GROWTH_BASE;
    BM_FAIL_IF(length >= TEXT_MAX_TEXT, err, BM_E_ARGUMENT, "a text of %zu bytes, expected less than 2 GiB", length);
    const size_t valid = text_utf8_valid_length(text, length);
    BM_FAIL_IF(valid != length, err, BM_E_FORMAT, "the text is not valid UTF-8 at byte %zu", valid);
    if (add_special_tokens)
        BM_TRY(append_ids(&encoder, tokenizer->front.ids, tokenizer->front.count));
    BM_TRY(encode_text(&encoder, text, length));
    if (add_special_tokens)
        BM_TRY(append_ids(&encoder, tokenizer->behind.ids, tokenizer->behind.count));
    BM_FAIL_IF(!bm_token_list_append(out, encoder.ids.ids, encoder.ids.count), err, BM_E_MEMORY,
               "out of memory for %zu tokens", encoder.ids.count);
done:
    bm_token_list_free(&encoder.ids);
    bm_string_free(&encoder.normalized[0]);
    bm_string_free(&encoder.normalized[1]);
    text_words_free(&encoder.words[0]);
    text_words_free(&encoder.words[1]);
    text_words_free(&encoder.matches);
    bm_free(encoder.symbols);
    bm_free(encoder.heap);
    return status;
}
