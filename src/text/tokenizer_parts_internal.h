// What the files tokenizer_parts*.c, tokenizer_pre.c and tokenizer_to_parts.c share.
#ifndef BM_TEXT_TOKENIZER_PARTS_INTERNAL_H
#define BM_TEXT_TOKENIZER_PARTS_INTERNAL_H

#include "text/tokenizer_internal.h"
#include "text/tokenizer_parts.h"

#define TEXT_SPACE "\xE2\x96\x81" // U+2581, what "llama" writes for a space
#define TEXT_MAX_SPLIT_BYTES 256u // of a token that merging may make; a hostile one costs the square of it

// ---- pre-tokenizers by name (tokenizer_pre.c) ----
#define TEXT_PRE_NAMES 8u
#define TEXT_PRE_SPLITS 6u
#define TEXT_PRE_DIGITS "<digits>" // stands for the component Digits, one by one

typedef struct text_pre {
    const char *names[TEXT_PRE_NAMES];   // the first is the one that is written
    const char *splits[TEXT_PRE_SPLITS]; // regular expressions, one after the other, matches and gaps are words
    bool composes;                       // text is brought to form C before
    bool ignore_merges;                  // a word that is a token is that token
    bool add_bos;                        // unless the file says otherwise
} text_pre;
const text_pre *text_pre_find(const char *name, size_t length); // NULL: unknown
void text_pre_list(bm_string *out);                             // "gpt-2, phi-2, ..."
const text_pre *text_pre_of(const bm_tokenizer *tokenizer);     // NULL: no name says what its stages do

// ---- parts that were checked (tokenizer_parts.c) ----
typedef struct text_parts {
    const bm_tokenizer_parts *given;
    bool is_spm;          // "llama", else "gpt2"
    const text_pre *pre;  // of "gpt2"
    bm_text_span *tokens; // [given->num_tokens]; an empty one has become "[EMPTY_<id>]"
    char **names;         // [num_names] of those, owned
    uint32_t num_names;
    bm_map *ids;
    uint32_t bos, eos, unknown, padding;
    bool add_bos, add_eos, add_space_prefix;
} text_parts;
bm_status text_parts_check(text_parts *out, const bm_tokenizer_parts *parts, bm_error *err);
void text_parts_clear(text_parts *parts);
bm_token_type text_parts_type(const text_parts *parts, uint32_t id);
// Cut out of the text before anything else sees it.
bool text_parts_is_added(const text_parts *parts, uint32_t id);

// ---- merges of "llama" (tokenizer_parts_merges.c) ----
typedef struct text_pair {
    float score;
    uint32_t id, left, right;
} text_pair;
// All pairs of tokens that make a token, the one that is merged first in front; bm_free it.
bm_status text_parts_pairs(const text_parts *parts, text_pair **out, uint64_t *count, bm_error *err);
// Gives merges the order of their scores: equal ones get one rank.
void text_parts_rank(bm_tokenizer *tokenizer, const float *scores);

// ---- the files (tokenizer_parts_json.c, tokenizer_parts_config.c) ----
bm_status text_parts_write_json(const text_parts *parts, bm_string *out, bm_error *err);
void text_parts_write_config(const text_parts *parts, bm_string *config);
void text_parts_write_generation(const text_parts *parts, bm_string *generation);

#endif
