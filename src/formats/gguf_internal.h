// What the files of the GGUF reader share.
#ifndef BM_FORMATS_GGUF_INTERNAL_H
#define BM_FORMATS_GGUF_INTERNAL_H

#include "base/file.h"
#include "base/hash.h"
#include "formats/gguf.h"

// The first bytes of a file, of which more are read as they are needed.
typedef struct gguf_header {
    bm_file *file;
    uint8_t *bytes;
    uint64_t num_read, at; // at: of the reader
} gguf_header;

struct bm_gguf_value {
    const gguf_header *header;
    uint64_t key_at, key_length; // in the header
    bm_gguf_kind kind, element_kind;
    uint64_t count;
    uint64_t at;      // of the first element; of an array of strings, that of its length
    uint64_t end;     // of the value
    uint64_t *places; // [count] of an array of strings: where each one's length lies; NULL: of others. Owned.
};

// One file of a model.
typedef struct gguf_part {
    gguf_header header;
    char *path;
    uint32_t version;
    uint64_t alignment;
    bm_gguf_value *values;
    uint32_t num_values;
    bm_map *by_key;
    bm_gguf_tensor *tensors;
    uint32_t num_tensors;
    uint64_t end; // of the last tensor and what fills it up to the alignment
} gguf_part;

struct bm_gguf {
    gguf_part **parts; // each of its own, as values point to headers
    uint32_t num_parts;
    const bm_gguf_tensor **tensors; // of all parts
    uint32_t num_tensors;
    bm_map *by_name;
};

#define GGUF_KEY_SPLIT_COUNT "split.count"
#define GGUF_KEY_SPLIT_NUMBER "split.no"
#define GGUF_KEY_SPLIT_TENSORS "split.tensors.count"

// Opens one file and reads its header. Errors: those of bm_gguf_open. gguf_part_free it.
bm_status gguf_part_open(gguf_part **out, const char *path, bm_error *err);
void gguf_part_free(gguf_part **part);
const bm_gguf_value *gguf_part_find(const gguf_part *part, const char *key);
bm_status gguf_part_get_integer(const gguf_part *part, const char *key, int64_t low, int64_t high, int64_t fallback,
                                int64_t *out, bm_error *err);

uint32_t gguf_kind_size(uint32_t kind);        // of a number or bool; 0: others
const char *gguf_kind_name(bm_gguf_kind kind); // "UINT8"

#endif
