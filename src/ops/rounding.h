// Rounding of matrices to a grid: ranges and steps of groups, codes, packed words, and the way back.
//
// A matrix [rows, cols] has ceil(cols / group_size) groups a row; group_size is a multiple of 4, or cols for one group
// a row. Steps are float32 matrices [rows, groups] that hold values of the type in which a checkpoint stores them; zero
// points are int32 matrices of that shape (zeros where the grid is symmetric). Codes are int8, signed.
//
// value = (code - zero_point) * step. All results are the same on every device, bit for bit.
#ifndef BM_OPS_ROUNDING_H
#define BM_OPS_ROUNDING_H

#include "device/tensor.h"

// How steps are found.
typedef struct bm_grid_params {
    uint32_t bits; // 2..8
    uint32_t group_size;
    bool symmetric;
    bm_dtype scale_dtype; // F32, F16 or BF16: the type in which steps will be stored
    bool search;          // false: the abs-max (or range) gives the step; true: the least error over factors of it
    bool signed_scales;   // symmetric searches try every factor with both signs
    bool nested;          // steps are those of nested.h: its operations find them, not these
    // Above 0: a search tries AWQ's clipping thresholds, 1 - i / clip_n_grid for i below clip_n_grid clip_max_shrink, and no
    // other factors.
    uint32_t clip_n_grid;
    float clip_max_shrink;
} bm_grid_params;

// minimum, maximum [rows, groups] float32, of one stride, of the groups of w [rows, cols] real.
// Errors   BM_E_ARGUMENT shapes disagree.
bm_status bm_group_range(bm_device *device, const bm_tensor *w, uint32_t group_size, const bm_tensor *minimum,
                         const bm_tensor *maximum, bm_error *err);

// normalized = |w| / the largest magnitude of each one's group: 0..1.
//
//   w                 [rows, cols]    real
//   minimum, maximum  [rows, groups]  float32, of one stride: what bm_group_range gives for w
//   normalized        [rows, cols]    float32; may be w
//
// As for steps, a group of zeros (below 1e-30) gives zeros, and magnitudes saturate at 2^120. NaN stays NaN, and others of its
// group may be NaN too. Off by two roundings, at most 2^-23 of the quotient; one below 2^-126 may count as 0.
//
// Cost     w is read and normalized written once, in one dispatch where the device takes all rows at once.
// Errors   BM_E_ARGUMENT shapes disagree; BM_E_DEVICE.
bm_status bm_group_normalize(bm_device *device, const bm_tensor *w, uint32_t group_size, const bm_tensor *minimum,
                             const bm_tensor *maximum, const bm_tensor *normalized, bm_error *err);

// Steps and zero points for w: ranges, then the search.
//
//   w           [rows, cols]    real
//   weights     [1, cols]       float32, not negative: what the squared error of a column counts; NULL: all the same
//   step        [rows, groups]  float32; written
//   zero_point  [rows, groups]  int32; written, zeros when symmetric
//
// Errors   BM_E_ARGUMENT shapes disagree; BM_E_UNSUPPORTED longer groups than limits.max_loop_rounds allows (lavapipe:
//          86,000 weights, half of that with signed_scales); BM_E_MEMORY, BM_E_DEVICE.
// A group of zeros (below 1e-30) has zero point 0, codes 0 and the step 1e-8 (float32) or 1 (16-bit types).
// Steps are normal numbers of their type. Of the factors 1.05 .. 0.2 in steps of 0.01 the first in the order of their
// distance from 1 wins ties, so the error is never above that of the abs-max.
// With signed_scales the positive ones come first, then the negative ones in the same order.
bm_status bm_grid_search(bm_device *device, const bm_tensor *w, const bm_grid_params *params, const bm_tensor *weights,
                         const bm_tensor *step, const bm_tensor *zero_point, bm_error *err);

#define BM_GRID_MAX_FACTORS 172 // of a search with signed scales; also the largest clip_n_grid

// The candidates of a search as a tensor [1, count]: factors of the range, the one that changes least first.
bm_status bm_grid_factors(bm_device *device, const bm_grid_params *params, bm_tensor *out, bm_error *err);

// To codes and back, and both at once.
//
//   w, y        [rows, cols]    real; y may be w
//   step        [rows, groups]  float32, normal; negative ones only where zero_point is 0
//   zero_point  [rows, groups]  int32 in -2^(bits-1) .. 2^(bits-1)-1, with the stride of step
//   bits        2..8
//   codes       [rows, cols]    int8: clamp(rint(w / step) + zero_point, -2^(bits-1), 2^(bits-1)-1), half to even
//
// Errors   BM_E_ARGUMENT shapes disagree or bits are out of range; BM_E_DEVICE.
// Source   Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
//          2018, equation 1, with signed codes.
bm_status bm_quantize(bm_device *device, const bm_tensor *w, const bm_tensor *step, const bm_tensor *zero_point,
                      uint32_t group_size, uint32_t bits, const bm_tensor *codes, bm_error *err);
bm_status bm_dequantize(bm_device *device, const bm_tensor *codes, const bm_tensor *step, const bm_tensor *zero_point,
                        uint32_t group_size, const bm_tensor *w, bm_error *err);
// The same with the group of each column in group_index: u32 [cols], below the columns of step (not checked).
bm_status bm_dequantize_indexed(bm_device *device, const bm_tensor *codes, const bm_tensor *step,
                                const bm_tensor *zero_point, bm_view group_index, const bm_tensor *w, bm_error *err);
bm_status bm_fake_quantize(bm_device *device, const bm_tensor *w, const bm_tensor *step, const bm_tensor *zero_point,
                           uint32_t group_size, uint32_t bits, const bm_tensor *y, bm_error *err);

// Codes in 32-bit words, the first in the lowest bits, each plus 2^(bits-1); and back.
//
//   codes  [rows, cols]                       int8 in -2^(bits-1) .. 2^(bits-1)-1
//   words  [rows, ceil(cols bits / 32)]       uint32; what is behind the last column is 0
//   bits   2, 3, 4 or 8; of 3 bits some fields lie in two words
//
// Errors   BM_E_ARGUMENT shapes disagree or bits are others; BM_E_DEVICE.
bm_status bm_pack_codes(bm_device *device, const bm_tensor *codes, uint32_t bits, const bm_tensor *words,
                        bm_error *err);
bm_status bm_unpack_codes(bm_device *device, const bm_tensor *words, uint32_t bits, const bm_tensor *codes,
                          bm_error *err);

// Groups of a row: ceil(cols / group_size); group_size is not 0.
uint32_t bm_num_groups(uint64_t cols, uint32_t group_size);
// The most that any of some grids has.
uint32_t bm_most_groups(uint64_t cols, const bm_grid_params *grids, uint32_t num_grids);
// Whether weights are rounded alike on both.
bool bm_grid_is_same(const bm_grid_params *a, const bm_grid_params *b);

// Floating-point operations of the search.
double bm_grid_search_operations(uint64_t rows, uint64_t cols, uint32_t num_factors);

#endif
