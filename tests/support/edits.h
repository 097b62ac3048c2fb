// edits: a made model changed by hand, as other programs would have left it. They abort the program when they fail: a
// test cannot go on.
#ifndef BM_TESTS_EDITS_H
#define BM_TESTS_EDITS_H

#include "base/base.h"

// Replaces every `from` in a text file FOLDER/name, which must hold one.
void support_text_replace(const char *folder, const char *name, const char *from, const char *to);
// The same in the header of FOLDER/model.safetensors. The data stay as they are.
void support_header_replace(const char *folder, const char *from, const char *to);
// Adds a tensor of `count` elements, all zero bytes, to FOLDER/model.safetensors.
void support_tensor_add(const char *folder, const char *name, bm_dtype dtype, uint64_t count);
// Overwrites the first bytes of a tensor in FOLDER/model.safetensors.
void support_tensor_write(const char *folder, const char *name, const void *bytes, uint64_t size);

#endif
