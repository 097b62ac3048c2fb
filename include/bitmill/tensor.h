// Element types of tensors, in files, on devices and in kernels.
#ifndef BITMILL_TENSOR_H
#define BITMILL_TENSOR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Element types. The values are stored in cache keys and passed to kernels: append only.
typedef enum bm_dtype {
    BM_DTYPE_NONE = 0,
    BM_DTYPE_F32 = 1,
    BM_DTYPE_F16 = 2,
    BM_DTYPE_BF16 = 3,
    BM_DTYPE_F64 = 4, // files, and the host backend's reference arithmetic; no kernel of a GPU takes it
    BM_DTYPE_I8 = 5,
    BM_DTYPE_U8 = 6,
    BM_DTYPE_I16 = 7,
    BM_DTYPE_U16 = 8,
    BM_DTYPE_I32 = 9,
    BM_DTYPE_U32 = 10,
    BM_DTYPE_I64 = 11,
    BM_DTYPE_U64 = 12,
    BM_DTYPE_BOOL = 13,
    BM_DTYPE_F8_E4M3 = 14,
    BM_DTYPE_F8_E5M2 = 15,
} bm_dtype;

// Bytes of one element; 0 for BM_DTYPE_NONE and unknown values.
uint32_t bm_dtype_size(bm_dtype dtype);

// The safetensors name of a type ("F32", "BF16", ...); "?" for unknown values. Never NULL.
const char *bm_dtype_name(bm_dtype dtype);

#ifdef __cplusplus
}
#endif
#endif
