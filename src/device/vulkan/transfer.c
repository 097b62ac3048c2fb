// Transfers through staging memory, recorded into the same command stream as dispatches: order is the order of the calls.
#include "device/vulkan/vulkan.h"

#include "base/thread.h"

#include <string.h>

static VkBuffer handle_of(bm_view view)
{
    return ((vk_buffer *)view.buffer->state)->handle;
}

// Rows travel as one piece when nothing but padding up to the next 16 bytes lies between them. What lies behind that
// belongs to somebody else (a slice of columns is a view like any other): each row is then a region of its own, packed in
// staging memory.
static uint64_t staging_stride(uint64_t stride, uint64_t row_bytes)
{
    return stride == bm_round_up(row_bytes, BM_VIEW_ALIGNMENT) ? stride : row_bytes;
}

static void copy_rows(uint8_t *dst, uint64_t dst_stride, const uint8_t *src, uint64_t src_stride, uint64_t row_bytes,
                      uint64_t num_rows)
{
    if (dst_stride == row_bytes && src_stride == row_bytes) {
        bm_parallel_copy(dst, src, row_bytes * num_rows);
        return;
    }
    for (uint64_t row = 0; row < num_rows; row++)
        memcpy(dst + row * dst_stride, src + row * src_stride, row_bytes);
}

// Room for size bytes in the upload ring: when a half is full its work is submitted and the other half taken, after what
// was copied from there is done.
static bm_status take_upload(bm_device *device, uint64_t size, vk_staging **out, uint64_t *offset, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    bm_status status = BM_OK;
    vk_staging *half = &state->upload[state->upload_half];
    if (half->handle && bm_round_up(half->used, 16) + size > VK_STAGING_BYTES) {
        BM_TRY(vk_submit(device, err));
        half->last_value = state->submitted;
        state->upload_half ^= 1;
        half = &state->upload[state->upload_half];
        if (half->handle)
            BM_TRY(vk_wait_value(device, half->last_value, err));
        half->used = 0;
    }
    if (!half->handle)
        BM_TRY(vk_staging_create(device, VK_STAGING_BYTES, false, half, err));
    *offset = bm_round_up(half->used, 16);
    half->used = *offset + size;
    *out = half;
done:
    return status;
}

// Records the copy of num_rows rows between a buffer and packed or strided staging memory.
static bm_status record_rows(bm_device *device, VkBuffer from, uint64_t from_offset, uint64_t from_stride, VkBuffer to,
                             uint64_t to_offset, uint64_t to_stride, uint64_t row_bytes, uint64_t num_rows,
                             bm_error *err)
{
    enum { MAX_REGIONS = 256 };
    VkBufferCopy regions[MAX_REGIONS];
    vk_state *state = vk_state_of(device);
    VkCommandBuffer command = VK_NULL_HANDLE;
    const bm_status status = vk_record(device, &command, err);
    if (status != BM_OK)
        return status;
    const bool is_whole = from_stride == to_stride || num_rows == 1;
    if (is_whole) { // one region holds all rows with the padding between them
        regions[0] = (VkBufferCopy){from_offset, to_offset, (num_rows - 1) * from_stride + row_bytes};
        state->api.vkCmdCopyBuffer(command, from, to, 1, regions);
    }
    for (uint64_t row = 0; !is_whole && row < num_rows; row += MAX_REGIONS) {
        const uint32_t count = (uint32_t)bm_min_u64(MAX_REGIONS, num_rows - row);
        for (uint32_t i = 0; i < count; i++)
            regions[i] =
                (VkBufferCopy){from_offset + (row + i) * from_stride, to_offset + (row + i) * to_stride, row_bytes};
        state->api.vkCmdCopyBuffer(command, from, to, count, regions);
    }
    vk_record_barrier(state, command);
    return BM_OK;
}

// num_rows rows that fit the staging memory.
static bm_status upload_piece(bm_device *device, bm_view dst, uint64_t dst_offset, uint64_t dst_stride,
                              const uint8_t *src, uint64_t src_stride, uint64_t row_bytes, uint64_t num_rows,
                              bm_error *err)
{
    vk_staging *staging = NULL;
    uint64_t offset = 0;
    const uint64_t stride = staging_stride(dst_stride, row_bytes);
    bm_status status = take_upload(device, (num_rows - 1) * stride + row_bytes, &staging, &offset, err);
    if (status != BM_OK)
        return status;
    copy_rows(staging->bytes + offset, stride, src, src_stride, row_bytes, num_rows);
    return record_rows(device, staging->handle, offset, stride, handle_of(dst), dst.offset + dst_offset, dst_stride,
                       row_bytes, num_rows, err);
}

bm_status vk_upload_rows(bm_device *device, bm_view dst, uint64_t dst_stride, const void *src, uint64_t src_stride,
                         uint64_t row_bytes, uint64_t num_rows, bm_error *err)
{
    const uint64_t piece = VK_STAGING_BYTES / 4;
    const uint64_t rows = bm_max_u64(1, piece / staging_stride(dst_stride, row_bytes));
    bm_status status = BM_OK;
    for (uint64_t row = 0; row < num_rows && status == BM_OK; row += rows) {
        const uint64_t count = bm_min_u64(rows, num_rows - row);
        const uint8_t *from = (const uint8_t *)src + row * src_stride;
        if (row_bytes <= piece)
            status = upload_piece(device, dst, row * dst_stride, dst_stride, from, src_stride, row_bytes, count, err);
        for (uint64_t at = 0; row_bytes > piece && at < row_bytes && status == BM_OK; at += piece) {
            const uint64_t bytes = bm_min_u64(piece, row_bytes - at);
            status = upload_piece(device, dst, row * dst_stride + at, bytes, from + at, bytes, bytes, 1, err);
        }
    }
    return status;
}

void vk_deliver_downloads(vk_state *state)
{
    for (uint32_t i = 0; i < state->num_pending; i++) {
        const vk_pending *p = &state->pending[i];
        copy_rows(p->dst, p->dst_stride, p->src, p->src_stride, p->row_bytes, p->num_rows);
    }
    vk_discard_downloads(state);
}

void vk_discard_downloads(vk_state *state)
{
    state->num_pending = 0;
    state->download.used = 0;
}

// Room for size bytes of downloads: when it is full, what is there is waited for and handed over.
static bm_status take_download(bm_device *device, uint64_t size, uint64_t *offset, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    bm_status status = BM_OK;
    if (!state->download.handle)
        BM_TRY(vk_staging_create(device, VK_STAGING_BYTES, true, &state->download, err));
    if (bm_round_up(state->download.used, 16) + size > VK_STAGING_BYTES) {
        BM_TRY(vk_submit(device, err));
        BM_TRY(vk_wait_value(device, state->submitted, err));
        vk_deliver_downloads(state);
    }
    *offset = bm_round_up(state->download.used, 16);
    state->download.used = *offset + size;
    if (state->num_pending == state->max_pending) {
        const uint32_t max_pending = state->max_pending ? 2 * state->max_pending : 64;
        vk_pending *pending = bm_resize(state->pending, max_pending, sizeof *pending);
        BM_FAIL_IF(!pending, err, BM_E_MEMORY, "out of memory");
        state->pending = pending;
        state->max_pending = max_pending;
    }
done:
    return status;
}

static bm_status download_piece(bm_device *device, bm_view src, uint64_t src_offset, uint64_t src_stride, uint8_t *dst,
                                uint64_t dst_stride, uint64_t row_bytes, uint64_t num_rows, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    uint64_t offset = 0;
    const uint64_t stride = staging_stride(src_stride, row_bytes);
    bm_status status = take_download(device, (num_rows - 1) * stride + row_bytes, &offset, err);
    if (status == BM_OK)
        status = record_rows(device, handle_of(src), src.offset + src_offset, src_stride, state->download.handle,
                             offset, stride, row_bytes, num_rows, err);
    if (status == BM_OK)
        state->pending[state->num_pending++] =
            (vk_pending){state->download.bytes + offset, stride, dst, dst_stride, row_bytes, num_rows};
    return status;
}

bm_status vk_download_rows(bm_device *device, bm_view src, uint64_t src_stride, void *dst, uint64_t dst_stride,
                           uint64_t row_bytes, uint64_t num_rows, bm_error *err)
{
    const uint64_t piece = VK_STAGING_BYTES / 4;
    const uint64_t rows = bm_max_u64(1, piece / staging_stride(src_stride, row_bytes));
    bm_status status = BM_OK;
    for (uint64_t row = 0; row < num_rows && status == BM_OK; row += rows) {
        const uint64_t count = bm_min_u64(rows, num_rows - row);
        uint8_t *to = (uint8_t *)dst + row * dst_stride;
        if (row_bytes <= piece)
            status = download_piece(device, src, row * src_stride, src_stride, to, dst_stride, row_bytes, count, err);
        for (uint64_t at = 0; row_bytes > piece && at < row_bytes && status == BM_OK; at += piece) {
            const uint64_t bytes = bm_min_u64(piece, row_bytes - at);
            status = download_piece(device, src, row * src_stride + at, bytes, to + at, bytes, bytes, 1, err);
        }
    }
    return status;
}

bm_status vk_copy(bm_device *device, bm_view dst, bm_view src, bm_error *err)
{
    return record_rows(device, handle_of(src), src.offset, src.size, handle_of(dst), dst.offset, dst.size, src.size, 1,
                       err);
}

bm_status vk_fill(bm_device *device, bm_view dst, uint32_t word, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    VkCommandBuffer command = VK_NULL_HANDLE;
    const bm_status status = vk_record(device, &command, err);
    if (status != BM_OK)
        return status;
    state->api.vkCmdFillBuffer(command, handle_of(dst), dst.offset, dst.size, word);
    vk_record_barrier(state, command);
    return BM_OK;
}
