// The OpenCL backend's own types. Any OpenCL 1.2+ device; the loader is found at run time.
#ifndef BM_OPENCL_OPENCL_H
#define BM_OPENCL_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 120
#include "device/backend.h"
#include <CL/cl.h>

// The source text of one kernel or variant, embedded by tools/generate_kernels.py; text NULL: none for OpenCL.
typedef struct ocl_source {
    const char *text;
    uint32_t length;
} ocl_source;
extern const ocl_source ocl_sources[];          // all kernels' variants in the order of kernels.def
extern const uint32_t ocl_first_source[];       // by kernel: index of its variant 0

#endif
