// One window of an evaluation: some sequences pass through one or two models, blocks first, then the head in slices of the
// vocabulary, each of which serves every batch before the next is loaded. Weights are loaded once.
#ifndef BM_INFER_EVALUATE_WINDOW_H
#define BM_INFER_EVALUATE_WINDOW_H

#include "model/batch.h"
#include "model/model.h"

// What a batch came to, an element a token. divergences: without a reference NULL, as losses[1] and best[1] are.
typedef struct bm_batch_losses {
    const float *losses[2];   // of the model and of the reference: -log p(target), nats; 0 where nothing is scored
    const uint32_t *best[2];  // most likely token
    const float *divergences; // KL(reference || model), nats
} bm_batch_losses;

typedef struct bm_evaluate_window {
    const bm_model *models[2]; // the model and the reference; NULL: none
    bm_device *device;
    bm_dtype dtype;
    const bm_batch_sequence *sequences;
    const uint32_t *const *targets; // [num_sequences] of each: [count]; BM_LOSS_UNSCORED where nothing is scored
    uint32_t num_sequences;
    uint32_t max_batch_tokens; // one cut for both models: a batch takes whole sequences up to this, at least one
    uint32_t slice;            // columns of the vocabulary at a time
    uint32_t index, num_windows;
    const bm_progress *progress;
    // Called for each batch, in order, with the range of its sequences.
    void (*add)(void *user, uint32_t first_sequence, uint32_t num_sequences, const bm_batch_losses *losses);
    void *user;
} bm_evaluate_window;

// Adds to *model_ns what the model took by itself: blocks and head, without the reference. Errors: those of loading, of the
// device, and of loss.h.
bm_status bm_evaluate_window_run(const bm_evaluate_window *window, uint64_t *model_ns, bm_error *err);

// Memory that a window takes a token, on the device and on the host together, without what one block and batch need.
uint64_t bm_evaluate_window_token_bytes(const bm_model *const models[2], bm_dtype dtype);
uint64_t bm_evaluate_window_table_bytes(const bm_model *const models[2]); // of those, what is no activation

#endif
