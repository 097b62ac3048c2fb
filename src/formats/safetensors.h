// The header of a safetensors file: names, types, shapes and places of tensors, checked as if an attacker wrote it.
// Source: the format's published description; the rules are those of its reference reader.
#ifndef BM_FORMATS_SAFETENSORS_H
#define BM_FORMATS_SAFETENSORS_H

#include "base/base.h"
#include "base/file.h"

#define BM_MAX_DIMS 8

typedef struct bm_tensor_info {
    char *name;               // owned by the list
    const char *name_in_file; // where the file has another one; NULL: it has not
    bm_dtype dtype;
    uint32_t num_dims;
    uint64_t shape[BM_MAX_DIMS]; // row-major; elements past num_dims are 0
    uint64_t offset;             // of the first byte in the file
    uint64_t size_bytes;
    const char *path;    // of the file that it lies in; owned by that file, or by the checkpoint
    uint32_t file_index; // of the checkpoint's files; in that of a GGUF, of its views
} bm_tensor_info;

typedef struct bm_tensor_list {
    bm_tensor_info *tensors; // sorted by offset
    uint32_t count;
} bm_tensor_list;

// Reads and checks the header. Errors: BM_E_FORMAT with file, tensor, found and expected; BM_E_UNSUPPORTED for a type
// of the format that is not built; BM_E_IO. Owned by the caller: bm_tensor_list_free.
bm_status bm_safetensors_read_header(bm_file *file, bm_tensor_list *out, bm_error *err);
void bm_tensor_list_free(bm_tensor_list *list);

// The type of a safetensors dtype name; BM_DTYPE_NONE when we do not know it.
bm_dtype bm_safetensors_dtype(const char *name);

#endif
