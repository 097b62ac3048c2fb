// What of a GGUF file's metadata holds for a file that is made from it: all that does not speak of the file itself. Keys that
// metadata have already stay as they are.
#ifndef BM_SCHEDULE_GGUF_KEPT_H
#define BM_SCHEDULE_GGUF_KEPT_H

#include "formats/gguf_writer.h"

// The model's author and license, what nobody here knows; all but the tokenizer. same_codes: nothing was quantized anew.
void bm_gguf_keep(bm_gguf_metadata *metadata, const bm_gguf *source, bool same_codes);
// The tokenizer to its last key, chat templates among them.
void bm_gguf_keep_tokenizer(bm_gguf_metadata *metadata, const bm_gguf *source);

#endif
