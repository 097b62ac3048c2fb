// Companions: the files of a model that go along with its weights as they are, the tokenizer's and the generation's. Of a
// model that is a GGUF file they are made of what it holds.
#ifndef BM_SCHEDULE_COMPANIONS_H
#define BM_SCHEDULE_COMPANIONS_H

#include "schedule/emit.h"

// A companion is a text or a vocabulary; the largest known is about 35 MB. What is larger is something else.
#define BM_MAX_COMPANION_BYTES (UINT64_C(256) << 20)

// Looks which companions are there and sets the plan's companions and companion_bytes. One that is a link out of its
// folder is copied all the same, but named in a note: a folder of strangers may lead to a file of the user's. The links of
// the Hugging Face cache, from snapshots to blobs, are the usual thing and not named. Errors: BM_E_IO for one that cannot
// be opened; BM_E_FORMAT for one that is too large, or a Git LFS pointer.
bm_status bm_companions_choose(bm_plan *plan, const char *tokenizer_folder, const bm_model *model, bm_error *err);

// Copies into folder what the plan chose, a step of the phase before each.
bm_status bm_companions_copy(const bm_emit_context *emit, const char *tokenizer_folder, const char *folder,
                             bm_error *err);

#endif
