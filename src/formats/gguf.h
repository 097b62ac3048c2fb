// A GGUF file, version 2 or 3: typed metadata and a list of tensors, checked as if an attacker wrote it. The container
// alone: what keys and tensors mean for a model is said elsewhere. The header is held in memory, tensors are read by bounded
// positional reads. Source: the format's published description; the rules are those of ggml's reader.
#ifndef BM_FORMATS_GGUF_H
#define BM_FORMATS_GGUF_H

#include "base/base.h"

// Types of metadata, by their number in the file.
typedef enum bm_gguf_kind {
    BM_GGUF_UINT8 = 0,
    BM_GGUF_INT8 = 1,
    BM_GGUF_UINT16 = 2,
    BM_GGUF_INT16 = 3,
    BM_GGUF_UINT32 = 4,
    BM_GGUF_INT32 = 5,
    BM_GGUF_FLOAT32 = 6,
    BM_GGUF_BOOL = 7,
    BM_GGUF_STRING = 8,
    BM_GGUF_ARRAY = 9,
    BM_GGUF_UINT64 = 10,
    BM_GGUF_INT64 = 11,
    BM_GGUF_FLOAT64 = 12
} bm_gguf_kind;

// Types of tensors, by their number in the file: those that are read. bm_gguf_layout_of knows the names of the others.
typedef enum bm_gguf_type {
    BM_GGUF_F32 = 0,
    BM_GGUF_F16 = 1,
    BM_GGUF_Q4_0 = 2,
    BM_GGUF_Q4_1 = 3,
    BM_GGUF_Q5_0 = 6,
    BM_GGUF_Q5_1 = 7,
    BM_GGUF_Q8_0 = 8,
    BM_GGUF_Q4_K = 12,
    BM_GGUF_Q5_K = 13,
    BM_GGUF_Q6_K = 14,
    BM_GGUF_BF16 = 30
} bm_gguf_type;

// A block: elements that follow one another along dims[0] and are stored together.
typedef struct bm_gguf_layout {
    uint32_t type;
    const char *name; // "Q4_0"
    uint32_t block_elements, block_bytes;
    bool is_read; // false: its elements are not decoded here
} bm_gguf_layout;
const bm_gguf_layout *bm_gguf_layout_of(uint32_t type); // NULL: no such type

#define BM_GGUF_MAX_DIMS 4
#define BM_GGUF_MAX_NAME 63 // bytes of a tensor's name
#define BM_GGUF_DEFAULT_ALIGNMENT 32

typedef struct bm_gguf_tensor {
    char *name; // owned by the file
    uint32_t type;
    uint32_t num_dims;
    uint64_t dims[BM_GGUF_MAX_DIMS]; // dims[0] is contiguous: a matrix [N, K] has {K, N}; those past num_dims are 1
    uint64_t offset;                 // of the first byte in its file, not in the file's data
    uint64_t size_bytes;
    const char *path;    // of that file
    uint32_t file_index; // 0, or that of the split
} bm_gguf_tensor;

typedef struct bm_gguf bm_gguf;

// Opens a file; of a model in splits, given its first one (NAME-00001-of-00003.gguf), all of them. Metadata is the first
// one's. Errors: BM_E_FORMAT, BM_E_IO with file, key or tensor, found and expected. Tensors of a type that is known but
// not read are no error here. Close with bm_gguf_close.
bm_status bm_gguf_open(bm_gguf **out, const char *path, bm_error *err);
void bm_gguf_close(bm_gguf **gguf);
const char *bm_gguf_path(const bm_gguf *gguf);
uint32_t bm_gguf_version(const bm_gguf *gguf);
uint32_t bm_gguf_num_files(const bm_gguf *gguf);
// Bytes behind the last tensor of a file, the first that has any: *path. Nobody reads them (llama.cpp does not look), but they
// are likely what a broken download or two files in one left. 0: there are none.
uint64_t bm_gguf_bytes_behind(const bm_gguf *gguf, const char **path);

uint32_t bm_gguf_num_tensors(const bm_gguf *gguf);
const bm_gguf_tensor *bm_gguf_tensor_at(const bm_gguf *gguf, uint32_t index);     // in the order of files
const bm_gguf_tensor *bm_gguf_find_tensor(const bm_gguf *gguf, const char *name); // NULL: absent
// Reads size stored bytes of a tensor from byte_offset on. May be called by several threads. Errors: BM_E_ARGUMENT beyond
// its end, BM_E_IO.
bm_status bm_gguf_read(const bm_gguf *gguf, const bm_gguf_tensor *tensor, uint64_t byte_offset, void *out,
                       uint64_t size, bm_error *err);

// Metadata. Bytes of a string belong to the file, have no zero behind them and may hold any.
typedef struct bm_gguf_string {
    const char *bytes; // NULL: there is none
    uint64_t length;
} bm_gguf_string;
bool bm_gguf_string_is(bm_gguf_string string, const char *text);

typedef struct bm_gguf_value bm_gguf_value;
uint32_t bm_gguf_num_values(const bm_gguf *gguf);
const bm_gguf_value *bm_gguf_value_at(const bm_gguf *gguf, uint32_t index); // in the file's order
const bm_gguf_value *bm_gguf_find(const bm_gguf *gguf, const char *key);    // NULL: absent
bm_gguf_string bm_gguf_key(const bm_gguf_value *value);
bm_gguf_string bm_gguf_stored(const bm_gguf_value *value);        // key, kind and value, as they stand in the file
bm_gguf_kind bm_gguf_kind_of(const bm_gguf_value *value);         // BM_GGUF_ARRAY for every array
bm_gguf_kind bm_gguf_element_kind_of(const bm_gguf_value *value); // that of an array's elements; a scalar's own
uint64_t bm_gguf_count(const bm_gguf_value *value);               // elements of an array; 1 of a scalar
bool bm_gguf_has_integers(const bm_gguf_value *value);            // all widths; not BOOL
bool bm_gguf_has_numbers(const bm_gguf_value *value);             // integers, FLOAT32, FLOAT64

// Element index of an array, or a scalar by index 0. The element must have that kind (any width of integer; a number may be
// an integer too): else it is {NULL, 0}, or 0.
bm_gguf_string bm_gguf_string_at(const bm_gguf_value *value, uint64_t index);
int64_t bm_gguf_integer_at(const bm_gguf_value *value, uint64_t index); // UINT64 above INT64_MAX gives INT64_MAX
double bm_gguf_number_at(const bm_gguf_value *value, uint64_t index);

// Looks a scalar up by its key and checks it: of another kind, or beyond low..high, it is BM_E_FORMAT naming file, key, what
// was found and what was expected. Absent: fallback, or {NULL, 0}.
bm_status bm_gguf_get_integer(const bm_gguf *gguf, const char *key, int64_t low, int64_t high, int64_t fallback,
                              int64_t *out, bm_error *err);
bm_status bm_gguf_get_number(const bm_gguf *gguf, const char *key, double low, double high, double fallback,
                             double *out, bm_error *err);
bm_status bm_gguf_get_bool(const bm_gguf *gguf, const char *key, bool fallback, bool *out, bm_error *err);
bm_status bm_gguf_get_string(const bm_gguf *gguf, const char *key, bm_gguf_string *out, bm_error *err);
// The same of an array of strings, integers or numbers; absent: NULL.
bm_status bm_gguf_get_strings(const bm_gguf *gguf, const char *key, const bm_gguf_value **out, bm_error *err);
bm_status bm_gguf_get_integers(const bm_gguf *gguf, const char *key, const bm_gguf_value **out, bm_error *err);
bm_status bm_gguf_get_numbers(const bm_gguf *gguf, const char *key, const bm_gguf_value **out, bm_error *err);

#endif
