// Writing a checkpoint: tensors are declared first, so that headers and shards are laid out before a byte is written;
// their contents then come in any order, piece by piece. A shard's file is made with its first byte and flushed to the
// disk with its last: who writes tensors in the order of their declaration holds one file open at a time.
#ifndef BM_FORMATS_CHECKPOINT_WRITER_H
#define BM_FORMATS_CHECKPOINT_WRITER_H

#include "formats/safetensors.h"

typedef struct bm_checkpoint_writer bm_checkpoint_writer;

#define BM_DEFAULT_SHARD_BYTES UINT64_C(5000000000) // 5 GB, the usual size

bm_status bm_checkpoint_writer_create(bm_checkpoint_writer **out, const char *folder, uint64_t max_shard_bytes,
                                      bm_error *err);
// Declares a tensor. Errors: BM_E_ARGUMENT for a name declared before, more than BM_MAX_DIMS dimensions, a type without
// a size, or more than 2^53 bytes in all.
bm_status bm_checkpoint_writer_declare(bm_checkpoint_writer *writer, const char *name, bm_dtype dtype,
                                       const uint64_t *shape, uint32_t num_dims, bm_error *err);
// Lays out shards (tensors in order of declaration) and, within each, tensors as the reference writer does: by type,
// then by name. No declaration may follow.
bm_status bm_checkpoint_writer_begin(bm_checkpoint_writer *writer, bm_error *err);
// Instead of it, to measure what writing takes: a file without a name in the writer's folder gets what is put, as it would lie in a
// shard but for the place. Tensors may be put again and need not become whole; the file is gone with the writer, which is destroyed
// and not finished. Used by one thread. Errors: BM_E_IO.
bm_status bm_checkpoint_writer_begin_trial(bm_checkpoint_writer *writer, bm_error *err);
// Writes size bytes of a declared tensor at byte_offset, each byte once; threads may do so side by side. Errors: BM_E_IO; BM_E_INTERNAL for what was not
// declared, or more bytes than were.
bm_status bm_checkpoint_writer_put(bm_checkpoint_writer *writer, const char *name, uint64_t byte_offset,
                                   const void *bytes, uint64_t size, bm_error *err);
// Writes model.safetensors.index.json when there is more than one shard, and destroys the writer. Errors: BM_E_INTERNAL
// when a tensor did not get as many bytes as its shape asks for.
bm_status bm_checkpoint_writer_finish(bm_checkpoint_writer **writer, bm_error *err);
void bm_checkpoint_writer_destroy(bm_checkpoint_writer **writer);              // leaves whole shards behind, no other
uint64_t bm_checkpoint_writer_total_bytes(const bm_checkpoint_writer *writer); // of all declared tensors
// Of what stands around them in a GGUF file: metadata, a tokenizer among them, and padding. 0 of safetensors, whose headers are short.
uint64_t bm_checkpoint_writer_beside_bytes(const bm_checkpoint_writer *writer);

#endif
