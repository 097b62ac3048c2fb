// The matrix product of a linear in 8-bit integers: activations become codes, integer products are exact, and float32 makes
// outputs of the sums. What is measured with it is what an A8W8 checkpoint gives where it is served.
//
//   code of x[i, l] = clamp(rint(v inverse), -128, 127)      v = (x - shift) factor
//   y[i, j] = fl(fl(fl(sum over l of code of x[i, l] code of W[j, l]) step of row i) step of feature j) + bias[j]
//
// Each operation is rounded once, in this order: codes and outputs are the same bits on every device and of every variant. GPUs
// multiply four codes at once; CPU devices take panels of floats, whose sums over 1024 columns float32 holds exactly.
// gemm_choice.c says what each device gets.
#ifndef BM_OPS_GEMM_INT8_H
#define BM_OPS_GEMM_INT8_H

#include "ops/gemm.h"

#define BM_INT8_MAX_FEATURES 131071 // sums of so many products of -128 stay below 2^31

// As bm_gemm_choose and bm_gemm_variant, for this product: gflops counts two operations for each product of codes.
bm_gemm_choice bm_gemm_int8_choose(bm_device *device);
const char *bm_gemm_int8_variant(bm_device *device, uint32_t index);

// Activations as codes.
typedef struct bm_int8_rows {
    bm_tensor codes; // [tokens, channels] int8
    bm_tensor rows;  // [tokens, 4] float32: {step, peak, how many |v| exceed a peak that is given, 0}
} bm_int8_rows;
// Memory for both, not yet written. Errors: BM_E_DEVICE, BM_E_ARGUMENT above the largest allocation. Destroy with
// bm_int8_rows_destroy, which takes an empty struct too.
bm_status bm_int8_rows_create(bm_device *device, uint64_t tokens, uint64_t channels, bm_int8_rows *out, bm_error *err);
void bm_int8_rows_destroy(bm_int8_rows *rows);

// How activations become codes.
typedef struct bm_quantize_rows_params {
    const char *name;                // in reports: of the linear or its group
    const bm_tensor *shift, *factor; // [1, channels] float32: v = (x - shift) factor; NULL: 0, 1
    bool per_row; // each token's largest |v| is its peak; else peak serves all, and what is beyond saturates
    float peak;   // step = fl(peak / 127), inverse = fl(127 / peak); below 1e-30: all codes 0, step 1
    float step;   // above 0: the step itself, as a checkpoint has it, instead of peak; inverse = fl(1 / step)
} bm_quantize_rows_params;

//   x  [tokens, channels]  real
//
// Errors   BM_E_ARGUMENT shapes disagree, a peak that is negative or not finite. A v that is not finite is reported under name
//          (bm_device_wait: BM_E_NUMERIC); NaN gives the code 0, infinity saturates.
bm_status bm_quantize_rows(bm_device *device, const bm_tensor *x, const bm_quantize_rows_params *params,
                           const bm_int8_rows *out, bm_error *err);

// The weights of one linear on a device, as the canonical form of codes has them: symmetric, one step an output feature.
typedef struct bm_int8_weights {
    bm_weights *codes; // rows of int8, or panels of floats
    bm_tensor step;    // [out_features, 1] float32
} bm_int8_weights;

// Creates weights of zeros. choice: NULL: bm_gemm_int8_choose(device).
// Errors   BM_E_ARGUMENT sizes of 0, more than BM_INT8_MAX_FEATURES input features; as bm_weights_create.
bm_status bm_int8_weights_create(bm_device *device, uint64_t out_features, uint64_t in_features, const char *name,
                                 const bm_gemm_choice *choice, bm_int8_weights **out, bm_error *err);
// Device memory of them in the device's own choice, without steps: a byte an element in rows, four in panels.
uint64_t bm_int8_weights_bytes(bm_device *device, uint64_t out_features, uint64_t in_features);
void bm_int8_weights_destroy(bm_int8_weights **weights);

// Writes output features first_row .. first_row + codes->rows - 1.
//
//   codes  [count, in_features]  int8, at the smallest stride
//   step   [count, 1]            float32, likewise
//
// Errors   BM_E_ARGUMENT shapes disagree.
bm_status bm_int8_weights_set_rows(bm_device *device, bm_int8_weights *weights, uint64_t first_row,
                                   const bm_tensor *codes, const bm_tensor *step, bm_error *err);

// y, as above.
//
//   bias  [1, out_features]       real; NULL: none
//   y     [tokens, out_features]  real
//
// Cost     bm_gemm_operations; panels need bm_device_scratch for x, at most 64 MiB (or one panel).
// Order    not inside a parallel section.
// Errors   BM_E_ARGUMENT shapes disagree; BM_E_UNSUPPORTED more features than limits.max_loop_rounds allows panels.
bm_status bm_gemm_int8(bm_device *device, const bm_int8_rows *x, const bm_int8_weights *weights, const bm_tensor *bias,
                       const bm_tensor *y, bm_error *err);

// The squared error of y, which is stored nowhere, beside the outputs that are wanted: sums[i] = {sum over j of (want[i, j] -
// y[i, j])^2, 0, 0, 0}, float32, each of at most a few thousand roundings in a fixed order: the same call gives the same bits.
// Add the rows up in double.
//
//   want  [tokens, out_features]  real
//   sums  [tokens, 4]             float32
//
// Cost     as bm_gemm_int8, and scratch for an element in 16 outputs, at most 64 MiB (or that of one cut).
// Errors as of bm_gemm_int8.
bm_status bm_gemm_int8_loss(bm_device *device, const bm_int8_rows *x, const bm_int8_weights *weights,
                            const bm_tensor *bias, const bm_tensor *want, const bm_tensor *sums, bm_error *err);

#endif
