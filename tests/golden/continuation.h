// What a model goes on with.
#ifndef BM_TESTS_GOLDEN_CONTINUATION_H
#define BM_TESTS_GOLDEN_CONTINUATION_H

#include "model/model.h"
#include "text/tokenizer.h"

// Appends to ids the count likeliest ids behind those that it holds, one at a time, in float32.
bm_status golden_continue(const bm_model *model, bm_device *device, uint32_t count, bm_token_list *ids, bm_error *err);

#endif
