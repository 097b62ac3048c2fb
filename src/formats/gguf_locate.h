// Which GGUF file a model's path means.
#ifndef BM_FORMATS_GGUF_LOCATE_H
#define BM_FORMATS_GGUF_LOCATE_H

#include "base/base.h"

// A file that is GGUF by its first bytes or its name; of a folder without safetensors its only GGUF model, of which the
// second and further splits are no models. *out is the file's path (bm_free it), NULL: it means none. Errors: BM_E_FORMAT
// for a folder with several; BM_E_MEMORY.
bm_status bm_gguf_locate(const char *path, char **out, bm_error *err);

#endif
