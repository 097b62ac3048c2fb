// Text to token ids and back, as a model's tokenizer.json says.
//
// A tokenizer is read once and then only used. The file is a list of components (normalizer, pre-tokenizer, BPE model,
// post-processor, decoder); each one is either followed exactly or refused with words that name it: nothing is guessed
// from the family of the model. The reference is Hugging Face tokenizers 0.23; tools/compare_tokenizers.py compares.
//
// Text is UTF-8. Text that looks like an added token ("<s>") becomes that token, as it does in the reference.
//
// Source    formats.md section 8: the pipeline, the regular expressions, the merge loop.
#ifndef BM_TEXT_TOKENIZER_H
#define BM_TEXT_TOKENIZER_H

#include "base/base.h"
#include "base/str.h"

typedef struct bm_tokenizer bm_tokenizer;

// A growable list of token ids; starts as BM_TOKEN_LIST_INIT, freed with bm_token_list_free.
typedef struct bm_token_list {
    uint32_t *ids;
    size_t count;
    size_t capacity; // ids allocated
} bm_token_list;
#define BM_TOKEN_LIST_INIT                                                                                             \
    {                                                                                                                  \
        NULL, 0, 0                                                                                                     \
    }
bool bm_token_list_append(bm_token_list *list, const uint32_t *ids, size_t count); // false: no memory; list unchanged
void bm_token_list_free(bm_token_list *list);                                      // back to BM_TOKEN_LIST_INIT

// Reads tokenizer.json of a model folder, or the file itself, and beside it tokenizer_config.json,
// generation_config.json and config.json where they exist (for BOS, EOS and the flags; absent files are no error). Of a
// GGUF file, or of a folder without a tokenizer.json whose only model is one (gguf_locate.h), the tokenizer inside it.
//
// Owns      close with bm_tokenizer_close.
// Errors    BM_E_IO no such file; BM_E_FORMAT malformed; BM_E_UNSUPPORTED a component that is not built; BM_E_MEMORY.
bm_status bm_tokenizer_open(bm_tokenizer **out, const char *folder_or_file, bm_error *err);
void bm_tokenizer_close(bm_tokenizer **address);

// Appends the ids of length bytes of text to *out; with add_special_tokens also what the post-processor puts around.
//
// Cost      n log n in the length at worst, and what the regular expressions take: bounded by a number of steps for the
//           whole text, the same on every machine. Memory a small multiple of the text.
// Errors    BM_E_FORMAT text is not UTF-8, or a regular expression of the file runs past its limits on it;
//           BM_E_ARGUMENT text of 2 GiB or more; BM_E_MEMORY. *out then holds what it held before.
bm_status bm_tokenizer_encode(const bm_tokenizer *tokenizer, const char *text, size_t length, bool add_special_tokens,
                              bm_token_list *out, bm_error *err);

// Appends the text of count ids to *out. Ids that the vocabulary lacks give nothing, as in the reference (a model's
// output layer may have more rows than its tokenizer has pieces). skip_special leaves out tokens marked special.
// Errors    BM_E_FORMAT the decoder of the file blows the text up beyond reason, or a regular expression of it runs past
//           its limits; BM_E_MEMORY.
bm_status bm_tokenizer_decode(const bm_tokenizer *tokenizer, const uint32_t *ids, size_t count, bool skip_special,
                              bm_string *out, bm_error *err);

// The largest id + 1: gaps in the vocabulary count.
uint32_t bm_tokenizer_vocabulary_size(const bm_tokenizer *tokenizer);
// The id of a piece or added token, written as in the file; false: none.
bool bm_tokenizer_find(const bm_tokenizer *tokenizer, const char *piece, uint32_t *id);
// The piece of an id as written in the file (for byte-level files in their alphabet); NULL: none. Owned by the
// tokenizer.
const char *bm_tokenizer_piece(const bm_tokenizer *tokenizer, uint32_t id, size_t *length);
bool bm_tokenizer_is_special(const bm_tokenizer *tokenizer, uint32_t id);

// The tokens that end a text that is generated: all that tokenizer_config.json (eos_token), generation_config.json and
// config.json (eos_token_id, a number or a list) name, in this order; one named twice stands there twice, and an id
// may lie beyond the vocabulary. Owned by the tokenizer.
const bm_token_list *bm_tokenizer_ends(const bm_tokenizer *tokenizer);
// Beginning and end of sequence where one token is wanted; false: the model has none. They come from
// tokenizer_config.json, else from generation_config.json, else from config.json (of a list the first that the
// vocabulary has); BOS at last from the template.
bool bm_tokenizer_bos(const bm_tokenizer *tokenizer, uint32_t *id);
bool bm_tokenizer_eos(const bm_tokenizer *tokenizer, uint32_t *id);
// How many tokens add_special_tokens puts in front.
uint32_t bm_tokenizer_num_front(const bm_tokenizer *tokenizer);
// One line that says which rule decides on BOS and EOS and what it adds. Owned by the tokenizer.
const char *bm_tokenizer_describe(const bm_tokenizer *tokenizer);

// Decoding one id at a time, for text that is shown while it is generated. What was given out stays valid text: a
// character whose bytes come in several tokens is held back until it is whole.
typedef struct bm_text_stream bm_text_stream;
bm_status bm_text_stream_create(bm_text_stream **out, const bm_tokenizer *tokenizer, bool skip_special, bm_error *err);
void bm_text_stream_destroy(bm_text_stream **stream);
// Appends the text that id completes (often none) to *out.
bm_status bm_text_stream_push(bm_text_stream *stream, uint32_t id, bm_string *out, bm_error *err);
// Appends what was held back, broken characters as U+FFFD; the stream may be destroyed or begin anew.
bm_status bm_text_stream_finish(bm_text_stream *stream, bm_string *out, bm_error *err);

#endif
