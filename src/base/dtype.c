// Element types: sizes and safetensors names.
#include "base/base.h"

static const struct {
    const char *name;
    uint32_t size;
} dtypes[] = {
    [BM_DTYPE_F32] = {"F32", 4},   [BM_DTYPE_F16] = {"F16", 2},         [BM_DTYPE_BF16] = {"BF16", 2},
    [BM_DTYPE_F64] = {"F64", 8},   [BM_DTYPE_I8] = {"I8", 1},           [BM_DTYPE_U8] = {"U8", 1},
    [BM_DTYPE_I16] = {"I16", 2},   [BM_DTYPE_U16] = {"U16", 2},         [BM_DTYPE_I32] = {"I32", 4},
    [BM_DTYPE_U32] = {"U32", 4},   [BM_DTYPE_I64] = {"I64", 8},         [BM_DTYPE_U64] = {"U64", 8},
    [BM_DTYPE_BOOL] = {"BOOL", 1}, [BM_DTYPE_F8_E4M3] = {"F8_E4M3", 1}, [BM_DTYPE_F8_E5M2] = {"F8_E5M2", 1},
};

uint32_t bm_dtype_size(bm_dtype dtype)
{
    return (size_t)dtype < BM_COUNT(dtypes) ? dtypes[dtype].size : 0;
}

const char *bm_dtype_name(bm_dtype dtype)
{
    return (size_t)dtype < BM_COUNT(dtypes) && dtypes[dtype].name ? dtypes[dtype].name : "?";
}
