// The steps of loading a data set, shared by the files dataset_*.c.
//   files (dataset_source.c) -> examples (dataset_lines.c) -> token ranges (dataset_sequence.c) -> packs (dataset_pack.c)
#ifndef BM_TEXT_DATASET_INTERNAL_H
#define BM_TEXT_DATASET_INTERNAL_H

#include "base/file.h"
#include "formats/json.h"
#include "text/dataset.h"

#define DATASET_MAX_FILE_BYTES (UINT64_C(1) << 30) // of all examples together, and of one file
#define DATASET_MAX_LINE_BYTES (16u << 20)

// ---- files ----
typedef struct dataset_files {
    char **paths;
    uint32_t count;
    char *source; // what they are called in notes: a file or a folder
} dataset_files;
bm_status dataset_files_find(dataset_files *out, const bm_dataset_params *params, const bm_log *log, bm_error *err);
void dataset_files_free(dataset_files *files);

// ---- examples ----
typedef enum dataset_kind { DATASET_KIND_NONE, DATASET_KIND_PAIRS, DATASET_KIND_TEXT, DATASET_KIND_IDS } dataset_kind;

typedef struct dataset_example {
    size_t src, src_length; // range of the storage; of a text: all of it; of a line of ids: range of the ids
    size_t tgt, tgt_length;
    const char *path; // of its file, which the list of files owns
    const char *unit; // "line" or "element"
    uint64_t number;  // of these, from 1
} dataset_example;

// One of a conversation, zero-terminated in the storage.
typedef struct dataset_turn {
    size_t src, tgt;
} dataset_turn;

typedef struct dataset_examples {
    bm_string storage;
    dataset_turn *turns; // of conversations; an example's src and src_length are its range of these
    size_t num_turns, turn_capacity;
    bool has_turns; // src and tgt are conversations
    bm_token_list ids;
    dataset_example *items;
    size_t count, capacity;
    dataset_kind kind; // all are of one kind
} dataset_examples;
// Appends the examples of one file of JSON lines (or one JSON array).
bm_status dataset_examples_read(dataset_examples *examples, const char *path, const bm_log *log, bm_error *err);
void dataset_examples_free(dataset_examples *examples);
// Appends the list "input_ids" of a line; where is file and line, for errors. Fails unless "attention_mask", if there is
// one, is 1 for each id.
bm_status dataset_read_ids(const bm_json *line, const char *where, bm_token_list *out, bm_error *err);

// ---- token ranges ----
typedef struct dataset_range {
    size_t start; // of ids and targets
    uint32_t count;
    uint32_t number; // of the example in the source, or of the slice of all texts; from 1
} dataset_range;

typedef struct dataset_tokens {
    bm_token_list ids, targets; // of the same length
    dataset_range *ranges;
    size_t count, capacity;
    uint32_t example;                          // number of the pair, or line of ids, in work
    uint64_t num_cut_prompts, num_cut_answers; // for a note
    uint64_t num_empty;                        // too short to feed or score anything
    uint32_t first_empty;                      // the least number of these
    uint64_t num_cut_lines;                    // of ids
    uint64_t num_left_turns;                   // of conversations
    bool is_full;                              // more would exceed max_tokens
} dataset_tokens;

// Scratch and settings for turning examples into tokens.
typedef struct dataset_encoder {
    const bm_tokenizer *tokenizer;
    const bm_dataset_params *params;
    bm_token_list prompt, answer, around; // around: front and behind tokens of the tokenizer
    uint32_t eos;                         // BM_NO_TARGET: none
    uint32_t slice;                       // tokens of a slice of plain text
} dataset_encoder;
bm_status dataset_encoder_begin(dataset_encoder *encoder, const bm_tokenizer *tokenizer,
                                const bm_dataset_params *params, const bm_log *log, bm_error *err);
void dataset_encoder_end(dataset_encoder *encoder);
bm_status dataset_encode_pair(dataset_encoder *encoder, const char *src, size_t src_length, const char *tgt,
                              size_t tgt_length, dataset_tokens *out, bm_error *err);
bm_status dataset_encode_text(dataset_encoder *encoder, const char *text, size_t length, dataset_tokens *out,
                              bm_error *err);
bm_status dataset_take_ids(const dataset_encoder *encoder, const uint32_t *ids, size_t count, dataset_tokens *out,
                           bm_error *err);
bm_status dataset_encode_turns(dataset_encoder *encoder, const char *storage, const dataset_turn *turns,
                               uint32_t num_turns, dataset_tokens *out, bm_error *err);
size_t dataset_room_left(const dataset_tokens *tokens, const bm_dataset_params *params); // tokens that may still be fed
void dataset_leave_out(dataset_tokens *tokens); // the example in work: too short
bool dataset_tokens_add(dataset_tokens *tokens, size_t start, uint32_t count, uint32_t number);
void dataset_tokens_free(dataset_tokens *tokens);

// ---- packs ----
// pack_of[i] = the pack that range i goes to; packs are numbered in the order in which they are opened. Within a pack
// the order of the ranges is kept. *num_packs may be 0.
bm_status dataset_pack(const dataset_tokens *tokens, uint32_t max_length, bool greedy, uint32_t *pack_of,
                       uint32_t *num_packs, bm_error *err);

#endif
