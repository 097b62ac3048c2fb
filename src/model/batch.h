// A ragged batch: several sequences one behind the other, without padding.
//
// Every token knows its position in its sequence and the range of rows of the key and value matrices that it may see.
// This one rule covers causal attention, sliding windows, packed sequences and the key/value cache of generation.
#ifndef BM_MODEL_BATCH_H
#define BM_MODEL_BATCH_H

#include "device/device.h"
#include "model/family.h"

typedef struct bm_batch {
    uint32_t num_tokens;
    uint32_t first_position;    // smallest position
    uint32_t max_position;      // largest position plus one
    bm_buffer *memory;          // one buffer that holds all of the below
    bm_view ids;                // [num_tokens] u32
    bm_view positions;          // [num_tokens] u32, from 0 in each sequence
    bm_view last_key;           // [num_tokens] u32: row of keys, inclusive
    bm_view first_key;          // [num_tokens] u32, for layers with full attention
    bm_view first_key_windowed; // [num_tokens] u32, for layers with a sliding window
} bm_batch;

// One sequence of a batch on the host.
typedef struct bm_batch_sequence {
    const uint32_t *ids;
    uint32_t count;
} bm_batch_sequence;

// Uploads a batch of sequences; keys are the rows of the batch itself. window is the config's sliding_window (0: none).
// Errors: BM_E_ARGUMENT for an empty batch, BM_E_MEMORY, BM_E_DEVICE. Destroy with bm_batch_destroy.
bm_status bm_batch_create(bm_device *device, const bm_batch_sequence *sequences, uint32_t num_sequences,
                          uint32_t window, bm_batch *out, bm_error *err);
// A batch of count new tokens behind first_position tokens whose keys and values lie in rows 0.. of a cache.
bm_status bm_batch_create_cached(bm_device *device, const uint32_t *ids, uint32_t count, uint32_t first_position,
                                 uint32_t window, bm_batch *out, bm_error *err);
void bm_batch_destroy(bm_batch *batch);

#endif
