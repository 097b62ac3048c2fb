// GPTQ's checkpoints: how config.json describes them. Source: the public readers and writers, GPTQModel, transformers, vLLM.
#ifndef BM_STORE_GPTQ_CONFIG_H
#define BM_STORE_GPTQ_CONFIG_H

#include "store/store.h"

// What stored zero points mean.
typedef enum bm_gptq_version {
    BM_GPTQ_V1 = 1, // checkpoint_format "gptq": the zero point less one
    BM_GPTQ_V2 = 2, // checkpoint_format "gptq_v2": the zero point
} bm_gptq_version;

// The version that a linear is stored in: as it was read, else the one that is written. Asymmetric grids need zero points
// of 0, which version 1 has no field for.
bm_gptq_version bm_gptq_version_of(const bm_store_linear *linear);

// The row's functions that lie in files of their own (store.h).
bm_status bm_gptq_open(const bm_json *object, const char *file, void **out, bm_error *err);
void bm_gptq_close(void *parsed);
bool bm_gptq_match(const void *parsed, bm_store_linear *linear);
void bm_gptq_write(bm_json_writer *json, const bm_store_description *description);
bm_status bm_gptq_check_values(bm_checkpoint *checkpoint, const bm_store_linear *linear, bm_error *err);
bm_status bm_gptq_get_grid(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, uint64_t count,
                           float *steps, int32_t *zero_points, bm_error *err);
bm_status bm_gptq_get_group_index(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint32_t **out,
                                  bm_error *err);
bm_status bm_gptq_get(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, bm_store_rows *rows,
                      bm_error *err);

#endif
