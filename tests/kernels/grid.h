// Shared by the descriptions of the kernels of rounding: their shapes, and grids that fit given weights.
#ifndef BM_TESTS_KERNELS_GRID_H
#define BM_TESTS_KERNELS_GRID_H

#include "kernels/harness.h"

// What the numbers of a case mean. TYPE is a bm_dtype: that of stored steps.
enum { GRID_ROWS, GRID_COLS, GRID_GROUP_SIZE, GRID_BITS, GRID_SYMMETRIC, GRID_TYPE };

#define GRID_CASES                                                                                                     \
    {                                                                                                                  \
        {"1", {1, 1, 1, 4, 1, 1}, false}, {"prime", {7, 13, 4, 4, 0, 2}, false},                                       \
            {"tile - 1", {3, 63, 64, 8, 1, 3}, false}, {"tile", {3, 64, 32, 4, 1, 2}, false},                          \
            {"tile + 1", {3, 65, 65, 8, 0, 1}, false}, {"asymmetric", {9, 96, 32, 4, 0, 1}, false},                    \
            {"two bits", {5, 48, 16, 2, 1, 1}, false}, {"long thin", {1031, 3, 3, 4, 1, 1}, false},                    \
            {"layer", {48, 1024, 128, 4, 1, 2}, true},                                                                 \
        {                                                                                                              \
            "long row", {2, 4099, 4099, 8, 1, 3}, true                                                                 \
        }                                                                                                              \
    }

// group_size as the kernels want it: a multiple of 4, or all columns.
uint32_t grid_group_size(const kernel_run *run);
uint32_t grid_groups(const kernel_run *run);
// Fills buffers step and zero_point with grids that suit weights of standard deviation 1: powers of two, so that ties
// are exact, and steps of no pattern.
void grid_fill(kernel_run *run, uint32_t step, uint32_t zero_point);

#endif
