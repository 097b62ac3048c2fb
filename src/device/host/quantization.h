// The arithmetic of rounding to a grid: what cl/include/quantization.h and shaders/include/quantization.glsl compute.
//
// Every device must compute the same codes, so this reference computes in float32 what they compute in float32: one
// operation, one rounding. A reference in double would disagree at ties, and half the step is always one.
#ifndef BM_HOST_QUANTIZATION_H
#define BM_HOST_QUANTIZATION_H

#include "device/host/host.h"

#define HOST_ZERO_PEAK 1e-30f      // a group whose largest magnitude is below counts as zero
#define HOST_LARGEST_PEAK 0x1p120f // larger magnitudes saturate: steps and their reciprocals stay normal

// A step as its stored type holds it: rounded half to even, never below the smallest normal number, never infinite. BM_DTYPE_NONE: a
// unit of nested steps, float16 down to its smallest number.
float host_stored_step(float step, bm_dtype scale_type);
float host_zero_step(bm_dtype scale_type); // of a group of zeros: any positive number does, since all its codes are 0

// The range of a group as steps are made from it: zero lies in it, and its ends are at most 2^120 in magnitude.
float host_range_low(float minimum);
float host_range_high(float maximum);
float host_range_unit(float range); // the power of two that brings range near 2^40

// Step and code of 0 of a group with this range, shrunk by factor. Not for groups of zeros. inverse = 1 / step.
// Symmetric: the step has the sign of factor, so that the code without a partner, -2^(bits-1), lies on either side.
float host_group_step(float low, float high, float factor, uint32_t bits, bool symmetric, bm_dtype scale_type);
float host_group_zero_point(float low, float factor, float inverse, uint32_t bits, bool symmetric);

// Both at once from what kernel group_range found, groups of zeros included.
typedef struct host_grid {
    float step, zero_point;
} host_grid;
host_grid host_group_grid(float minimum, float maximum, float factor, uint32_t bits, bool symmetric,
                          bm_dtype scale_type);

// The code of w: round half to even, add the zero point, clamp; in this order.
float host_code(float w, float inverse, float zero_point, uint32_t bits);
// The value of the grid nearest to w, in double: for kernels whose results need not be the same bits everywhere.
double host_nearest(double w, double step, double zero_point, uint32_t bits);

// What the kernels of 8-bit products do with the sums of row i and output features first .. first + HOST_LOSS_COLS - 1 (those
// behind n are not looked at): y, or the squared error beside it. Their buffers from number 2 on are the same.
#define HOST_LOSS_COLS 16
typedef struct host_int8_block {
    int32_t sums[HOST_LOSS_COLS];
} host_int8_block;
void host_int8_outputs(const host_call *call, uint32_t n, uint32_t y_stride, uint32_t loss_stride, uint32_t has_bias,
                       uint32_t compares, uint64_t i, uint32_t first, const host_int8_block *block);

#endif
