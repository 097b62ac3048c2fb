// Loss of a language model over a vocabulary that comes in slices.
//
// Logits of all tokens over a whole vocabulary are never held: each slice [tokens, some columns] goes into a running
// softmax, eight numbers a token. For one batch:
//
//   bm_loss_begin      discards the batch before
//   bm_loss_add        once a slice, in any order of slices
//   bm_loss_finish     waits; gives loss and most likely token of every token
//
// and for the divergence of model q from reference p, when both have seen all slices (so logits are made twice):
//
//   bm_loss_add_divergence  once a slice, before bm_loss_finish of q
#ifndef BM_OPS_LOSS_H
#define BM_OPS_LOSS_H

#include "device/tensor.h"

#define BM_LOSS_UNSCORED UINT32_C(0xffffffff) // as a target: the token is not scored

typedef struct bm_loss {
    uint32_t max_tokens, num_tokens;
    uint32_t num_slices;      // added since begin
    uint32_t num_divergences; // slices of bm_loss_add_divergence since begin
    bm_tensor state;          // [max_tokens, 8] float32; kernel cross_entropy says what it holds
    bm_tensor divergence;     // [1, max_tokens] float32
} bm_loss;

// What bm_loss_finish writes, one element a token. NULL: not wanted.
typedef struct bm_loss_result {
    float *losses;      // -log p(target), nats; 0 where the token is not scored
    uint32_t *best;     // most likely column, the first of equals (vocabularies up to 2^24)
    float *divergences; // KL(p || q), nats; needs bm_loss_add_divergence
} bm_loss_result;

// For batches of 1..max_tokens tokens. Destroy with bm_loss_destroy, before the device is closed.
// Errors: BM_E_ARGUMENT no tokens; BM_E_MEMORY; BM_E_DEVICE no device memory.
bm_status bm_loss_create(bm_device *device, uint32_t max_tokens, bm_loss **out, bm_error *err);
void bm_loss_destroy(bm_loss **loss);

// Starts a batch. Errors: BM_E_ARGUMENT more tokens than max_tokens, or none.
bm_status bm_loss_begin(bm_device *device, bm_loss *loss, uint32_t num_tokens, bm_error *err);

// Adds a slice.
//
//   logits        [num_tokens, cols]  float32: columns first_column .. first_column + cols - 1 of the vocabulary.
//                 NaN and infinity are reported at the wait (BM_E_NUMERIC) with the token's position
//   targets       [num_tokens] u32: the next token, or BM_LOSS_UNSCORED
//
// Errors   BM_E_ARGUMENT shapes disagree.
bm_status bm_loss_add(bm_device *device, bm_loss *loss, const bm_tensor *logits, bm_view targets, uint32_t first_column,
                      bm_error *err);

// Adds a slice to KL(p || q); p and q have seen all slices. Kept in q.
//
//   p_logits, q_logits  [num_tokens, cols]  float32: the same columns; NaN and infinity are reported as by bm_loss_add
//
// Errors   BM_E_ARGUMENT shapes disagree; p or q has seen no slice.
bm_status bm_loss_add_divergence(bm_device *device, const bm_loss *p, bm_loss *q, const bm_tensor *p_logits,
                                 const bm_tensor *q_logits, bm_error *err);

// Waits and computes the results of the batch. targets as bm_loss_add had them.
//
// Errors   BM_E_ARGUMENT a target that no slice held, or no slice; BM_E_NUMERIC a logit, loss or divergence that is
//          not finite; BM_E_MEMORY; BM_E_DEVICE.
// Source   Milakov and Gimelshein, Online normalizer calculation for softmax, 2018, algorithm 3.
bm_status bm_loss_finish(bm_device *device, const bm_loss *loss, bm_view targets, const bm_loss_result *result,
                         bm_error *err);

// Floating-point operations of bm_loss_add.
double bm_loss_operations(uint64_t tokens, uint64_t cols);

#endif
