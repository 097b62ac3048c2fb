// Data for calibration and evaluation: sequences of token ids, made from a folder of JSON lines or from plain text, or
// lines of ids that are taken as they are.
//
// A sequence holds exactly what is fed to the model, and for each position the id that should come next. It has one
// segment, or several when examples are packed: attention must not cross a segment's border, and positions restart
// there. All sequences are made when the data are loaded, in one order that every pass repeats.
//
// Source    parameters.md section 5 (5.1 folder, 5.2 fields, 5.3 truncation, 5.5 packing, 5.6 order, 5.8 plain text).
#ifndef BM_TEXT_DATASET_H
#define BM_TEXT_DATASET_H

#include "text/chat_template.h"
#include "text/tokenizer.h"

typedef enum bm_dataset_purpose {
    BM_DATASET_CALIBRATION, // quant, else train; shuffled, may be packed
    BM_DATASET_EVALUATION,  // dev; in file order
    BM_DATASET_PREDICTION,  // test; in file order
} bm_dataset_purpose;

typedef struct bm_dataset_params {
    const char *path;           // folder, or one file: .json or .jsonl (src and tgt, text, or input_ids), .txt
    bm_dataset_purpose purpose; // which file of a folder; one file serves every purpose
    uint32_t src_length;        // most tokens of a prompt, special ones included; at least 2
    uint32_t max_length;        // most tokens of prompt and answer, or of a line of ids; more than src_length
    uint32_t context;           // tokens of a slice of plain text in evaluation; 0: the smaller of 2048 and max_length
    bool drop_last;             // plain text: leave out the last, shorter slice
    uint64_t seed;              // of the order
    bool keep_order;            // calibration in file order
    bool zero_padding;          // calibration: pack examples to max_length
    bool greedy;                // pack best fit, in windows of 500 examples
    uint32_t max_sequences;     // keep the first so many of the order; 0: all
    const bm_chat_template *chat_template; // src and tgt are turns of a conversation; NULL: prompt and answer
    uint64_t max_tokens; // feed at most so many: of plain text the first, of examples whole ones; 0: all
} bm_dataset_params;
void bm_dataset_params_init(bm_dataset_params *params); // 1024, 2048, 0, seed 42, everything else off

#define BM_NO_TARGET UINT32_MAX

typedef struct bm_sequence {
    const uint32_t *ids;     // [count] what is fed
    const uint32_t *targets; // [count] the id that follows position i; BM_NO_TARGET: not scored
    const uint32_t *starts;  // [num_segments + 1] segment s is starts[s] .. starts[s + 1] - 1; the last one is count
    uint32_t count;
    uint32_t num_segments;
    uint32_t number; // its place in the source, from 1, whatever the order of the run: of examples, slices or packs
} bm_sequence;

typedef struct bm_dataset bm_dataset;

// Reads and tokenizes the data that params name. Notes (which file, lists cut to their first element, truncated
// examples) go to log, which may be NULL.
//
// Owns      destroy with bm_dataset_destroy; the tokenizer is not used afterwards.
// Errors    BM_E_ARGUMENT lengths that contradict each other, or no such file in the folder; BM_E_IO; BM_E_FORMAT with
//           file and line; BM_E_MEMORY.
bm_status bm_dataset_load(bm_dataset **out, const bm_dataset_params *params, const bm_tokenizer *tokenizer,
                          const bm_log *log, bm_error *err);
void bm_dataset_destroy(bm_dataset **address);

uint32_t bm_dataset_count(const bm_dataset *dataset); // sequences
const bm_sequence *bm_dataset_sequence(const bm_dataset *dataset, uint32_t index);
uint64_t bm_dataset_num_tokens(const bm_dataset *dataset);  // fed
uint64_t bm_dataset_num_targets(const bm_dataset *dataset); // scored
bool bm_dataset_is_plain_text(const bm_dataset *dataset);   // slices of text, not lines
bool bm_dataset_is_token_ids(const bm_dataset *dataset);    // lines of ids, every id but the first of which is scored
const char *bm_dataset_source(const bm_dataset *dataset);   // the file or folder that was read; owned by the dataset

// A sequence for messages, "quant.json: line 17", into out[capacity]; a longer name is cut. Returns out.
const char *bm_dataset_name_sequence(const bm_dataset *dataset, uint32_t index, char *out, size_t capacity);

// Errors: BM_E_ARGUMENT where an id or a target is not below vocabulary (the tokenizer of another model), with the
// sequence's name.
bm_status bm_dataset_check_ids(const bm_dataset *dataset, uint32_t vocabulary, bm_error *err);

// Batches are consecutive sequences: batch b of size n holds sequences b n .. min((b + 1) n, count) - 1.
uint32_t bm_dataset_num_batches(const bm_dataset *dataset, uint32_t batch_size, bool drop_last);

#endif
