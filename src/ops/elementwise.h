// Operations on elements, and the error of one matrix against another.
#ifndef BM_OPS_ELEMENTWISE_H
#define BM_OPS_ELEMENTWISE_H

#include "device/tensor.h"

typedef enum bm_activation {
    BM_ACTIVATION_SILU = 0,
    BM_ACTIVATION_GELU_TANH = 1,
    BM_ACTIVATION_GELU = 2
} bm_activation;

// z = x + y, and z = x + factor y. All [rows, cols], real; z may be x or y.
// Errors   BM_E_ARGUMENT shapes disagree.
bm_status bm_add(bm_device *device, const bm_tensor *x, const bm_tensor *y, const bm_tensor *z, bm_error *err);
bm_status bm_add_scaled(bm_device *device, const bm_tensor *x, const bm_tensor *y, float factor, const bm_tensor *z,
                        bm_error *err);
// z = (x - y) / 2, which a type of 16 bits holds wherever it holds both.
bm_status bm_half_difference(bm_device *device, const bm_tensor *x, const bm_tensor *y, const bm_tensor *z,
                             bm_error *err);

// y = x in another storage type. NaN, infinity, and values beyond float16's range (when y is F16) are reported at the
// wait, under the name subject and with the position r * cols + c of the first of four neighbours.
//
//   x, y     [rows, cols]  real
//   subject  names the data in errors; NULL: "convert". Copied.
//
// Errors   BM_E_ARGUMENT shapes disagree.
bm_status bm_convert(bm_device *device, const bm_tensor *x, const bm_tensor *y, const char *subject, bm_error *err);

// y[r, c] = (x[r, c] + shift[c]) factor[c]; either of the two may be NULL.
//
//   x, y           [rows, cols]  real; y may be x
//   shift, factor  [1, cols]     real
//
// Errors   BM_E_ARGUMENT shapes disagree.
bm_status bm_shift_scale(bm_device *device, const bm_tensor *x, const bm_tensor *shift, const bm_tensor *factor,
                         const bm_tensor *y, bm_error *err);

// y = cap tanh(x / cap). Both [rows, cols], real; y may be x. Errors: BM_E_ARGUMENT shapes disagree, cap is not positive.
// Source   Gemma Team, Gemma 2, 2024, section 2.
bm_status bm_soft_cap(bm_device *device, const bm_tensor *x, float cap, const bm_tensor *y, bm_error *err);

// y = act(gate) * up, or act(gate) alone where up is NULL. All [rows, cols], real; y may be gate or up.
// Errors   BM_E_ARGUMENT shapes disagree.
// Source   Shazeer, GLU Variants Improve Transformer, 2020, equation 6; gelu: Hendrycks and Gimpel, 2016, section 2.
bm_status bm_gate(bm_device *device, bm_activation activation, const bm_tensor *gate, const bm_tensor *up,
                  const bm_tensor *y, bm_error *err);

// sums[r] = {sum over c of (x[r, c] - y[r, c])^2, of x[r, c]^2, of y[r, c]^2, largest |x[r, c] - y[r, c]|}. A NaN is in the
// sums, not among the largest.
//
//   x, y  [rows, cols]  real
//   sums  [rows, 4]     float32
//
// Errors   BM_E_ARGUMENT shapes disagree.
bm_status bm_row_error(bm_device *device, const bm_tensor *x, const bm_tensor *y, const bm_tensor *sums, bm_error *err);

// Floating-point operations of each, and bytes that must be moved at least once.
double bm_add_operations(uint64_t rows, uint64_t cols);
double bm_gate_operations(uint64_t rows, uint64_t cols);
double bm_row_error_operations(uint64_t rows, uint64_t cols);
double bm_elementwise_bytes(uint64_t rows, uint64_t cols, bm_dtype x, bm_dtype y, bm_dtype z); // BM_DTYPE_NONE: no such

#endif
