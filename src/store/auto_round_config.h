// AutoRound's quantization_config: the tensors are GPTQ's or AWQ's, as packing_format says. Source: auto-round, its exporters and its
// own loader.
#ifndef BM_STORE_AUTO_ROUND_CONFIG_H
#define BM_STORE_AUTO_ROUND_CONFIG_H

#include "store/store.h"

#define BM_AUTO_ROUND "auto-round"

// As the functions of these names of a row (store.h); *format is the row of the tensors.
bm_status bm_auto_round_open(const bm_json *object, const char *file, const bm_store_format **format, void **out,
                             bm_error *err);
void bm_auto_round_close(void *parsed);
bool bm_auto_round_match(const void *parsed, bm_store_linear *linear);

#endif
