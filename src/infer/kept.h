// What batches keep from one pass over them to the next: a matrix each, on the device, in host memory or in a file.
#ifndef BM_INFER_KEPT_H
#define BM_INFER_KEPT_H

#include "base/scratch.h"
#include "device/tensor.h"

typedef enum bm_kept_place {
    BM_KEPT_DEVICE,
    BM_KEPT_HOST,
    BM_KEPT_FILE,
    BM_KEPT_NOWHERE, // nothing is kept: computed again
} bm_kept_place;

typedef struct bm_kept {
    bm_device *device;
    bm_kept_place place;             // of batches from num_first on
    uint32_t num_batches, num_first; // num_first: on the device all the same
    bm_tensor *slots;                // [num_batches]: on the device or in host memory
    bm_scratch *file;                // a record a batch
} bm_kept;

const char *bm_kept_place_name(bm_kept_place place); // "on the device", "in host memory", "in a file", "computed again"

// For a matrix of every batch, of which the first num_first lie on the device whatever the place of the others. folder: where a file is to lie. Memory on the device that *kept has from an earlier time stays, if the matrices are to
// lie there again. Errors: BM_E_MEMORY, BM_E_IO. End with bm_kept_end.
bm_status bm_kept_begin(bm_kept *kept, bm_device *device, bm_kept_place place, uint32_t num_batches, uint32_t num_first,
                        const char *folder, bm_error *err);
bm_kept_place bm_kept_place_of(const bm_kept *kept, uint32_t batch);
// The matrices are not needed any more. A file is removed; memory on the device is there for the next bm_kept_begin.
void bm_kept_clear(bm_kept *kept);
void bm_kept_end(bm_kept *kept);                    // zeroes the struct; an empty one is fine
uint64_t bm_kept_device_bytes(const bm_kept *kept); // of the memory that it has on the device

// Where a batch's matrix is to be computed: on the device where it stays, so that nothing is copied; else, and where *kept
// is an empty struct, own.
//
//   own  [tokens, features] a matrix of the caller's, in the shape that is wanted
//   out  the caller does not destroy it. May be own
//
// Errors: BM_E_MEMORY, BM_E_DEVICE no device memory.
bm_status bm_kept_slot(bm_kept *kept, uint32_t batch, const bm_tensor *own, bm_tensor *out, bm_error *err);
// Each batch is put once, from where bm_kept_slot said, into a file as often as it changes; then each may be taken, any number of
// times: *matrix is its slot, or own, filled. Not for BM_KEPT_NOWHERE. Errors: BM_E_MEMORY, BM_E_DEVICE, BM_E_IO.
bm_status bm_kept_put(bm_kept *kept, uint32_t batch, const bm_tensor *matrix, bm_error *err);
bm_status bm_kept_take(bm_kept *kept, uint32_t batch, const bm_tensor *own, bm_tensor *matrix, bm_error *err);

#endif
