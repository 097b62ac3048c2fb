// Block streaming: a set of sequences passes through a model one block at a time, so that a block's weights are loaded
// once and memory is one block, one batch's activations and the residual stream of all tokens.
//
// The residual stream of every batch is kept in float32: on the device where it fits, else in host memory, from and to which
// the device copies it around each block, or in a file.
#ifndef BM_INFER_STREAM_H
#define BM_INFER_STREAM_H

#include "infer/kept.h"
#include "model/block.h"

typedef struct bm_stream_params {
    const bm_model *model;
    bm_device *device;
    bm_dtype dtype;                     // storage of weights and activations
    const bm_batch_sequence *sequences; // must live as long as the stream
    uint32_t num_sequences;
    uint32_t max_batch_tokens;   // a batch takes whole sequences up to this, at least one; 0: bm_stream_batch_tokens
    uint64_t hidden_budget;      // device memory that the residual stream of all tokens may take; 0: half of it
    const char *folder;          // of a file for it, where the device does not hold it; NULL: host memory does
    const bm_progress *progress; // may be NULL
    const char *phase;           // name of the phase in progress reports
} bm_stream_params;

typedef struct bm_stream_batch {
    bm_batch batch;
    uint32_t first_sequence, num_sequences;
    uint64_t first_token; // of all tokens of the stream
    bm_tensor hidden;     // [num_tokens, hidden_size] of the stream's hidden_dtype; empty where the stream is in a file
} bm_stream_batch;

typedef struct bm_stream {
    bm_stream_params params;
    bm_stream_batch *batches;
    uint32_t num_batches, max_tokens; // max_tokens: of the largest batch
    uint64_t num_tokens;
    bm_dtype hidden_dtype; // float32; float64 where everything is
    bm_kept_place place;   // of the residual stream
    bm_kept kept;          // it, in a file
    bm_workspace workspace;
    bm_tensor staged; // [max_tokens, hidden_size]: a batch that does not live on the device, while it is worked on
    uint64_t start_ns;
} bm_stream;

// The most tokens of a batch that the work on it leaves room for in the device's memory, at most wanted (0: a default), at
// least the longest sequence.
uint32_t bm_stream_batch_tokens(const bm_model *model, const bm_device *device, bm_dtype dtype,
                                const bm_batch_sequence *sequences, uint32_t num_sequences, uint32_t wanted);
// How many of the first sequences make the first batch, and how many tokens it has. Where angles go by the length of a text (dynamic
// rotary scaling), one that is longer than the original length shares a batch with others of its length alone: what a text gives
// does not depend on its neighbours.
uint32_t bm_stream_first_batch(const bm_model *model, const bm_batch_sequence *sequences, uint32_t num_sequences,
                               uint32_t max_batch_tokens, uint32_t *num_tokens);

// Groups sequences into batches and looks their embeddings up, a batch at a time; before each it reports that nothing
// is done yet. Errors: BM_E_ARGUMENT for a token id beyond the vocabulary; those of reading; BM_E_CANCELLED,
// BM_E_MEMORY, BM_E_DEVICE.
bm_status bm_stream_create(const bm_stream_params *params, bm_stream **out, bm_error *err);
void bm_stream_destroy(bm_stream **stream);

// Loads each block in turn and runs every batch through it, once: the workspace is freed behind the last. Errors: those
// of reading; BM_E_CANCELLED, BM_E_MEMORY, BM_E_DEVICE.
bm_status bm_stream_run(bm_stream *stream, bm_error *err);

// The residual stream of a batch on the device, for reading or for one block's work; release writes it back where it
// lives when changed.
bm_status bm_stream_acquire(bm_stream *stream, uint32_t batch, bm_tensor *hidden, bm_error *err);
bm_status bm_stream_release(bm_stream *stream, uint32_t batch, const bm_tensor *hidden, bool changed, bm_error *err);

// Reports progress; BM_E_CANCELLED when the caller asks to stop.
bm_status bm_stream_report(const bm_stream *stream, uint32_t block, uint64_t done_tokens, bm_error *err);

#endif
