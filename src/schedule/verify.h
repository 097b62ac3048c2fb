// Verification: what a run has written is read back from the disk as any reader of the checkpoint will, and compared with what
// was to be written.
//
// While pieces are written, a checksum is kept of each: of the rows of a linear in their canonical form (codes, steps, zero
// points, order of columns), of the bytes of tensors that stay float. Behind that the folder is opened as a model, each piece is
// read through its format and its checksums are compared. So a mistake in packing, a linear that config.json describes
// otherwise, a step that its type does not hold, and a file system that gives back something else all show before the result is in
// its place. The bytes may come from the system's cache: what the disk itself does to them later does not show.
#ifndef BM_SCHEDULE_VERIFY_H
#define BM_SCHEDULE_VERIFY_H

#include "base/progress.h"
#include "store/store.h"

typedef struct bm_verification bm_verification;

bm_status bm_verification_create(bm_verification **out, bm_error *err);
void bm_verification_destroy(bm_verification **verification);
// Rows first .. of a linear, before they are put; and a piece of a tensor; by threads side by side, if they like. With a NULL verification nothing is done. Errors:
// BM_E_NUMERIC for a step that is not finite, or that scales of this type do not hold; BM_E_MEMORY. Of a format that is not read
// as codes the weights are compared that a loader makes of them, in float16 as GGUF is read; of blocks of GGUF's Q8_0 their values.
bm_status bm_verification_add_rows(bm_verification *verification, const bm_store_format *format,
                                   const bm_store_linear *linear, uint64_t first, const bm_store_rows *rows,
                                   bm_error *err);
bm_status bm_verification_add_q8_0(bm_verification *verification, const char *name, uint64_t first, const void *blocks,
                                   uint64_t size, bm_error *err);
bm_status bm_verification_add_bytes(bm_verification *verification, const char *name, uint64_t first, const void *bytes,
                                    uint64_t size, bm_error *err);

// Memory that adding takes meanwhile. Of rows: weights of a row of a format that is not read as codes. Of blocks of Q8_0, however many:
// values of a slice in float32 and float16.
#define BM_VERIFICATION_SLICE (UINT64_C(1) << 17) // weights, which a cache holds and one thread decodes (gguf_view.c)
#define BM_VERIFICATION_Q8_0_BYTES (6 * BM_VERIFICATION_SLICE)
uint64_t bm_verification_work_bytes(const bm_store_format *format, const bm_store_linear *linear);

// What a phase of it reports first: bytes that will be read.
bm_progress_report bm_verification_report(const bm_verification *verification);
// Compares what the folder holds with what was added, by several threads that hold max_bytes of it at once (or one piece, where that
// is more). No device is needed. Errors: BM_E_INTERNAL with the first tensor or linear that differs or cannot be read; BM_E_IO,
// BM_E_MEMORY, BM_E_CANCELLED.
bm_status bm_verification_run(bm_verification *verification, const char *folder, uint64_t max_bytes, bm_phase *phase,
                              bm_error *err);
// How any look at the result ends: with words on what differs or cannot be read, that verification failed.
bm_status bm_verification_end(bm_status status, const bm_error *words, bm_error *err);

#endif
