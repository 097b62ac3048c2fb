// Transfers, copies and fills, checked before a backend records them. Views are checked here for dispatches too.
#include "device/backend.h"

// A view must lie in its buffer and start at a multiple of 16 bytes.
static bm_status check_place(const bm_device *device, bm_view view, const char *what, const char *name, bm_error *err)
{
    if (!view.buffer)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %s: no buffer", what, name);
    if (view.buffer->device != device)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %s: buffer \"%s\" belongs to another device", what, name,
                       view.buffer->name);
    if (view.offset % BM_VIEW_ALIGNMENT != 0)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %s: offset %llu, expected a multiple of %d", what, name,
                       (unsigned long long)view.offset, BM_VIEW_ALIGNMENT);
    if (view.offset > view.buffer->size || view.size > view.buffer->size - view.offset)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %s: bytes %llu..%llu of buffer \"%s\", which has %llu", what, name,
                       (unsigned long long)view.offset, (unsigned long long)(view.offset + view.size),
                       view.buffer->name, (unsigned long long)view.buffer->size);
    return BM_OK;
}

bm_status bm_device_check_view(const bm_device *device, bm_view view, const char *what, const char *name, bm_error *err)
{
    const bm_status status = check_place(device, view, what, name, err);
    if (status == BM_OK && view.buffer->is_host)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %s: buffer \"%s\" is memory of the host", what, name,
                       view.buffer->name);
    return status;
}

static bm_status check_recording(const bm_device *device, const char *what, bm_error *err)
{
    const bm_status status = bm_device_check_lost(device, err);
    return status == BM_OK && device->in_parallel
               ? bm_fail(err, BM_E_ARGUMENT, "%s: no transfers inside a parallel section", what)
               : status;
}

// A strided transfer of num_rows rows must lie in its view.
bm_status bm_device_check_rows(const bm_device *device, bm_view view, uint64_t stride, uint64_t row_bytes,
                               uint64_t num_rows, const char *what, bm_error *err)
{
    bm_status status = check_recording(device, what, err);
    if (status == BM_OK)
        status = bm_device_check_view(device, view, what, "device side", err);
    if (status != BM_OK)
        return status;
    uint64_t need = 0;
    if (row_bytes > stride && num_rows > 1)
        return bm_fail(err, BM_E_ARGUMENT, "%s: rows of %llu bytes at a stride of %llu", what,
                       (unsigned long long)row_bytes, (unsigned long long)stride);
    if (num_rows == 0 || row_bytes == 0 || !bm_multiply_u64(stride, num_rows - 1, &need) ||
        !bm_add_u64(need, row_bytes, &need) || need > view.size)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %llu rows of %llu bytes do not fit a view of %llu bytes", what,
                       (unsigned long long)num_rows, (unsigned long long)row_bytes, (unsigned long long)view.size);
    return BM_OK;
}

bm_status bm_upload_rows(bm_device *device, bm_view dst, uint64_t dst_stride, const void *src, uint64_t src_stride,
                         uint64_t row_bytes, uint64_t num_rows, bm_error *err)
{
    bm_status status = bm_device_check_rows(device, dst, dst_stride, row_bytes, num_rows, "upload", err);
    if (status == BM_OK)
        status = device->backend->upload_rows(device, dst, dst_stride, src, src_stride, row_bytes, num_rows, err);
    return bm_device_finish_on_failure(device, status);
}

bm_status bm_upload(bm_device *device, bm_view dst, const void *src, uint64_t size, bm_error *err)
{
    return bm_upload_rows(device, dst, size, src, size, size, 1, err);
}

bm_status bm_download_rows(bm_device *device, bm_view src, uint64_t src_stride, void *dst, uint64_t dst_stride,
                           uint64_t row_bytes, uint64_t num_rows, bm_error *err)
{
    bm_status status = bm_device_check_rows(device, src, src_stride, row_bytes, num_rows, "download", err);
    if (status == BM_OK) {
        device->has_downloads = true; // of some rows, even when it fails
        status = device->backend->download_rows(device, src, src_stride, dst, dst_stride, row_bytes, num_rows, err);
    }
    return bm_device_finish_on_failure(device, status);
}

bm_status bm_download(bm_device *device, bm_view src, void *dst, uint64_t size, bm_error *err)
{
    return bm_download_rows(device, src, size, dst, size, size, 1, err);
}

bool bm_views_overlap(bm_view a, bm_view b)
{
    return a.buffer == b.buffer && a.offset < b.offset + b.size && b.offset < a.offset + a.size;
}

bm_status bm_copy(bm_device *device, bm_view dst, bm_view src, bm_error *err)
{
    bm_status status = check_recording(device, "copy", err);
    if (status == BM_OK)
        status = check_place(device, src, "copy", "source", err);
    if (status == BM_OK)
        status = check_place(device, dst, "copy", "destination", err);
    if (status == BM_OK && (dst.size == 0 || dst.size != src.size || bm_views_overlap(dst, src)))
        status = bm_fail(err, BM_E_ARGUMENT, "copy: views must be of equal size and apart");
    if (status == BM_OK && dst.buffer->is_host && src.buffer->is_host)
        status = bm_fail(err, BM_E_ARGUMENT, "copy: both \"%s\" and \"%s\" are memory of the host", src.buffer->name,
                         dst.buffer->name);
    if (status == BM_OK)
        status = device->backend->copy(device, dst, src, err);
    return bm_device_finish_on_failure(device, status);
}

bm_status bm_fill(bm_device *device, bm_view dst, uint32_t word, bm_error *err)
{
    bm_status status = bm_device_check_rows(device, dst, dst.size, dst.size, 1, "fill", err);
    if (status == BM_OK && dst.size % 4 != 0)
        status =
            bm_fail(err, BM_E_ARGUMENT, "fill: %llu bytes, expected a multiple of 4", (unsigned long long)dst.size);
    if (status == BM_OK)
        status = device->backend->fill(device, dst, word, err);
    return bm_device_finish_on_failure(device, status);
}
