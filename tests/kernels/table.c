// Every description of a kernel, one line each.
#include "kernels/table.h"

const kernel_operation *const kernel_operations[] = {
    &kernel_add,
    &kernel_convert,
    &kernel_rmsnorm,
};
const uint32_t num_kernel_operations = BM_COUNT(kernel_operations);
