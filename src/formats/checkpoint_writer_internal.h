// What the files of the checkpoint writer share: tensors that were declared, and the kind of files that holds them.
#ifndef BM_FORMATS_CHECKPOINT_WRITER_INTERNAL_H
#define BM_FORMATS_CHECKPOINT_WRITER_INTERNAL_H

#include "base/hash.h"
#include "base/thread.h"
#include "formats/checkpoint_writer.h"
#include "formats/gguf_writer.h"

typedef struct declared_tensor {
    char *name; // by which it is written; owned
    uint64_t shape[BM_MAX_DIMS];
    uint32_t num_dims;
    uint64_t size_bytes, written_bytes;
    uint32_t shard;
    uint64_t offset;    // in its file
    uint32_t num_heads; // whose rows are interleaved (gguf_writer.h); 0: rows lie as they come
    bm_dtype dtype;     // of a safetensors file
    // Of a GGUF file.
    char *name_in_file; // owned
    uint32_t type;
} declared_tensor;

typedef struct output_shard {
    bm_writer *file;     // NULL: not begun, or done
    uint64_t left_bytes; // of its tensors, that are not written yet
    bool is_done;
} output_shard;

// A kind of files.
typedef struct writer_container {
    // Sets each tensor's shard, and the order of writer->sorted. Returns the number of shards.
    uint32_t (*assign)(bm_checkpoint_writer *writer);
    // Sets the offsets of a shard's tensors, makes its file and writes what is no tensor.
    bm_status (*begin_shard)(bm_checkpoint_writer *writer, uint32_t shard, bm_error *err);
    // Writes what goes beside the shards. NULL: nothing.
    bm_status (*write_index)(const bm_checkpoint_writer *writer, bm_error *err);
    // Of files with all that was declared. NULL: that of the tensors is near enough.
    uint64_t (*file_bytes)(const bm_checkpoint_writer *writer);
} writer_container;

struct bm_checkpoint_writer {
    const writer_container *container;
    bm_monitor *monitor; // guards what tensors and shards say of what is written
    char *folder;
    declared_tensor *tensors;
    uint32_t count, capacity;
    uint64_t total_bytes; // of all tensors
    bm_map *by_name;
    declared_tensor **sorted; // in the order of the container, once begun
    output_shard *shards;
    uint32_t num_shards;
    uint64_t max_shard_bytes; // of safetensors files
    bm_file *scratch;         // of a trial, instead of shards; NULL: it is none
    uint64_t scratch_bytes;   // where the next tensor's go
    // Of a GGUF file.
    char *file_name;
    const bm_gguf_metadata *metadata;
    uint64_t header_bytes; // in front of the tensors, without padding
};

bm_status checkpoint_writer_create(bm_checkpoint_writer **out, const writer_container *container, const char *folder,
                                   bm_error *err);

// The elements of which a tensor's rows consist.
typedef struct declared_block {
    uint32_t elements, bytes;
} declared_block;
// Declares a tensor whose shape is set and which knows its own kind's part: what that owns is the writer's, whether this
// succeeds or not. Errors: as of bm_checkpoint_writer_declare, for its name and its size.
bm_status checkpoint_writer_add(bm_checkpoint_writer *writer, const char *name, const declared_block *block,
                                declared_tensor *tensor, bm_error *err);

#endif
