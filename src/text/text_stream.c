// Decoding id by id.
//
// Decoders look at neighbours (a first space is stripped, bytes join to characters), so an id cannot be decoded alone.
// The stream keeps a window of ids: [0, num_shown) are out already and serve as context, the rest is held back. What is
// new is the text of the whole window behind the text of the context. While it ends in U+FFFD a character may still be
// incomplete; after MAX_HELD ids it is taken for broken.
#include "text/tokenizer_internal.h"

#include <string.h>

#define MAX_HELD 8u // a character has at most 4 bytes, so at most 4 tokens

struct bm_text_stream {
    const bm_tokenizer *tokenizer;
    bool skip_special;
    bm_token_list window;
    size_t num_shown;
    bm_string context, whole; // texts of the context and of the window
};

bm_status bm_text_stream_create(bm_text_stream **out, const bm_tokenizer *tokenizer, bool skip_special, bm_error *err)
{
    bm_text_stream *stream = bm_alloc_zero(1, sizeof *stream);
    if (!stream)
        return bm_fail(err, BM_E_MEMORY, "out of memory for a text stream");
    stream->tokenizer = tokenizer;
    stream->skip_special = skip_special;
    *out = stream;
    return BM_OK;
}

void bm_text_stream_destroy(bm_text_stream **stream)
{
    if (!*stream)
        return;
    bm_token_list_free(&(*stream)->window);
    bm_string_free(&(*stream)->context);
    bm_string_free(&(*stream)->whole);
    bm_free(*stream);
    *stream = NULL;
}

// Bytes of whole that agree with context, cut to a character's start. Less than the context only when bytes that came
// later made earlier ones invalid.
static size_t shared_length(const bm_string *context, const bm_string *whole)
{
    const size_t limit = context->length < whole->length ? context->length : whole->length;
    const char *a = bm_string_text(context), *b = bm_string_text(whole);
    size_t length = 0;
    while (length < limit && a[length] == b[length])
        length++;
    if (length < limit)
        length = limit; // never show twice: go on where the context's length ends
    while (length < whole->length && ((uint8_t)b[length] & 0xC0) == 0x80)
        length++;
    return length;
}

static bm_status show(bm_text_stream *stream, bool at_end, bm_string *out, bm_error *err)
{
    bm_status status = BM_OK;
    const bm_token_list *window = &stream->window;
    bm_string_clear(&stream->context);
    bm_string_clear(&stream->whole);
    BM_TRY(bm_tokenizer_decode(stream->tokenizer, window->ids, stream->num_shown, stream->skip_special,
                               &stream->context, err));
    BM_TRY(
        bm_tokenizer_decode(stream->tokenizer, window->ids, window->count, stream->skip_special, &stream->whole, err));
    const size_t length = stream->whole.length; // the text may hold zero bytes
    const bool is_partial = length >= 3 && memcmp(stream->whole.data + length - 3, "\xEF\xBF\xBD", 3) == 0;
    if (!at_end && is_partial && window->count - stream->num_shown < MAX_HELD)
        goto done;
    const size_t shared = shared_length(&stream->context, &stream->whole);
    const char *fresh = bm_string_text(&stream->whole) + shared;
    if (!at_end && stream->whole.length <= shared)
        goto done;
    BM_FAIL_IF(!bm_string_append_bytes(out, fresh, stream->whole.length - shared), err, BM_E_MEMORY,
               "out of memory for a decoded text");
    // The ids just shown become the context; older ones go.
    memmove(window->ids, window->ids + stream->num_shown, (window->count - stream->num_shown) * sizeof *window->ids);
    stream->window.count -= stream->num_shown;
    stream->num_shown = stream->window.count;
done:
    return status;
}

bm_status bm_text_stream_push(bm_text_stream *stream, uint32_t id, bm_string *out, bm_error *err)
{
    if (stream->skip_special && bm_tokenizer_is_special(stream->tokenizer, id))
        return BM_OK; // it has no text, and must not fill the window
    if (!bm_tokenizer_piece(stream->tokenizer, id, NULL))
        return BM_OK;
    if (!bm_token_list_append(&stream->window, &id, 1))
        return bm_fail(err, BM_E_MEMORY, "out of memory for a text stream");
    return show(stream, false, out, err);
}

bm_status bm_text_stream_finish(bm_text_stream *stream, bm_string *out, bm_error *err)
{
    bm_status status = BM_OK;
    if (stream->window.count > stream->num_shown)
        status = show(stream, true, out, err);
    stream->window.count = stream->num_shown = 0;
    return status;
}
