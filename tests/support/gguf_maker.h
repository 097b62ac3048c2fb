// gguf_maker: GGUF files for tests, put together value by value. Layout and numbers of types are written down here a second
// time on purpose, apart from the reader's.
#ifndef BM_TESTS_GGUF_MAKER_H
#define BM_TESTS_GGUF_MAKER_H

#include "base/base.h"
#include "base/str.h"

typedef struct gguf_maker {
    bm_string values, infos, data; // data: padded to alignment behind each tensor
    uint64_t num_values, num_tensors;
    uint32_t version, alignment;
} gguf_maker;

void gguf_maker_init(gguf_maker *maker); // version 3, alignment 32 and no key of it
void gguf_maker_free(gguf_maker *maker);

void gguf_maker_add_u32(gguf_maker *maker, const char *key, uint32_t value);
void gguf_maker_add_f32(gguf_maker *maker, const char *key, float value);
void gguf_maker_add_bool(gguf_maker *maker, const char *key, bool value);
void gguf_maker_add_string(gguf_maker *maker, const char *key, const char *value);
void gguf_maker_add_strings(gguf_maker *maker, const char *key, const char *const *values, uint64_t count);
// A value, or an array of count elements, of any kind, as its bytes stand in the file.
void gguf_maker_add_value(gguf_maker *maker, const char *key, uint32_t kind, const void *bytes, size_t size);
void gguf_maker_add_array(gguf_maker *maker, const char *key, uint32_t kind, uint64_t count, const void *bytes,
                          size_t size);

// dims as in the file: the contiguous one first.
void gguf_maker_add_tensor(gguf_maker *maker, const char *name, uint32_t type, const uint64_t *dims, uint32_t num_dims,
                           const void *bytes, size_t size);

// The file's bytes, appended to out; and FOLDER/name with them, whose path is returned (bm_free it).
void gguf_maker_build(const gguf_maker *maker, bm_string *out);
char *gguf_maker_write(const gguf_maker *maker, const char *folder, const char *name);

// Writes the model of a folder that model_maker wrote (llama, qwen2, qwen3; one file, no windows) as GGUF: matrices in type
// F32, F16 or BF16 of the format (0, 1, 30), or Q8_0 (8), all else F32; or zeros in
// Q5_0 (6). extra: keys to begin with; NULL: none.
char *gguf_maker_convert(const char *model_folder, uint32_t type, const gguf_maker *extra, const char *folder,
                         const char *name);

#endif
