// A checkpoint: the safetensors files of a model folder (one file, or shards with an index), as one set of tensors; or
// those of a GGUF file, as its views show them.
// Weights are read by bounded positional reads; nothing is mapped or read whole. A file is opened when it is read, and
// of many the one that was longest not read is closed again: a process may hold few files open (256 on macOS).
#ifndef BM_FORMATS_CHECKPOINT_H
#define BM_FORMATS_CHECKPOINT_H

#include "formats/gguf_view.h"
#include "formats/safetensors.h"

typedef struct bm_checkpoint bm_checkpoint;

// Opens model.safetensors of a folder, else the shards of model.safetensors.index.json; or one .safetensors file by its
// path. Errors: BM_E_FORMAT, BM_E_IO with file, tensor, found and expected. Close with bm_checkpoint_close.
bm_status bm_checkpoint_open(bm_checkpoint **out, const char *path, bm_error *err);
void bm_checkpoint_close(bm_checkpoint **checkpoint);

// The views of a GGUF file as a checkpoint, which owns the file where this succeeds: *gguf is NULL then. Errors: BM_E_FORMAT
// for two views of one name; those of bm_gguf_view_describe.
bm_status bm_checkpoint_open_gguf(bm_checkpoint **out, bm_gguf **gguf, const bm_gguf_view *views, uint32_t count,
                                  bm_error *err);
const bm_gguf *bm_checkpoint_gguf(const bm_checkpoint *checkpoint);   // NULL: safetensors
uint64_t bm_checkpoint_stored_bytes(const bm_checkpoint *checkpoint); // of all tensors, in their files
// The view of a GGUF file that a tensor is; NULL: of safetensors.
const bm_gguf_view *bm_checkpoint_view(const bm_checkpoint *checkpoint, const bm_tensor_info *info);

// What a folder that lacks a file of a model holds in its place: "; v.pth is PyTorch's: ...", or "". Of a
// checkpoint that can be read: "; found model.safetensors without it".
// Returns out.
#define BM_CHECKPOINT_OTHERS_SIZE 256
const char *bm_checkpoint_describe_others(const char *folder, char *out, size_t size);

uint32_t bm_checkpoint_count(const bm_checkpoint *checkpoint);
const bm_tensor_info *bm_checkpoint_at(const bm_checkpoint *checkpoint, uint32_t index);     // sorted by name, bytewise
const bm_tensor_info *bm_checkpoint_find(const bm_checkpoint *checkpoint, const char *name); // NULL: absent
const char *bm_checkpoint_file_name(const bm_tensor_info *info);   // path of the file that holds the tensor
const char *bm_checkpoint_tensor_name(const bm_tensor_info *info); // as that file has it: for messages
// Tensors that a shard holds and the index does not name, or not there.
uint32_t bm_checkpoint_num_unlisted(const bm_checkpoint *checkpoint);
const bm_tensor_info *bm_checkpoint_find_unlisted(const bm_checkpoint *checkpoint, const char *name); // NULL: none

// Puts prefix in front of the names of all tensors, listed or not. Errors: BM_E_MEMORY.
bm_status bm_checkpoint_add_prefix(bm_checkpoint *checkpoint, const char *prefix, bm_error *err);

// Reads size bytes of a tensor from byte_offset on; of one that is read ahead (read_ahead.h), from memory. May be called by
// several threads. Errors: BM_E_ARGUMENT beyond its end, BM_E_IO, also for a file that has another size now.
bm_status bm_checkpoint_read(bm_checkpoint *checkpoint, const bm_tensor_info *info, uint64_t byte_offset, void *out,
                             uint64_t size, bm_error *err);

// Reads count elements of a tensor from element first on and checks that they are finite. Of one that is read ahead nothing
// is copied: bytes are the reader's, until the tensor is dropped there. Free with bm_checkpoint_piece_free. Errors: those of
// bm_checkpoint_read and bm_checkpoint_check_finite; BM_E_MEMORY.
typedef struct bm_checkpoint_piece {
    const uint8_t *bytes;
    uint8_t *own; // where bytes are; NULL: the reader's
} bm_checkpoint_piece;
bm_status bm_checkpoint_take(bm_checkpoint *checkpoint, const bm_tensor_info *info, uint64_t first, uint64_t count,
                             bm_checkpoint_piece *out, bm_error *err);
void bm_checkpoint_piece_free(bm_checkpoint_piece *piece);
// The same of rows of a matrix that has blocks (bm_gguf_view_has_blocks): as the file stores them, bm_gguf_view_row_bytes each, and
// not looked at. Errors: BM_E_IO, BM_E_MEMORY.
bool bm_checkpoint_has_blocks(const bm_checkpoint *checkpoint, const bm_tensor_info *info);
bm_status bm_checkpoint_take_blocks(bm_checkpoint *checkpoint, const bm_tensor_info *info, uint64_t first,
                                    uint64_t count, bm_checkpoint_piece *out, bm_error *err);

// Whether count elements, little-endian as files have them, are neither NaN nor infinite; other types than F32, F16 and BF16 are.
bool bm_are_finite(const uint8_t *bytes, uint64_t count, bm_dtype dtype);
// BM_E_FORMAT when one of count elements is NaN or infinite; the message names the tensor and the element, counted from
// first.
bm_status bm_checkpoint_check_finite(const bm_tensor_info *info, const uint8_t *bytes, uint64_t first, uint64_t count,
                                     bm_error *err);

// For read_ahead.c alone: its reader, whom bm_checkpoint_read and bm_checkpoint_take ask first; and a read from the file.
typedef struct bm_read_ahead bm_read_ahead;
void bm_checkpoint_set_reader(bm_checkpoint *checkpoint, bm_read_ahead *reader);
bm_status bm_checkpoint_read_file(bm_checkpoint *checkpoint, const bm_tensor_info *info, uint64_t byte_offset,
                                  void *out, uint64_t size, bm_error *err);

#endif
