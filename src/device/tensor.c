// Matrices on a device.
#include "device/tensor.h"

#include <assert.h>

uint64_t bm_tensor_stride(bm_dtype dtype, uint64_t cols)
{
    return bm_round_up(cols, BM_VIEW_ALIGNMENT / bm_dtype_size(dtype));
}

static bm_status create(bm_device *device, bm_dtype dtype, uint64_t rows, uint64_t cols, const char *name, bool on_host,
                        bm_tensor *out, bm_error *err)
{
    const uint64_t stride = bm_tensor_stride(dtype, cols);
    uint64_t bytes = 0;
    if (!bm_multiply_u64(stride, rows, &bytes) || !bm_multiply_u64(bytes, bm_dtype_size(dtype), &bytes) || bytes == 0)
        return bm_fail(err, BM_E_ARGUMENT, "%s: a tensor of [%llu, %llu] %s", name, (unsigned long long)rows,
                       (unsigned long long)cols, bm_dtype_name(dtype));
    bm_buffer *buffer = NULL;
    const bm_status status = on_host ? bm_host_buffer_create(device, bytes, name, &buffer, err)
                                     : bm_buffer_create(device, bytes, name, &buffer, err);
    if (status == BM_OK)
        *out = (bm_tensor){dtype, rows, cols, stride, bm_buffer_view(buffer)};
    return status;
}

bm_status bm_tensor_create(bm_device *device, bm_dtype dtype, uint64_t rows, uint64_t cols, const char *name,
                           bm_tensor *out, bm_error *err)
{
    return create(device, dtype, rows, cols, name, false, out, err);
}

bm_status bm_tensor_create_on_host(bm_device *device, bm_dtype dtype, uint64_t rows, uint64_t cols, const char *name,
                                   bm_tensor *out, bm_error *err)
{
    return create(device, dtype, rows, cols, name, true, out, err);
}

void bm_tensor_destroy(bm_tensor *tensor)
{
    bm_buffer_destroy(&tensor->view.buffer);
    *tensor = (bm_tensor){0};
}

bm_tensor bm_tensor_rows(const bm_tensor *tensor, uint64_t first, uint64_t count)
{
    assert(first + count <= tensor->rows);
    const uint64_t row_bytes = tensor->stride * bm_dtype_size(tensor->dtype), skip = first * row_bytes;
    bm_tensor part = *tensor;
    part.rows = count;
    // The last row of a slice of columns is shorter than the stride.
    part.view = bm_view_part(tensor->view, skip, bm_min_u64(count * row_bytes, tensor->view.size - skip));
    return part;
}

bm_tensor bm_tensor_columns(const bm_tensor *tensor, uint64_t first, uint64_t count)
{
    const uint64_t skip = first * bm_dtype_size(tensor->dtype);
    assert(first + count <= tensor->cols && skip % BM_VIEW_ALIGNMENT == 0);
    bm_tensor part = *tensor;
    part.cols = count;
    part.view = bm_view_part(tensor->view, skip, tensor->view.size - skip);
    return part;
}

bm_tensor bm_tensor_part(const bm_tensor *tensor, uint64_t first_row, uint64_t rows, uint64_t first_col, uint64_t cols)
{
    const bm_tensor some = bm_tensor_rows(tensor, first_row, rows);
    bm_tensor part = bm_tensor_columns(&some, first_col, cols);
    const uint64_t last_row = bm_tensor_stride(tensor->dtype, cols);
    part.view.size = ((rows - 1) * tensor->stride + last_row) * bm_dtype_size(tensor->dtype);
    return part;
}

bm_tensor bm_tensor_reshape(const bm_tensor *tensor, uint64_t rows, uint64_t cols)
{
    bm_tensor part = *tensor;
    part.rows = rows;
    part.cols = cols;
    part.stride = bm_tensor_stride(tensor->dtype, cols);
    part.view.size = rows * part.stride * bm_dtype_size(tensor->dtype);
    assert(part.view.size <= tensor->view.size);
    return part;
}

bm_status bm_tensor_copy(bm_device *device, const bm_tensor *from, const bm_tensor *to, bm_error *err)
{
    const uint64_t size = to->rows * to->stride * bm_dtype_size(to->dtype);
    if (from->dtype != to->dtype || from->rows != to->rows || from->cols != to->cols || from->stride != to->stride)
        return bm_fail(err, BM_E_ARGUMENT, "copy of a tensor: type, shape or stride differ");
    return bm_copy(device, bm_view_part(to->view, 0, size), bm_view_part(from->view, 0, size), err);
}

bm_status bm_tensor_upload(bm_device *device, const bm_tensor *tensor, const void *src, bm_error *err)
{
    const uint64_t size = bm_dtype_size(tensor->dtype);
    return bm_upload_rows(device, tensor->view, tensor->stride * size, src, tensor->cols * size, tensor->cols * size,
                          tensor->rows, err);
}

bm_status bm_tensor_download(bm_device *device, const bm_tensor *tensor, void *dst, bm_error *err)
{
    const uint64_t size = bm_dtype_size(tensor->dtype);
    return bm_download_rows(device, tensor->view, tensor->stride * size, dst, tensor->cols * size, tensor->cols * size,
                            tensor->rows, err);
}

bm_status bm_tensor_keep(bm_device *device, bm_tensor *kept, bm_dtype dtype, uint64_t rows, uint64_t cols,
                         const char *name, bm_tensor *out, bm_error *err)
{
    const uint64_t stride = bm_tensor_stride(dtype, cols), bytes = rows * stride * bm_dtype_size(dtype);
    bm_status status = BM_OK;
    if (!kept->view.buffer || kept->view.size < bytes) {
        bm_tensor_destroy(kept);
        BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, bytes / sizeof(float), name, kept, err));
    }
    *out = (bm_tensor){dtype, rows, cols, stride, bm_view_part(kept->view, 0, bytes)};
done:
    return status;
}
