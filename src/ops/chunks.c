// Checks of matrices, and how long work is cut into dispatches.
#include "ops/chunks.h"

#include "device/kernels.h"
#include "ops/rate.h"

#include <string.h>

#define MAX_ELEMENTS (UINT64_C(1) << 31) // of a view: kernels count elements in 32 bits
#define MAX_GROUPS 16384                 // more only cost: kernels walk on by themselves

bm_status bm_check_matrix(const char *operation, const char *name, const bm_tensor *tensor, bm_dtype dtype,
                          uint64_t rows, uint64_t cols, bm_error *err)
{
    const uint32_t size = bm_dtype_size(tensor->dtype);
    if (tensor->dtype != dtype)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %s is stored as %s, expected %s", operation, name,
                       bm_dtype_name(tensor->dtype), bm_dtype_name(dtype));
    if (tensor->rows != rows || tensor->cols != cols || rows == 0 || cols == 0)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %s is [%llu, %llu], expected [%llu, %llu]", operation, name,
                       (unsigned long long)tensor->rows, (unsigned long long)tensor->cols, (unsigned long long)rows,
                       (unsigned long long)cols);
    const uint64_t padded = bm_round_up(cols * size, BM_VIEW_ALIGNMENT); // kernels read and write whole 16 bytes
    if (tensor->stride < cols || tensor->stride >= MAX_ELEMENTS || rows >= MAX_ELEMENTS ||
        (rows > 1 && tensor->stride * size % BM_VIEW_ALIGNMENT != 0) ||
        (rows - 1) * tensor->stride * size + padded > tensor->view.size)
        return bm_fail(err, BM_E_ARGUMENT,
                       "%s: %s: %llu rows of %llu %s at a stride of %llu do not fit a view of %llu bytes", operation,
                       name, (unsigned long long)rows, (unsigned long long)cols, bm_dtype_name(dtype),
                       (unsigned long long)tensor->stride, (unsigned long long)tensor->view.size);
    return BM_OK;
}

bm_status bm_check_real(const bm_device *device, const char *operation, const char *name, const bm_tensor *tensor,
                        uint64_t rows, uint64_t cols, bm_error *err)
{
    const bm_dtype type = tensor->dtype;
    if (type != BM_DTYPE_F32 && type != BM_DTYPE_F16 && type != BM_DTYPE_BF16 &&
        !(type == BM_DTYPE_F64 && bm_device_is_host(device)))
        return bm_fail(err, BM_E_ARGUMENT, "%s: %s is stored as %s, expected F32, F16 or BF16", operation, name,
                       bm_dtype_name(type));
    return bm_check_matrix(operation, name, tensor, type, rows, cols, err);
}

bm_status bm_check_integers(const char *operation, const char *name, bm_view view, uint64_t count, bm_error *err)
{
    if (!view.buffer || view.size / 4 < count)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %s holds %llu integers, expected %llu", operation, name,
                       (unsigned long long)(view.buffer ? view.size / 4 : 0), (unsigned long long)count);
    return BM_OK;
}

double bm_chunk_max_seconds(const bm_device *device)
{
    return bm_device_get_info(device)->limits.display_attached ? 0.1 : 0.5;
}

uint64_t bm_chunk_rows(const bm_device *device, uint64_t widest_stride, double operations_per_row)
{
    const double by_time = bm_chunk_max_seconds(device) * bm_rate(device, BM_WORK_PLAIN) / operations_per_row;
    const uint64_t by_size = (MAX_ELEMENTS - 1) / widest_stride;
    const uint64_t rows = by_time < (double)by_size ? (uint64_t)by_time : by_size;
    return bm_max_u64(4, rows / 4 * 4);
}

double bm_chunk_seconds(const bm_device *device, double operations)
{
    return operations / bm_rate(device, BM_WORK_PLAIN);
}

uint32_t bm_chunk_groups(const bm_device *device, uint64_t count, uint32_t group)
{
    const uint64_t limit = bm_min_u64(MAX_GROUPS, bm_device_get_info(device)->limits.max_groups[0]);
    return (uint32_t)bm_max_u64(1, bm_min_u64(limit, bm_divide_up(count, group)));
}

bm_status bm_check_rounds(const bm_device *device, uint64_t rounds, const char *subject, const char *advice,
                          bm_error *err)
{
    const bm_device_info *info = bm_device_get_info(device);
    if (info->limits.max_loop_rounds == 0 || rounds <= info->limits.max_loop_rounds)
        return BM_OK;
    return bm_fail(
        err, BM_E_UNSUPPORTED,
        "%s on %s, whose driver ends loops silently after %u rounds; use %sOpenCL on the CPU instead (--device "
        "opencl, with PoCL)",
        subject, info->name, info->limits.max_loop_rounds, advice);
}

uint64_t bm_chunk_pieces(const bm_device *device, uint64_t rounds, uint32_t pieces_per_group)
{
    const uint64_t max_rounds = bm_device_get_info(device)->limits.max_loop_rounds;
    return max_rounds == 0 ? UINT64_MAX
                           : max_rounds / rounds * bm_chunk_groups(device, UINT32_MAX, 1) * pieces_per_group;
}

uint32_t bm_chunk_group(const bm_device *device, uint32_t wanted)
{
    uint32_t group = wanted;
    while (group > 1 && group > bm_device_get_info(device)->limits.max_group_invocations)
        group /= 2;
    return group;
}

uint32_t bm_chunk_lanes(const bm_device *device, bm_kernel_id kernel)
{
    const bm_device_info *info = bm_device_get_info(device);
    if (info->kind != BM_DEVICE_CPU || info->limits.vector_width < BM_CHUNK_LANES / 2)
        return 0;
    for (uint32_t i = 1; i < bm_kernel_table[kernel].num_variants; i++)
        if (strcmp(bm_kernel_table[kernel].variants[i].suffix, "_lanes") == 0 &&
            bm_kernel_has_variant(device, kernel, i))
            return i;
    return 0;
}

uint32_t bm_chunk_width(const bm_device *device)
{
    const bm_device_info *info = bm_device_get_info(device);
    return info->kind == BM_DEVICE_CPU && strcmp(info->backend, "opencl") == 0 ? 16 : 4;
}

uint32_t bm_chunk_row_group(const bm_device *device)
{
    return bm_chunk_width(device) > 4 ? 1 : bm_chunk_group(device, 64);
}
