// Calibration data: the sequences that a method watches, as many as its steps take.
#ifndef BM_SCHEDULE_CALIBRATION_DATA_H
#define BM_SCHEDULE_CALIBRATION_DATA_H

#include "arguments/arguments.h"
#include "model/batch.h"
#include "model/model.h"
#include "text/dataset.h"

typedef struct bm_calibration_data {
    bm_dataset *dataset; // owned; NULL: none was loaded
    // What the model is fed, in the order of the run: packed examples apart, as attention must not cross from one into
    // the next. Owned, in memory of the dataset.
    bm_batch_sequence *segments;
    uint32_t *segment_sequences; // [num_segments]: the sequence of the dataset that each is of
    uint32_t num_segments;
    uint32_t num_sequences;  // a pack counts as one
    uint32_t step_sequences; // sequences a step: per_device_train_batch_size
    uint64_t num_tokens;
} bm_calibration_data;

// Loads the sequences of the job's steps: of a folder quant, else train; or those of one file, text in slices of
// max_length tokens. In an order drawn with the seed, unless keep_order. Fewer than the steps want are all used, with a
// note; calibration_tokens ends in the middle of a sequence.
//
// src_length, max_length  tokens of a prompt and of a sequence, not above the model's context
// notes                   on what was found; log (may be NULL) hears of the files
//
// Owns      bm_calibration_data_free, also after a failure.
// Errors    BM_E_ARGUMENT no data named, or nothing left of them, with the key; token ids beyond the vocabulary; those of
//           bm_tokenizer_open and bm_dataset_load.
bm_status bm_calibration_data_load(const bm_arguments *arguments, uint32_t src_length, uint32_t max_length,
                                   const bm_model *model, bm_notes *notes, const bm_log *log, bm_calibration_data *out,
                                   bm_error *err);
// The template of "chat_template", a file of Jinja or a model's folder, or NULL when the key is not set; the caller closes
// it.
bm_status bm_open_chat_template(const bm_arguments *arguments, bm_chat_template **out, bm_error *err);
void bm_calibration_data_free(bm_calibration_data *data);

// Segments of the sequences of the first steps; -1: all.
uint32_t bm_calibration_data_first(const bm_calibration_data *data, int64_t steps);

// A segment for messages: "quant.json: example 17". Returns out[capacity].
const char *bm_calibration_data_name(const bm_calibration_data *data, uint32_t segment, char *out, size_t capacity);

#endif
