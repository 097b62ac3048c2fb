// Where the rows of a checkpoint's linear lie in a block.
//
// A linear of its own is one part. A fused one, of q, k and v or of gate and up, is read, quantized and written as one linear, and a
// block computes with its parts: their rows follow each other, of some families head by head.
#ifndef BM_MODEL_LINEAR_ROWS_H
#define BM_MODEL_LINEAR_ROWS_H

#include "model/family.h"
#include "ops/gemm_codes.h"
#include "ops/gemm_int8.h"

#define BM_MAX_LINEAR_PARTS 3

// Rows go round the parts, runs[p] of part p in turn.
typedef struct bm_linear_rows {
    bm_weights *parts[BM_MAX_LINEAR_PARTS];
    uint32_t num_parts, runs[BM_MAX_LINEAR_PARTS];
    const bm_tensor *biases[BM_MAX_LINEAR_PARTS];     // [1, out_features] of the part; NULL or empty: it has none
    bm_int8_weights *int8_parts[BM_MAX_LINEAR_PARTS]; // instead of parts, where the block computes in integers
    bm_code_weights *code_part;                       // instead of one part, where codes stay codes
} bm_linear_rows;

// The linears of a block that one of the checkpoint consists of, in their order. Returns their number.
uint32_t bm_linear_parts(bm_linear_id linear, bm_linear_id parts[BM_MAX_LINEAR_PARTS]);
// How many rows of each lie together. Returns bm_linear_parts.
uint32_t bm_linear_runs(const bm_family *family, const bm_hf_config *config, bm_linear_id linear,
                        uint32_t runs[BM_MAX_LINEAR_PARTS]);
// Writes rows first .. first + rows->rows - 1 of the linear to where they lie. Errors: those of bm_weights_set_rows.
bm_status bm_linear_rows_set(bm_device *device, const bm_linear_rows *linear, uint64_t first, const bm_tensor *rows,
                             bm_error *err);
// The reverse: rows, [count, in_features] of any real type, becomes a copy of them. Errors: those of bm_weights_get_rows
// (so parts in panels).
bm_status bm_linear_rows_get(bm_device *device, const bm_linear_rows *linear, uint64_t first, const bm_tensor *rows,
                             bm_error *err);
// The bias of the linear, as a checkpoint has it, from those of its parts: bias [out_features of all] is in host memory;
// zeros where a part has none. Waits for the device. Errors: BM_E_MEMORY; BM_E_DEVICE.
bm_status bm_linear_bias_get(bm_device *device, const bm_linear_rows *linear, float *bias, bm_error *err);
// The same with codes and steps, into int8_parts. Errors: those of bm_int8_weights_set_rows.
bm_status bm_linear_rows_set_codes(bm_device *device, const bm_linear_rows *linear, uint64_t first,
                                   const bm_tensor *codes, const bm_tensor *step, bm_error *err);

#endif
