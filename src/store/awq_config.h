// AWQ's checkpoints: how config.json describes them. Source: AutoAWQ's writer, transformers, vLLM, GPTQModel.
#ifndef BM_STORE_AWQ_CONFIG_H
#define BM_STORE_AWQ_CONFIG_H

#include "store/store.h"

#define BM_AWQ_BITS 4

// The row's functions that lie in files of their own (store.h).
bm_status bm_awq_open(const bm_json *object, const char *file, void **out, bm_error *err);
void bm_awq_close(void *parsed);
bool bm_awq_match(const void *parsed, bm_store_linear *linear);
void bm_awq_write(bm_json_writer *json, const bm_store_description *description);
bm_status bm_awq_check_values(bm_checkpoint *checkpoint, const bm_store_linear *linear, bm_error *err);
bm_status bm_awq_get_grid(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, uint64_t count,
                          float *steps, int32_t *zero_points, bm_error *err);
bm_status bm_awq_get(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, bm_store_rows *rows,
                     bm_error *err);

#endif
