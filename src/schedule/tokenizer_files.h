// The tokenizer of a model that is a GGUF file: readers of the output want it as files.
#ifndef BM_SCHEDULE_TOKENIZER_FILES_H
#define BM_SCHEDULE_TOKENIZER_FILES_H

#include "schedule/plan.h"

// The GGUF file whose tokenizer the run uses; *out NULL: it is a folder's tokenizer.json, or there is none. bm_free it.
// Errors: those of bm_gguf_locate.
bm_status bm_tokenizer_files_source(const char *tokenizer_folder, char **out, bm_error *err);

// Adds the bytes of the files to *bytes, where the plan makes them. Errors: those of bm_gguf_tokenizer_files.
bm_status bm_tokenizer_files_measure(const bm_plan *plan, const char *tokenizer_folder, uint64_t *bytes, bm_error *err);
// Writes tokenizer.json and, where the file says what is in them and the folder has none, tokenizer_config.json and
// generation_config.json.
bm_status bm_tokenizer_files_write(const bm_plan *plan, const char *tokenizer_folder, const char *folder,
                                   bm_error *err);

#endif
