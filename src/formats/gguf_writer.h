// Writing a GGUF file, version 3, through a checkpoint writer (checkpoint_writer.h): metadata is complete when the writer is
// made, tensors are declared by the name under which they are written and lie in the file in the order of their declaration,
// each at a multiple of 32 bytes. Source: the format's published description.
#ifndef BM_FORMATS_GGUF_WRITER_H
#define BM_FORMATS_GGUF_WRITER_H

#include "base/str.h"
#include "formats/checkpoint_writer.h"
#include "formats/gguf.h"

// Keys and values in the order of the calls. All zeros: empty. Whether memory sufficed is said at the end: bytes.failed.
typedef struct bm_gguf_metadata {
    bm_string bytes; // as they lie in the file
    bm_string keys;  // those that were put by name, each with a zero behind it
    uint64_t count;
} bm_gguf_metadata;
void bm_gguf_metadata_free(bm_gguf_metadata *metadata);

void bm_gguf_put_u32(bm_gguf_metadata *metadata, const char *key, uint32_t value);
void bm_gguf_put_f32(bm_gguf_metadata *metadata, const char *key, float value);
void bm_gguf_put_bool(bm_gguf_metadata *metadata, const char *key, bool value);
void bm_gguf_put_string(bm_gguf_metadata *metadata, const char *key, const char *bytes, size_t length);
// A key and its value as another file has them, of whatever kind. A file has each key once, and may have very many: they are not
// noted.
void bm_gguf_put_stored(bm_gguf_metadata *metadata, const bm_gguf_value *value);
// Whether a key was put by name.
bool bm_gguf_metadata_has(const bm_gguf_metadata *metadata, bm_gguf_string key);
// An array of count elements, which follow by the functions below.
void bm_gguf_begin_array(bm_gguf_metadata *metadata, const char *key, bm_gguf_kind kind, uint64_t count);
void bm_gguf_add_string(bm_gguf_metadata *metadata, const char *bytes, size_t length);
void bm_gguf_add_u32(bm_gguf_metadata *metadata, uint32_t value); // INT32 too, by its bits
void bm_gguf_add_f32(bm_gguf_metadata *metadata, float value);

// Makes FOLDER/FILE_NAME with the first bytes that are written. metadata must outlive the writer.
bm_status bm_gguf_writer_create(bm_checkpoint_writer **out, const char *folder, const char *file_name,
                                const bm_gguf_metadata *metadata, bm_error *err);

// A tensor, as the file has it.
typedef struct bm_gguf_declaration {
    const char *name; // "blk.0.attn_q.weight"
    bm_gguf_type type;
    // Of heads whose halves are rotated against each other (half-split), where the file's readers rotate neighbours
    // (interleaved): rows of each head change places, row s D/2 + i becoming row 2 i + s. It is then written by whole rows.
    // 0: rows lie as they come.
    uint32_t num_heads;
    const uint64_t *shape; // [rows, elements of a row], or [elements]
    uint32_t num_dims;
} bm_gguf_declaration;

// Declares a tensor that is written under the name key. Errors: as of bm_checkpoint_writer_declare; BM_E_ARGUMENT for a name
// of more than BM_GGUF_MAX_NAME bytes, rows that are not whole blocks, or that num_heads does not divide by twos.
bm_status bm_gguf_writer_declare(bm_checkpoint_writer *writer, const char *key, const bm_gguf_declaration *tensor,
                                 bm_error *err);

#endif
