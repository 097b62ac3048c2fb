// Buffers of every backend: creation and deferred release.
//
// A destroyed buffer may still be used by recorded work, so its memory is released at the next wait. Waits are rare, so
// the memory that is pending release is bounded: creating a buffer waits first when too much is pending, or when the
// device has no memory left.
#include "device/backend.h"

#include <stdio.h>

// The most bytes that may be pending release: two parts of a checkpoint as they are read, less on small devices. Waiting
// once for so many bytes costs little beside moving them.
#define MAX_PENDING_BYTES (UINT64_C(64) << 20)

static uint64_t max_pending_bytes(const bm_device *device)
{
    return bm_min_u64(MAX_PENDING_BYTES, device->info.limits.memory_bytes / 16);
}

// Asks the backend; when that fails, releases what is pending and asks once more.
static bm_status allocate(bm_device *device, bm_buffer *buffer, bm_error *err)
{
    bm_error first = {0};
    bm_status status = device->backend->buffer_create(device, buffer, &first);
    if (status != BM_OK && device->pending_release && !device->lost) {
        status = bm_device_drain(device, err);
        return status == BM_OK ? device->backend->buffer_create(device, buffer, err) : status;
    }
    return status == BM_OK ? BM_OK : bm_fail(err, status, "%s", first.message);
}

// Within the memory that the caller allows, once what is pending release has been released.
static bm_status check_allowed(bm_device *device, uint64_t size, const char *name, bm_error *err)
{
    bm_status status = BM_OK;
    if (device->allowed_bytes == 0 || device->live_bytes + size <= device->allowed_bytes)
        return BM_OK;
    if (device->pending_release)
        BM_TRY(bm_device_drain(device, err));
    BM_FAIL_IF(device->live_bytes + size > device->allowed_bytes, err, BM_E_MEMORY,
               "%s: %.1f MB of device memory beside the %.1f MB that are taken, expected at most %.1f MB in all, as "
               "--device-memory says",
               name ? name : "buffer", (double)size / 1e6, (double)device->live_bytes / 1e6,
               (double)device->allowed_bytes / 1e6);
done:
    return status;
}

bm_status bm_buffer_create(bm_device *device, uint64_t size_bytes, const char *name, bm_buffer **out, bm_error *err)
{
    const bm_device_limits *limits = &device->info.limits;
    bm_status status = BM_OK;
    bm_buffer *buffer = NULL;
    BM_TRY(bm_device_check_lost(device, err));
    BM_FAIL_IF(device->compile_only, err, BM_E_ARGUMENT, "%s: no buffer on %s, which was opened to compile only", name,
               device->info.name);
    BM_FAIL_IF(size_bytes == 0 || size_bytes > limits->max_allocation_bytes, err, BM_E_ARGUMENT,
               "%s: a buffer of %llu bytes; %s allows 1..%llu", name, (unsigned long long)size_bytes, device->info.name,
               (unsigned long long)limits->max_allocation_bytes);
    if (device->pending_bytes > max_pending_bytes(device))
        BM_TRY(bm_device_drain(device, err));
    BM_TRY(check_allowed(device, bm_round_up(size_bytes, BM_VIEW_ALIGNMENT), name, err));
    buffer = bm_alloc_zero(1, sizeof *buffer);
    BM_FAIL_IF(!buffer, err, BM_E_MEMORY, "out of memory");
    buffer->device = device;
    buffer->size = bm_round_up(size_bytes, BM_VIEW_ALIGNMENT);
    snprintf(buffer->name, sizeof buffer->name, "%s", name ? name : "buffer");
    BM_TRY(allocate(device, buffer, err));
    device->live_bytes += buffer->size;
    device->peak_bytes = bm_max_u64(device->peak_bytes, device->live_bytes);
    *out = buffer;
    buffer = NULL;
done:
    bm_free(buffer);
    return bm_device_finish_on_failure(device, status);
}

void bm_buffer_destroy(bm_buffer **buffer)
{
    if (!buffer || !*buffer)
        return;
    bm_device *device = (*buffer)->device;
    (*buffer)->next_pending = device->pending_release;
    device->pending_release = *buffer;
    device->pending_bytes += (*buffer)->size;
    *buffer = NULL;
}

void bm_buffers_release(bm_device *device)
{
    while (device->pending_release) {
        bm_buffer *buffer = device->pending_release;
        device->pending_release = buffer->next_pending;
        device->live_bytes -= buffer->size;
        device->backend->buffer_destroy(device, buffer);
        bm_free(buffer);
    }
    device->pending_bytes = 0;
}

bm_view bm_buffer_view(bm_buffer *buffer)
{
    return (bm_view){buffer, 0, buffer->size};
}

bm_view bm_view_part(bm_view view, uint64_t offset, uint64_t size)
{
    return (bm_view){view.buffer, view.offset + offset, size};
}

bm_status bm_device_scratch(bm_device *device, uint64_t size_bytes, bm_view *out, bm_error *err)
{
    if (!device->scratch || device->scratch->size < size_bytes) {
        bm_buffer_destroy(&device->scratch); // released when recorded work is done with it
        const bm_status status = bm_buffer_create(device, size_bytes, "scratch", &device->scratch, err);
        if (!device->scratch)
            return status;
    }
    *out = bm_view_part(bm_buffer_view(device->scratch), 0, bm_round_up(size_bytes, BM_VIEW_ALIGNMENT));
    return BM_OK;
}
