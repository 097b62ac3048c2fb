// Shared by the descriptions of products of 8-bit codes: steps, codes, and what becomes of exact sums.
#ifndef BM_TESTS_KERNELS_INT8_H
#define BM_TESTS_KERNELS_INT8_H

#include "kernels/harness.h"

enum { INT8_X, INT8_W, INT8_X_ROWS, INT8_W_STEP, INT8_BIAS, INT8_Y, INT8_LOSS };
enum { INT8_M, INT8_N, INT8_K, INT8_HAS_BIAS, INT8_COMPARES, INT8_EXTREME, INT8_ROWS, INT8_COLS, INT8_WALK };
// INT8_EXTREME: codes are random (0), all -128 (1), all 127 (2), or x is 127 and w is -128 (3).

// A code of x (which 0) or w (1).
double int8_code(kernel_run *run, uint32_t which);
// Shapes and fills buffers 2 and up.
void int8_make(kernel_run *run);
// Writes y or loss by the order of operations that the kernels state; sum gives the exact sum of a row and a feature.
void int8_reference(const kernel_run *run, double *const *out,
                    int64_t (*sum)(const kernel_run *run, uint64_t i, uint64_t j));

#endif
