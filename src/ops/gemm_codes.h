// The matrix product of a linear whose weights stay packed codes on the device: for few rows of x, as generation has them, where
// reading the weights is all the work.
//
//   y = x W^T + bias,  W[j, l] = (code[j, l] - zero_point[j, g]) step[j, g],  g = l / group_size
//
// Sums are float32. More than BM_CODES_MAX_ROWS rows take weights that are made of the codes first, in the type of x, which rounds
// them where it has 16 bits: so what a token gives differs, by as much as weights of a checkpoint in that type would, with how many
// others come along. Those of a prompt are made at once, later ones by themselves.
#ifndef BM_OPS_GEMM_CODES_H
#define BM_OPS_GEMM_CODES_H

#include "ops/gemm.h"

#define BM_CODES_MAX_ROWS 48 // of x, that bm_gemm_codes is worth: it reads the weights once for each eight

typedef struct bm_code_weights {
    uint64_t out_features, in_features;
    uint32_t bits, group_size;
    bm_tensor words;      // [out_features, ceil(in_features bits / 32)] uint32, as bm_pack_codes packs codes
    bm_tensor step;       // [out_features, groups] float32
    bm_tensor zero_point; // [out_features, groups] int32; empty: all 0
    char name[96];        // for messages
} bm_code_weights;

// Whether codes of this kind may stay so: 2, 4 or 8 bits, groups of a multiple of 16 or of whole rows, in one allocation.
bool bm_code_weights_can(const bm_device *device, uint64_t out_features, uint64_t in_features, uint32_t bits,
                         uint32_t group_size);
// Variant of kernel gemm_codes and the work-items in a group that this device gets.
uint32_t bm_gemm_codes_form(const bm_device *device, uint32_t *group);
#define BM_GEMM_CODES_MAX_ROWS 8
// Rows of x, of m, that a work-item of it takes at a time: 1, 4 or 8.
uint32_t bm_gemm_codes_rows(const bm_device *device, uint64_t m);
// Rows of x, of m, that one dispatch takes: as many as the time allows, of which a work-item's are the least.
uint64_t bm_gemm_codes_piece(const bm_device *device, uint64_t m, uint64_t out_features, uint64_t in_features);
// Whether products with codes take less time than those with weights: on GPUs, and CPU devices with a kernel for them.
bool bm_code_weights_pay(const bm_device *device);
uint64_t bm_code_weights_bytes(uint64_t out_features, uint64_t in_features, uint32_t bits, uint32_t group_size,
                               bool symmetric); // of device memory
// Memory for them, not yet written. Errors: BM_E_ARGUMENT codes of another kind; BM_E_DEVICE.
bm_status bm_code_weights_create(bm_device *device, uint64_t out_features, uint64_t in_features, uint32_t bits,
                                 uint32_t group_size, bool symmetric, const char *name, bm_code_weights **out,
                                 bm_error *err);
void bm_code_weights_destroy(bm_code_weights **weights);
// Writes rows first_row .. first_row + codes->rows - 1.
//
//   codes             [count, in_features]  int8
//   step, zero_point  [count, groups]       float32, int32, at the smallest stride
//
// Errors   BM_E_ARGUMENT shapes disagree; BM_E_DEVICE.
bm_status bm_code_weights_set_rows(bm_device *device, bm_code_weights *weights, uint64_t first_row,
                                   const bm_tensor *codes, const bm_tensor *step, const bm_tensor *zero_point,
                                   bm_error *err);
// dense [out_features, in_features] becomes W. Needs bm_device_scratch. Errors: BM_E_ARGUMENT shapes disagree; BM_E_DEVICE.
bm_status bm_code_weights_dequantize(bm_device *device, const bm_code_weights *weights, bm_weights *dense,
                                     bm_error *err);

// y = x W^T + bias, or with adds y += that.
//
//   x     [tokens, in_features]   real
//   bias  [1, out_features]       real; NULL: none
//   y     [tokens, out_features]  real; apart from x
//
// Cost     the weights are read once for each eight tokens; one dispatch for eight tokens or fewer; no allocation.
// Errors   BM_E_ARGUMENT shapes disagree; BM_E_UNSUPPORTED more features than limits.max_loop_rounds allows.
bm_status bm_gemm_codes(bm_device *device, const bm_tensor *x, const bm_code_weights *weights, const bm_tensor *bias,
                        bool adds, const bm_tensor *y, bm_error *err);

#endif
