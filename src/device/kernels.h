// The rows of kernels.def as data: names, buffers, tunables and variants of every kernel.
#ifndef BM_DEVICE_KERNELS_H
#define BM_DEVICE_KERNELS_H

#include "device/kernels_generated.h"
#include <bitmill/device.h>

typedef enum bm_element { BM_ELEMENT_REAL, BM_ELEMENT_F32, BM_ELEMENT_U32, BM_ELEMENT_I32, BM_ELEMENT_I8 } bm_element;
typedef struct bm_kernel_buffer {
    const char *name;
    bm_element element;
    bool reads, writes, optional;
} bm_kernel_buffer;
typedef struct bm_kernel_variant {
    const char *suffix;
    bool opencl, vulkan;
    bool int8_dot;          // needs limits.int8_dot
    bool wgmma;             // needs limits.wgmma, and loads required real inputs as they are: all F16 or all BF16
    bool nvidia_mma;        // needs limits.nvidia_mma, and loads required real inputs as they are: all F16 or all BF16
    uint32_t max_registers; // of a work-item: what NVIDIA's compiler is told; 0: nothing
    uint32_t subgroup_size; // needs subgroups of just this size, which pipelines require of the driver; 0: any
    uint32_t lanes;         // work-items of a subgroup: subgroup_size, also in tests that do without subgroups
    bm_matrix_shape matrix; // needs these matrix units, and loads required real inputs as they are; m 0: none
    uint32_t source;        // the first variant that is made from the same source for other matrix units: it, or itself
} bm_kernel_variant;
typedef struct bm_kernel_info {
    const char *name;
    const bm_kernel_buffer *buffers;
    uint32_t num_buffers;
    uint32_t scalar_bytes; // size of bm_NAME_scalars
    const char *const *tunable_names;
    const uint32_t *tunable_defaults;
    uint32_t num_tunables;
    const bm_kernel_variant *variants; // variants[0] is the generic kernel, suffix ""
    uint32_t num_variants;
    bool reports;
} bm_kernel_info;
extern const bm_kernel_info bm_kernel_table[BM_NUM_KERNELS];
extern const char bm_kernels_digest[]; // SHA-256 in hex of the table and of all kernels of OpenCL and Vulkan

#endif
