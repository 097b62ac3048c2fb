// A tokenizer made from its parts, as GGUF files carry them, and taken to parts again.
//
// Two kinds exist. "llama" (SentencePiece's byte pair encoding): of all adjacent pairs whose text together is a token
// the one of the highest score is merged, the leftmost of equal ones; what no token covers becomes bytes "<0xNN>".
// "gpt2": words by the regular expressions that "pre" names, in the byte-level alphabet, merged by rank.
//
// From parts a tokenizer.json is written, and the tokenizer is what the reader of tokenizer.json makes of it: a folder
// written from a GGUF file and the file itself give the same ids. One thing the text cannot say is that two merges are
// equal: in "llama" the tokenizer made here keeps ties of scores (leftmost first), a reader of the written file takes
// them in the order of the list. They differ where one piece may be put together in two ways that overlap ("a"+"aa").
//
// Source    formats.md 6.7, 8, 9.1 (row 6.7 SPM).
#ifndef BM_TEXT_TOKENIZER_PARTS_H
#define BM_TEXT_TOKENIZER_PARTS_H

#include "text/tokenizer.h"

// Bytes of a name, a token or a template; no terminating zero is needed.
typedef struct bm_text_span {
    const char *data;
    size_t length;
} bm_text_span;

typedef enum bm_token_type { // the numbers of tokenizer.ggml.token_type; the reader may pass on others: refused
    BM_TOKEN_NORMAL = 1,
    BM_TOKEN_UNKNOWN = 2,
    BM_TOKEN_CONTROL = 3,
    BM_TOKEN_USER_DEFINED = 4,
    BM_TOKEN_UNUSED = 5,
    BM_TOKEN_BYTE = 6
} bm_token_type;

#define BM_PARTS_NO_ID UINT32_MAX

// What a flag of the file says.
typedef enum bm_parts_flag {
    BM_PARTS_ABSENT = 0, // then what llama.cpp takes for this kind and "pre"
    BM_PARTS_FALSE,
    BM_PARTS_TRUE
} bm_parts_flag;

// The values of the keys tokenizer.ggml.* (formats.md 6.7). All zero is "nothing given" but for the ids, which
// BM_TOKENIZER_PARTS_INIT sets. Everything is borrowed, but in what bm_tokenizer_to_parts made.
typedef struct bm_tokenizer_parts {
    const char *name;   // what errors start with: the file's name
    bm_text_span model; // tokenizer.ggml.model: "llama" or "gpt2"
    bm_text_span pre;   // tokenizer.ggml.pre: of "gpt2"; length 0: absent, then "default"

    const bm_text_span *tokens; // [num_tokens], by id
    const float *scores;        // [num_tokens]; NULL: absent ("llama" is then refused)
    const int32_t *types;       // [num_tokens] of bm_token_type; NULL: absent, all normal
    uint32_t num_tokens;
    const bm_text_span *merges; // [num_merges], "left right", by rank; of "gpt2"
    uint32_t num_merges;

    uint32_t bos, eos, unknown, padding; // BM_PARTS_NO_ID: absent
    uint32_t eot, eom;                   // end of a turn, of a message; likewise
    bm_parts_flag add_bos, add_eos, add_space_prefix;
    bm_text_span chat_template; // data NULL: none

    char *note;    // of bm_tokenizer_to_parts: what the parts say otherwise, one line; NULL: nothing
    void *storage; // of bm_tokenizer_to_parts: what it allocated; NULL: all is borrowed
} bm_tokenizer_parts;

#define BM_TOKENIZER_PARTS_INIT                                                                                        \
    {                                                                                                                  \
        .bos = BM_PARTS_NO_ID, .eos = BM_PARTS_NO_ID, .unknown = BM_PARTS_NO_ID, .padding = BM_PARTS_NO_ID,            \
        .eot = BM_PARTS_NO_ID, .eom = BM_PARTS_NO_ID                                                                   \
    }

// Makes a tokenizer. The parts may go afterwards.
// Owns      close with bm_tokenizer_close.
// Errors    BM_E_FORMAT parts that contradict each other or are out of range; BM_E_UNSUPPORTED another kind or an
//           unknown "pre" (the words list those that are known); BM_E_MEMORY.
bm_status bm_tokenizer_from_parts(bm_tokenizer **out, const bm_tokenizer_parts *parts, bm_error *err);

// Appends the texts of the files of a model folder that say the same: tokenizer.json, tokenizer_config.json (special
// tokens, flags, chat template) and generation_config.json (the ids that begin and end a text). Each may be NULL.
// Errors as above.
bm_status bm_tokenizer_parts_to_files(const bm_tokenizer_parts *parts, bm_string *json, bm_string *config,
                                      bm_string *generation, bm_error *err);

// The parts of a tokenizer, for a GGUF file: kind, "pre" by the regular expressions of the pre-tokenizer, scores such
// that merging by score is merging by rank. Ids without a token, up to num_tokens (0: the vocabulary's size), become
// "[PAD<id>]" of type unused. chat_template stays empty: the tokenizer does not know it.
//
// Owns      free with bm_tokenizer_parts_free; spans may point into the tokenizer, which must live as long.
// Errors    BM_E_UNSUPPORTED with the reason where such parts cannot say what the tokenizer does; BM_E_MEMORY.
bm_status bm_tokenizer_to_parts(bm_tokenizer_parts *out, const bm_tokenizer *tokenizer, uint32_t num_tokens,
                                bm_error *err);
void bm_tokenizer_parts_free(bm_tokenizer_parts *parts);
// Of those alone bos, eos and, of further tokens that end a text, eot and eom: programs stop at each.
void bm_tokenizer_parts_name_ends(bm_tokenizer_parts *out, const bm_tokenizer *tokenizer);

#endif
