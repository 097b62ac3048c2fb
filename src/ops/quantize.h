// Rounding of matrices to a grid: ranges and steps of groups, codes, packed words, and the way back.
//
// A matrix [rows, cols] has ceil(cols / group_size) groups a row; group_size is a multiple of 4, or cols for one group a
// row. Steps are float32 matrices [rows, groups] that hold values of the type in which a checkpoint stores them; zero
// points are int32 matrices of that shape (zeros where the grid is symmetric). Codes are int8, signed.
//
// value = (code - zero_point) * step. All results are the same on every device, bit for bit.
#ifndef BM_OPS_QUANTIZE_H
#define BM_OPS_QUANTIZE_H

#include "device/tensor.h"

// How a linear is stored once it is quantized.
typedef struct bm_quantized_layout {
    uint32_t bits;                      // 2, 4 or 8
    uint32_t out_features, in_features; // rows, cols
    uint32_t group_size;                // in_features: one step a row
} bm_quantized_layout;

// How steps are found.
typedef struct bm_grid_params {
    uint32_t bits; // 2..8
    uint32_t group_size;
    bool symmetric;
    bm_dtype scale_dtype; // F32, F16 or BF16: the type in which steps will be stored
    bool search; // false: the abs-max (or range) gives the step; true: least squared error over 86 factors of it
} bm_grid_params;

// minimum, maximum [rows, groups] float32 of the groups of w [rows, cols] real.
// Errors   BM_E_ARGUMENT shapes disagree.
bm_status bm_group_range(bm_device *device, const bm_tensor *w, uint32_t group_size, const bm_tensor *minimum,
                         const bm_tensor *maximum, bm_error *err);

// Steps and zero points for w: ranges, then the search.
//
//   w           [rows, cols]    real
//   step        [rows, groups]  float32; written
//   zero_point  [rows, groups]  int32; written, zeros when symmetric
//
// Errors   BM_E_ARGUMENT shapes disagree; BM_E_MEMORY, BM_E_DEVICE.
// A group of zeros (below 1e-30) has zero point 0, codes 0 and the step 1e-8 (float32) or 1 (16-bit types).
// Steps are normal numbers of their type. Of the factors 1.05 .. 0.2 in steps of 0.01 the first in the order of their
// distance from 1 wins ties, so the error is never above that of the abs-max.
bm_status bm_grid_search(bm_device *device, const bm_tensor *w, const bm_grid_params *params, const bm_tensor *step,
                         const bm_tensor *zero_point, bm_error *err);

// codes [rows, cols] int8 of w.
bm_status bm_quantize(bm_device *device, const bm_tensor *w, const bm_tensor *step, const bm_tensor *zero_point,
                      uint32_t group_size, uint32_t bits, const bm_tensor *codes, bm_error *err);
// w [rows, cols] real of codes.
bm_status bm_dequantize(bm_device *device, const bm_tensor *codes, const bm_tensor *step, const bm_tensor *zero_point,
                        uint32_t group_size, const bm_tensor *w, bm_error *err);
// y [rows, cols] real = what w becomes when it is quantized and dequantized; y may be w.
bm_status bm_fake_quantize(bm_device *device, const bm_tensor *w, const bm_tensor *step, const bm_tensor *zero_point,
                           uint32_t group_size, uint32_t bits, const bm_tensor *y, bm_error *err);
// words [rows, ceil(cols / (32 / bits))] uint32 of codes [rows, cols]; bits 2, 4 or 8. And back.
bm_status bm_pack_codes(bm_device *device, const bm_tensor *codes, uint32_t bits, const bm_tensor *words,
                        bm_error *err);
bm_status bm_unpack_codes(bm_device *device, const bm_tensor *words, uint32_t bits, const bm_tensor *codes,
                          bm_error *err);

uint32_t bm_num_groups(uint64_t cols, uint32_t group_size);

// Floating-point operations of the search.
double bm_grid_search_operations(uint64_t rows, uint64_t cols, uint32_t num_factors);

#endif
