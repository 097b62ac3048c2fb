// The parts of a tokenizer, shared by the files tokenizer_*.c and by nobody else.
//
// The pipeline, and who does each step:
//   raw text --added tokens (not normalized)--> pieces       tokenizer_added.c
//            --normalizers--> pieces                         tokenizer_normalize.c
//            --added tokens (normalized)--> pieces           tokenizer_added.c
//            --pre-tokenizer stages--> words                 tokenizer_pretokenize.c
//            --BPE--> ids                                    tokenizer_bpe.c
//            --template--> ids with BOS, EOS                 tokenizer_template.c
#ifndef BM_TEXT_TOKENIZER_INTERNAL_H
#define BM_TEXT_TOKENIZER_INTERNAL_H

#include "base/hash.h"
#include "formats/json.h"
#include "text/tokenizer.h"

#define TEXT_NO_ID UINT32_MAX
// Bounds on what a file may ask for; real files stay far below all of them.
#define TEXT_MAX_ID (1u << 24)                   // ids below this: largest known vocabulary about 2.6e5
#define TEXT_MAX_COMPONENTS 64u                  // normalizers, stages or decoders of a chain
#define TEXT_MAX_LITERAL 256u                    // bytes of a replacement, literal pattern or added token
#define TEXT_MAX_TEXT ((size_t)1 << 31)          // bytes of a text: symbols are numbered by uint32_t
#define TEXT_MAX_JSON_BYTES (UINT64_C(64) << 20) // of a tokenizer.json; the largest known is about 35 MB
#define TEXT_MAX_GROWTH 64u                      // bytes that components may write, per byte of input ...
#define TEXT_GROWTH_BASE (1u << 20)              // ... and at least this many

typedef struct text_piece {
    const char *data; // NULL: no piece has this id
    uint32_t length;
    bool special;
} text_piece;

// ---- patterns: a literal or a regular expression (tokenizer_pattern.c, tokenizer_regex.c) ----
typedef struct text_regex text_regex;
bm_status text_regex_compile(text_regex **out, const char *pattern, const char *where, bm_error *err);
void text_regex_destroy(text_regex **regex);
const char *text_regex_pattern(const text_regex *regex); // as it stands in the file
// What the matches of one text may cost together beyond what every place has, however many words it is cut into.
uint64_t text_regex_effort(size_t text_bytes);

// Finds the first match in text at or behind from; *begin = SIZE_MAX: none. Errors: BM_E_FORMAT with the file's name
// when *effort, which it takes from, does not suffice.
bm_status text_regex_find(const text_regex *regex, const char *text, size_t length, size_t from, uint64_t *effort,
                          size_t *begin, size_t *end, bm_error *err);

typedef struct text_pattern {
    text_regex *regex; // NULL: literal
    char *literal;     // owned
    size_t literal_length;
} text_pattern;
bm_status text_pattern_parse(text_pattern *out, const bm_json *component, const char *where, bm_error *err);
void text_pattern_clear(text_pattern *pattern);

// A walk over all matches. An empty match directly behind the last one is passed over, as Oniguruma's iterator does.
typedef struct text_matcher {
    const text_pattern *pattern;
    const char *text;
    size_t length;
    size_t from;     // where the next search begins
    size_t last_end; // end of the last match; SIZE_MAX: none yet
    uint64_t *effort;
} text_matcher;
void text_matcher_begin(text_matcher *matcher, const text_pattern *pattern, const char *text, size_t length,
                        uint64_t *effort);
bm_status text_matcher_next(text_matcher *matcher, size_t *begin, size_t *end, bool *found, bm_error *err);

// ---- chains of components ----
typedef struct text_normalizer {
    enum { NORMALIZER_PREPEND, NORMALIZER_REPLACE, NORMALIZER_NFC } kind;
    char *content;        // prepend, replacement; owned
    text_pattern pattern; // replace
} text_normalizer;

typedef struct text_stage {
    enum { STAGE_SPLIT, STAGE_DIGITS, STAGE_PREFIX_SPACE, STAGE_BYTES, STAGE_METASPACE } kind;
    text_pattern pattern;                                                                          // split
    enum { SPLIT_ISOLATED, SPLIT_REMOVED, SPLIT_PREVIOUS, SPLIT_NEXT, SPLIT_CONTIGUOUS } behavior; // split, digits
    bool invert;                                                                                   // split
    bool individual;                                                                               // digits
    char *replacement;                                                                             // metaspace; owned
    enum { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } prepend;                                 // metaspace
} text_stage;

typedef struct text_decoder {
    enum { DECODER_REPLACE, DECODER_BYTE_FALLBACK, DECODER_FUSE, DECODER_STRIP, DECODER_METASPACE, DECODER_BYTES } kind;
    text_pattern pattern; // replace
    char *content;        // replacement, stripped or metaspace character; owned
    uint32_t start, stop; // strip
    bool drops_first;     // metaspace: replacements in the first piece vanish
} text_decoder;

typedef struct text_added {
    const char *content; // in the vocabulary's or own storage; the file's spelling
    char *matched;       // what is searched: content, normalized where the token says so; owned
    uint32_t matched_length;
    uint32_t id;
    bool single_word, lstrip, rstrip;
} text_added;

// Added tokens of one kind, sorted by what is searched.
typedef struct text_added_set {
    text_added *items;
    uint32_t count;
    uint32_t first[257]; // items that begin with byte b: first[b] .. first[b + 1] - 1
} text_added_set;

// ---- the model ----
typedef struct text_merge {
    uint64_t pair; // left id << 32 | right id; UINT64_MAX: free slot
    uint32_t rank; // index in the file's list: the lowest is applied first
    uint32_t id;   // of the merged piece
} text_merge;

typedef struct text_bpe {
    text_merge *merges; // open addressing; [merge_mask + 1]
    uint64_t merge_mask;
    uint64_t seed;    // of the table's hash, not guessable from the file
    uint32_t unknown; // TEXT_NO_ID: none
    bool byte_fallback, fuse_unknown, ignore_merges;
    uint32_t byte_ids[256];  // of "<0xNN>"; TEXT_NO_ID: none
    uint32_t near_ids[1024]; // of the pieces that are one character below U+0400
} text_bpe;

struct bm_tokenizer {
    char *path;         // of tokenizer.json, for errors
    char *storage;      // the pieces' bytes
    text_piece *pieces; // [num_ids]
    uint32_t num_ids;
    bm_map *ids;          // model's piece -> id
    bm_map *added_ids;    // added token -> id
    char **added_storage; // [num_added_storage] contents
    uint32_t num_added_storage;
    text_bpe bpe;
    text_added_set added_raw, added_normalized;
    text_normalizer *normalizers;
    uint32_t num_normalizers;
    text_stage *stages;
    uint32_t num_stages;
    text_decoder *decoders;
    uint32_t num_decoders;
    bool has_decoder;
    bool has_post_processor;     // the file's key was not null
    bool has_template;           // and held a TemplateProcessing
    bm_token_list front, behind; // what add_special_tokens adds
    bm_token_list ends;          // what ends a text that is generated
    uint32_t bos, eos;           // TEXT_NO_ID: none
    int16_t byte_of[0x144];      // byte-level alphabet: code point -> byte, -1: not in it
    uint16_t code_point_of[256]; // and back
    char *description;
};

// Loading. json is the component's value (NULL or null: absent). Errors start with the tokenizer's path.
bm_status text_vocabulary_load(bm_tokenizer *tokenizer, const bm_json *model, bm_error *err);
bm_status text_bpe_load(bm_tokenizer *tokenizer, const bm_json *model, bm_error *err);
void text_bpe_clear(text_bpe *bpe);
bm_status text_added_load(bm_tokenizer *tokenizer, const bm_json *added_tokens, bm_error *err);
void text_added_set_clear(text_added_set *set);
bm_status text_normalizers_load(bm_tokenizer *tokenizer, const bm_json *json, bm_error *err);
bm_status text_stages_load(bm_tokenizer *tokenizer, const bm_json *json, bm_error *err);
bm_status text_template_load(bm_tokenizer *tokenizer, const bm_json *json, bm_error *err);
bm_status text_decoders_load(bm_tokenizer *tokenizer, const bm_json *json, bm_error *err);
bm_status text_config_load(bm_tokenizer *tokenizer, const char *folder, bm_error *err);

// The files beside tokenizer.json.
enum { TEXT_CONFIG_TOKENIZER, TEXT_CONFIG_GENERATION, TEXT_CONFIG_MODEL, TEXT_NUM_CONFIGS };
bm_status text_config_apply(bm_tokenizer *tokenizer, bm_json *const roots[TEXT_NUM_CONFIGS],
                            char *const paths[TEXT_NUM_CONFIGS], bm_error *err); // roots may be NULL
// A tokenizer of a tokenizer.json, without what lies beside it. path is what errors start with.
bm_status text_tokenizer_make(bm_tokenizer **out, const bm_json *root, const char *path, bm_error *err);
void text_normalizers_clear(bm_tokenizer *tokenizer);
void text_stages_clear(bm_tokenizer *tokenizer);
void text_decoders_clear(bm_tokenizer *tokenizer);

// Flattens a component and the Sequences in it into leaves, in order. list_key names the list of a Sequence.
typedef struct text_components {
    const bm_json *items[TEXT_MAX_COMPONENTS];
    const char *types[TEXT_MAX_COMPONENTS];
    uint32_t count;
} text_components;
bm_status text_components_flatten(text_components *out, const bm_json *json, const char *list_key, const char *where,
                                  bm_error *err);
// A required member of kind string, at most TEXT_MAX_LITERAL bytes, copied. At least minimum bytes.
bm_status text_literal_get(char **out, const bm_json *component, const char *key, size_t minimum, const char *where,
                           bm_error *err);

// ---- encoding ----
typedef struct text_word {
    size_t start, length;
    bool is_first; // begins at byte 0 of the text that was given
} text_word;

typedef struct text_words {
    bm_string text; // the words lie in it
    text_word *items;
    size_t count, capacity;
} text_words;
bool text_words_add(text_words *words, size_t start, size_t length, bool is_first); // an empty word is left out
void text_words_free(text_words *words);

typedef struct text_symbol {
    uint32_t id; // TEXT_NO_ID: swallowed by its left neighbour
    uint32_t previous, next;
} text_symbol;

typedef struct text_candidate {
    uint64_t key; // rank << 32 | position of the left symbol
    uint32_t id;  // of the merged piece
} text_candidate;

// All scratch memory of one call.
typedef struct text_encoder {
    const bm_tokenizer *tokenizer;
    bm_error *err;
    bm_token_list ids;
    bm_string normalized[2]; // the last step writes one from the other
    text_words words[2];     // likewise
    text_words matches;      // of a split; is_first: it is a match
    text_symbol *symbols;
    size_t num_symbols, symbol_capacity;
    text_candidate *heap;
    size_t heap_count, heap_capacity;
    uint64_t budget_bytes; // what components may still write
    uint64_t regex_effort;
} text_encoder;

// Writes the normalized form of text to *out (borrowed until the next call).
bm_status text_normalize(text_encoder *encoder, const char *text, size_t length, const bm_string **out);
// Cuts text into words: *out is borrowed until the next call.
bm_status text_pretokenize(text_encoder *encoder, const char *text, size_t length, bool is_first,
                           const text_words **out);
bm_status text_bpe_encode(text_encoder *encoder, const char *word, size_t length);
// Takes size_bytes from the budget.
bm_status text_encoder_spend(text_encoder *encoder, size_t size_bytes);

// A walk over the added tokens in a text.
typedef struct text_added_search {
    const text_added_set *set;
    const char *text;
    size_t length;
    size_t from;      // where the next search begins: behind the last token
    size_t done;      // where the last match ended, the white space that it swallowed included
    size_t white_end; // end of the white space that was measured last
} text_added_search;
typedef struct text_added_match {
    size_t begin, end; // white space that it swallows included; text between done and begin is no token
    uint32_t id;
} text_added_match;
// Finds the next added token; false: none. Sets search->done to the match's end.
bool text_added_next(text_added_search *search, text_added_match *out);

#endif
