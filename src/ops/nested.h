// Steps of groups that are whole multiples of one step for 256 columns, as GGUF's K-quants store them.
//
// Of 256 columns the groups are 8 of 32 with an offset each, or 16 of 16 with signed steps and none:
//
//     step = unit scale         value = step code - offset      offset = min_unit minimum
//
// Where there are offsets, codes of rounding.h are those of w + offset: with zero point -2^(bits-1) they are at least 0. All results
// are the same on every device, bit for bit, where no group's weights are below 1e-35 of the heaviest among its 256 columns: of such
// groups some devices see nothing.
#ifndef BM_OPS_NESTED_H
#define BM_OPS_NESTED_H

#include "ops/rounding.h"

#define BM_NESTED_COLUMNS 256

// What is stored of the steps of a linear, beside the steps themselves. Symmetric: scale and unit alone.
typedef struct bm_nested_steps {
    bm_tensor scale, minimum; // [rows, groups] int8: 1..63 and 0..63; symmetric: -127..127, not 0
    bm_tensor unit,
        min_unit;     // [rows, cols / 256] float32 holding values of float16; min_unit 0: no group has an offset
    bm_tensor offset; // [rows, groups] float32
} bm_nested_steps;

// Columns of a group.
static inline uint32_t bm_nested_group_size(bool symmetric)
{
    return symmetric ? 16 : 32;
}

// How steps are found.
typedef struct bm_nested_params {
    uint32_t bits; // 2..7
    bool symmetric;
    bool search;       // false: the ranges give steps and units
    bool by_magnitude; // an error counts with |w| plus the mean of that over the group
} bm_nested_params;

// Steps for w, which is 256 columns or a multiple from number 256 first_super of a linear on: the least of the sums of the squared
// errors of codes made for what is stored, among candidates near the range; never above that of the ranges.
//
//   w        [rows, cols]    float32
//   weights  [1, cols]       float32, not negative: what the squared error of a column counts; NULL: all the same
//   step     [rows, groups]  float32, of the whole linear; those of w are written, as all of out
//
// Errors   BM_E_ARGUMENT shapes disagree; BM_E_DEVICE.
// Source   ggml's quantize_row_q4_K_impl and quantize_row_q6_K_impl: least squares for the codes of several steps. The choice of units
//          and of stored scales by the error of their own codes is ours.
bm_status bm_nested_search(bm_device *device, const bm_tensor *w, const bm_nested_params *params,
                           const bm_tensor *weights, uint32_t first_super, const bm_tensor *step,
                           const bm_nested_steps *out, bm_error *err);
double bm_nested_search_operations(uint64_t rows, uint64_t cols);

// x += factor offset of each column's group.
//
//   x       [rows, cols]    float32
//   offset  [rows, groups]  float32: the group of x's first column is number first_group
//
// Errors   BM_E_ARGUMENT shapes disagree; BM_E_DEVICE.
bm_status bm_group_shift(bm_device *device, const bm_tensor *x, const bm_tensor *offset, uint32_t first_group,
                         uint32_t group_size, float factor, bm_error *err);

#endif
