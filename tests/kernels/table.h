// The descriptions, each defined in the file of its kernel.
#ifndef BM_TESTS_KERNELS_TABLE_H
#define BM_TESTS_KERNELS_TABLE_H

#include "kernels/harness.h"

extern const kernel_operation kernel_add;
extern const kernel_operation kernel_convert;
extern const kernel_operation kernel_rmsnorm;

#endif
