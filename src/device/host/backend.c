// The host backend's table: memory is memory, and a dispatch runs when it is called.
#include "base/clock.h"
#include "device/host_kernels.h"

#include <string.h>

// Guard bytes behind every buffer would hide errors from AddressSanitizer: none are added.
typedef struct host_state {
    uint32_t status_word[4];
    uint64_t timestamps[BM_ALL_TIMESTAMPS];
} host_state;

static uint8_t *address(bm_view view)
{
    return (uint8_t *)view.buffer->state + view.offset;
}

static bm_status host_enumerate(const bm_device_params *params, bm_device_list *list, bm_error *err)
{
    (void)params;
    bm_device_info info = {.spec = "host",
                           .backend = "host",
                           .name = "plain C reference",
                           .driver = "built in",
                           .kind = BM_DEVICE_HOST,
                           .usable = true,
                           .limits = {.memory_bytes = UINT64_C(1) << 40,
                                      .max_allocation_bytes = UINT64_C(1) << 36,
                                      .max_group_invocations = 1024,
                                      .max_groups = {0x7fffffff, 65535, 65535},
                                      .shared_memory_bytes = 32768,
                                      .compute_units = 1,
                                      .timestamp_period_ns = 1}};
    return bm_device_list_append(list, &info, err);
}

static bm_status host_open(bm_device *device, uint32_t index, bm_error *err)
{
    (void)index;
    device->state = bm_alloc_zero(1, sizeof(host_state));
    return device->state ? BM_OK : bm_fail(err, BM_E_MEMORY, "out of memory");
}

static void host_close(bm_device *device)
{
    bm_free(device->state);
}

static bm_status host_buffer_create(bm_device *device, bm_buffer *buffer, bm_error *err)
{
    buffer->state = bm_alloc(buffer->size, 1);
    if (!buffer->state)
        return bm_fail(err, BM_E_MEMORY, "%s: no memory for %llu bytes", buffer->name,
                       (unsigned long long)buffer->size);
    device->live_handles++;
    return BM_OK;
}

static void host_buffer_destroy(bm_device *device, bm_buffer *buffer)
{
    bm_free(buffer->state);
    device->live_handles--;
}

static bm_status host_upload_rows(bm_device *device, bm_view dst, uint64_t dst_stride, const void *src,
                                  uint64_t src_stride, uint64_t row_bytes, uint64_t num_rows, bm_error *err)
{
    (void)device, (void)err;
    for (uint64_t r = 0; r < num_rows; r++)
        memcpy(address(dst) + r * dst_stride, (const uint8_t *)src + r * src_stride, row_bytes);
    return BM_OK;
}

static bm_status host_download_rows(bm_device *device, bm_view src, uint64_t src_stride, void *dst, uint64_t dst_stride,
                                    uint64_t row_bytes, uint64_t num_rows, bm_error *err)
{
    (void)device, (void)err;
    for (uint64_t r = 0; r < num_rows; r++)
        memcpy((uint8_t *)dst + r * dst_stride, address(src) + r * src_stride, row_bytes);
    return BM_OK;
}

static bm_status host_copy(bm_device *device, bm_view dst, bm_view src, bm_error *err)
{
    (void)device, (void)err;
    memcpy(address(dst), address(src), src.size);
    return BM_OK;
}

static bm_status host_fill(bm_device *device, bm_view dst, uint32_t word, bm_error *err)
{
    (void)device, (void)err;
    for (uint64_t i = 0; i < dst.size; i += 4)
        memcpy(address(dst) + i, &word, 4);
    return BM_OK;
}

static bool host_has_variant(const bm_device *device, bm_kernel_id kernel, uint32_t variant)
{
    (void)device, (void)kernel;
    return variant == 0;
}

static bm_status host_dispatch(bm_device *device, const bm_call *call, uint32_t subject, bool barrier, bm_error *err)
{
    (void)barrier, (void)err;
    host_state *state = device->state;
    host_call host = {.scalars = call->scalars, .status_word = state->status_word, .subject = subject};
    memcpy(host.tunables, call->tunables, sizeof host.tunables);
    for (uint32_t i = 0; i < bm_kernel_table[call->kernel].num_buffers; i++) {
        host.buffers[i] = call->buffers[i].buffer ? address(call->buffers[i]) : NULL;
        host.types[i] = call->types[i];
    }
    host_kernel_table[call->kernel](&host);
    return BM_OK;
}

static bm_status host_nothing(bm_device *device, bm_error *err)
{
    (void)device, (void)err;
    return BM_OK;
}

static bm_status host_wait(bm_device *device, uint32_t status_word[4], bm_error *err)
{
    (void)err;
    host_state *state = device->state;
    memcpy(status_word, state->status_word, sizeof state->status_word);
    memset(state->status_word, 0, sizeof state->status_word);
    return BM_OK;
}

static void host_idle(bm_device *device)
{
    (void)device; // nothing ever runs on
}

static bm_status host_timestamp_record(bm_device *device, uint32_t slot, bm_error *err)
{
    (void)err;
    ((host_state *)device->state)->timestamps[slot] = bm_clock_ns();
    return BM_OK;
}

static bm_status host_timestamp_read(bm_device *device, uint32_t slot, double *ns, bm_error *err)
{
    (void)err;
    *ns = (double)((host_state *)device->state)->timestamps[slot];
    return BM_OK;
}

const bm_backend bm_backend_host = {
    .name = "host",
    .enumerate = host_enumerate,
    .open = host_open,
    .close = host_close,
    .buffer_create = host_buffer_create,
    .buffer_destroy = host_buffer_destroy,
    .upload_rows = host_upload_rows,
    .download_rows = host_download_rows,
    .copy = host_copy,
    .fill = host_fill,
    .has_variant = host_has_variant,
    .dispatch = host_dispatch,
    .barrier = host_nothing,
    .submit = host_nothing,
    .wait = host_wait,
    .idle = host_idle,
    .timestamp_record = host_timestamp_record,
    .timestamp_read = host_timestamp_read,
};
