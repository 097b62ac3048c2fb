// Buffers of every backend: creation and deferred release.
//
// A destroyed buffer may still be used by recorded work, so its memory is released at the next wait. Waits are rare, so
// the memory that is pending release is bounded: creating a buffer waits first when too much is pending, or when the
// device has no memory left.
//
// Memory of large ones is kept for the next of the same size: drivers clear what they hand out, which for matrices of a solver takes
// longer than what is done with them, and lock memory of the host in place page by page. It never raises the most memory that was in
// use at once.
#include "device/backend.h"

#include <stdio.h>

// The most bytes that may be pending release: two parts of a checkpoint as they are read, less on small devices. Waiting
// once for so many bytes costs little beside moving them.
#define MAX_PENDING_BYTES (UINT64_C(64) << 20)

// Buffers of less are not worth keeping, and no more than that in all is kept.
#define MIN_SPARE_BYTES (UINT64_C(16) << 20)
#define MAX_SPARE_BYTES (UINT64_C(8) << 30)

static void destroy(bm_device *device, bm_buffer *buffer)
{
    device->backend->buffer_destroy(device, buffer);
    bm_free(buffer);
}

static uint64_t *spare_bytes(bm_device *device, bool is_host)
{
    return is_host ? &device->spare_host_bytes : &device->spare_bytes;
}

// That of one kind which lies longest, in the list; NULL: there is none.
static bm_buffer **oldest_spare(bm_device *device, bool is_host)
{
    bm_buffer **oldest = NULL;
    for (bm_buffer **at = &device->spares; *at; at = &(*at)->next_pending)
        if ((*at)->is_host == is_host)
            oldest = at;
    return oldest;
}

// Gives back spare buffers of one kind, those first that lie longest, until they hold at most max_bytes.
static void release_spares(bm_device *device, bool is_host, uint64_t max_bytes)
{
    bm_buffer **oldest = oldest_spare(device, is_host);
    while (oldest && *spare_bytes(device, is_host) > max_bytes) {
        bm_buffer *spare = *oldest;
        *oldest = spare->next_pending;
        *spare_bytes(device, is_host) -= spare->size;
        destroy(device, spare);
        oldest = oldest_spare(device, is_host);
    }
}

// Whether there was a spare buffer of just this size, whose memory then is this one's.
static bool take_spare(bm_device *device, bm_buffer *buffer)
{
    for (bm_buffer **at = &device->spares; *at; at = &(*at)->next_pending)
        if ((*at)->size == buffer->size && (*at)->is_host == buffer->is_host) {
            bm_buffer *spare = *at;
            *at = spare->next_pending;
            *spare_bytes(device, spare->is_host) -= spare->size;
            buffer->state = spare->state;
            buffer->host_bytes = spare->host_bytes;
            buffer->host_allocation = spare->host_allocation;
            bm_free(spare);
            return true;
        }
    return false;
}

static uint64_t max_pending_bytes(const bm_device *device)
{
    return bm_min_u64(MAX_PENDING_BYTES, device->info.limits.memory_bytes / 16);
}

// Takes a spare buffer's memory or asks the backend; when that fails, releases what is spare, then what is pending, and asks again.
static bm_status allocate(bm_device *device, bm_buffer *buffer, bm_error *err)
{
    if (take_spare(device, buffer))
        return BM_OK;
    const uint64_t live = (buffer->is_host ? device->host_bytes : device->live_bytes) + buffer->size;
    const uint64_t peak = buffer->is_host ? device->peak_host_bytes : device->peak_bytes;
    release_spares(device, buffer->is_host, peak > live ? peak - live : 0);
    bm_error first = {0};
    bm_status status = device->backend->buffer_create(device, buffer, &first);
    if (status != BM_OK && device->spares && !device->lost) {
        bm_buffers_release_spares(device);
        first = (bm_error){0};
        status = device->backend->buffer_create(device, buffer, &first);
    }
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
               "%s says",
               name ? name : "buffer", (double)size / 1e6, (double)device->live_bytes / 1e6,
               (double)device->allowed_bytes / 1e6, device->allowed_by);
done:
    return status;
}

void bm_device_limit_memory(bm_device *device, uint64_t bytes, const char *option)
{
    if (device->allowed_bytes == 0 || bytes < device->allowed_bytes) {
        device->allowed_bytes = bm_max_u64(1, bytes);
        device->allowed_by = option;
    }
    device->info.limits.memory_bytes = bm_min_u64(device->info.limits.memory_bytes, device->allowed_bytes);
    if (device->memory_bytes)
        device->memory_bytes = bm_min_u64(device->memory_bytes, device->allowed_bytes);
}

void bm_device_size_work(bm_device *device, uint64_t bytes)
{
    device->memory_bytes = bm_device_memory_bytes(device);
    device->info.limits.memory_bytes = bytes;
}

uint64_t bm_device_memory_bytes(const bm_device *device)
{
    return device->memory_bytes ? device->memory_bytes : device->info.limits.memory_bytes;
}

static bm_status create(bm_device *device, uint64_t size_bytes, const char *name, bool is_host, bm_buffer **out,
                        bm_error *err)
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
    if (!is_host)
        BM_TRY(check_allowed(device, bm_round_up(size_bytes, BM_VIEW_ALIGNMENT), name, err));
    buffer = bm_alloc_zero(1, sizeof *buffer);
    BM_FAIL_IF(!buffer, err, BM_E_MEMORY, "out of memory");
    buffer->device = device;
    buffer->size = bm_round_up(size_bytes, BM_VIEW_ALIGNMENT);
    buffer->is_host = is_host;
    snprintf(buffer->name, sizeof buffer->name, "%s", name ? name : "buffer");
    BM_TRY(allocate(device, buffer, err));
    if (is_host) {
        device->host_bytes += buffer->size;
        device->peak_host_bytes = bm_max_u64(device->peak_host_bytes, device->host_bytes);
    } else {
        device->live_bytes += buffer->size;
        device->peak_bytes = bm_max_u64(device->peak_bytes, device->live_bytes);
    }
    *out = buffer;
    buffer = NULL;
done:
    bm_free(buffer);
    return bm_device_finish_on_failure(device, status);
}

bm_status bm_buffer_create(bm_device *device, uint64_t size_bytes, const char *name, bm_buffer **out, bm_error *err)
{
    return create(device, size_bytes, name, false, out, err);
}

bm_status bm_host_buffer_create(bm_device *device, uint64_t size_bytes, const char *name, bm_buffer **out,
                                bm_error *err)
{
    bm_error inner;
    const bm_status status = create(device, size_bytes, name, true, out, &inner);
    if (status == BM_OK || status == BM_E_ARGUMENT || device->lost)
        return status == BM_OK ? BM_OK : bm_fail(err, status, "%s", inner.message);
    return bm_fail(err, BM_E_MEMORY,
                   "%s: no memory of the host for %llu bytes beside %llu that the device copies from (%s)", name,
                   (unsigned long long)size_bytes, (unsigned long long)device->host_bytes, inner.message);
}

void bm_buffer_destroy(bm_buffer **buffer)
{
    if (!buffer || !*buffer)
        return;
    bm_device *device = (*buffer)->device;
    (*buffer)->next_pending = device->pending_release;
    device->pending_release = *buffer;
    device->pending_bytes += (*buffer)->is_host ? 0 : (*buffer)->size;
    *buffer = NULL;
}

void bm_buffers_release(bm_device *device)
{
    while (device->pending_release) {
        bm_buffer *buffer = device->pending_release;
        device->pending_release = buffer->next_pending;
        *(buffer->is_host ? &device->host_bytes : &device->live_bytes) -= buffer->size;
        if (buffer->size >= MIN_SPARE_BYTES && (buffer->is_host || !device->backend->keeps_memory) &&
            !device->separate_allocations && !device->lost) {
            buffer->next_pending = device->spares;
            device->spares = buffer;
            *spare_bytes(device, buffer->is_host) += buffer->size;
        } else {
            destroy(device, buffer);
        }
    }
    device->pending_bytes = 0;
    release_spares(device, false, bm_min_u64(MAX_SPARE_BYTES, device->info.limits.memory_bytes / 16));
}

void bm_buffers_release_spares(bm_device *device)
{
    release_spares(device, false, 0);
    release_spares(device, true, 0);
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
