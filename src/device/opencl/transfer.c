// Transfers of the OpenCL backend. Uploads are copied into a ring of staging memory and written from there without
// waiting; downloads are read straight into the caller's memory, which lives until the wait.
#include "device/opencl/opencl.h"

#include "base/thread.h"

#include <assert.h>
#include <string.h>

#define STAGING_ALIGNMENT 64

static bm_status staging_open(bm_device *device, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    ocl_staging *staging = &state->staging;
    cl_int code = CL_SUCCESS;
    staging->buffer = state->cl->CreateBuffer(state->context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR,
                                              OCL_STAGING_BYTES, NULL, &code);
    if (!staging->buffer)
        return ocl_fail(device, code, err, "cannot allocate %u bytes of staging memory", OCL_STAGING_BYTES);
    device->live_handles++;
    staging->memory = state->cl->EnqueueMapBuffer(state->queue, staging->buffer, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0,
                                                  OCL_STAGING_BYTES, 0, NULL, NULL, &code);
    if (!staging->memory) {
        ocl_release_memory(device, &staging->buffer);
        return ocl_fail(device, code, err, "cannot map %u bytes of staging memory", OCL_STAGING_BYTES);
    }
    return BM_OK;
}

// Discards the oldest write in flight, which has ended.
static void staging_retire(bm_device *device)
{
    ocl_staging *staging = &ocl_state_of(device)->staging;
    struct ocl_segment *oldest = &staging->segments[staging->first_segment];
    ocl_release_event(device, &oldest->event);
    staging->tail = oldest->end;
    staging->first_segment = (staging->first_segment + 1) % OCL_MAX_SEGMENTS;
    if (--staging->num_segments == 0)
        staging->tail = staging->head;
}

void ocl_staging_drain(bm_device *device)
{
    while (ocl_state_of(device)->staging.num_segments > 0)
        staging_retire(device);
}

void ocl_staging_close(bm_device *device)
{
    ocl_state *state = ocl_state_of(device);
    ocl_staging_drain(device);
    if (state->staging.memory) {
        state->cl->EnqueueUnmapMemObject(state->queue, state->staging.buffer, state->staging.memory, 0, NULL, NULL);
        if (!device->lost)
            state->cl->Finish(state->queue);
        state->staging.memory = NULL;
    }
    ocl_release_memory(device, &state->staging.buffer);
}

// Takes size contiguous bytes of the ring, waiting for the oldest writes when it is full.
static bm_status staging_take(bm_device *device, uint64_t size, uint8_t **out, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    ocl_staging *staging = &state->staging;
    assert(size <= OCL_STAGING_BYTES / 2); // then it fits an empty ring behind any skip to its start
    bm_status status = staging->buffer ? BM_OK : staging_open(device, err);
    if (status != BM_OK)
        return status;
    uint64_t at = staging->head % OCL_STAGING_BYTES;
    const uint64_t skip = at + size > OCL_STAGING_BYTES ? OCL_STAGING_BYTES - at : 0;
    if (staging->num_segments == 0)
        staging->tail = staging->head;
    while (staging->num_segments == OCL_MAX_SEGMENTS ||
           staging->head + skip + size - staging->tail > OCL_STAGING_BYTES) {
        assert(staging->num_segments > 0);
        const cl_int code = state->cl->WaitForEvents(1, &staging->segments[staging->first_segment].event);
        if (code != CL_SUCCESS) {
            device->lost = true; // a write that failed leaves what follows undefined
            return ocl_fail(device, code, err, "an earlier upload failed");
        }
        staging_retire(device);
    }
    staging->head += skip;
    at = staging->head % OCL_STAGING_BYTES;
    *out = staging->memory + at;
    staging->head = bm_round_up(staging->head + size, STAGING_ALIGNMENT);
    return BM_OK;
}

// Remembers the event behind which the bytes taken last are free again.
static void staging_give(bm_device *device, cl_event event)
{
    ocl_staging *staging = &ocl_state_of(device)->staging;
    const uint32_t last = (staging->first_segment + staging->num_segments++) % OCL_MAX_SEGMENTS;
    staging->segments[last] = (struct ocl_segment){staging->head, event};
    device->live_handles++;
}

// num_rows rows that fit a piece. Where the rows lie dense but for the padding to 16 bytes, the padding is written too:
// no view can start inside it, and one long write is much faster than many short ones.
static bm_status upload_piece(bm_device *device, cl_mem dst, uint64_t offset, uint64_t dst_stride, const uint8_t *src,
                              uint64_t src_stride, uint64_t row_bytes, uint64_t num_rows, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    const bool is_dense = num_rows == 1 || dst_stride == bm_round_up(row_bytes, BM_VIEW_ALIGNMENT);
    const uint64_t pitch = is_dense && num_rows > 1 ? dst_stride : row_bytes;
    const uint64_t size = pitch * (num_rows - 1) + row_bytes;
    uint8_t *staged = NULL;
    cl_event event = NULL;
    cl_int code = CL_SUCCESS;
    const bm_status status = staging_take(device, size, &staged, err);
    if (!staged)
        return status;
    if (src_stride == row_bytes && pitch == row_bytes) {
        bm_parallel_copy(staged, src, size);
    } else {
        for (uint64_t r = 0; r < num_rows; r++) {
            memcpy(staged + r * pitch, src + r * src_stride, (size_t)row_bytes);
            if (r + 1 < num_rows)
                memset(staged + r * pitch + row_bytes, 0, (size_t)(pitch - row_bytes));
        }
    }
    if (is_dense) {
        code = state->cl->EnqueueWriteBuffer(state->queue, dst, CL_FALSE, (size_t)offset, (size_t)size, staged, 0, NULL,
                                             &event);
    } else {
        const size_t device_origin[3] = {(size_t)(offset % dst_stride), (size_t)(offset / dst_stride), 0};
        const size_t host_origin[3] = {0}, region[3] = {(size_t)row_bytes, (size_t)num_rows, 1};
        code = state->cl->EnqueueWriteBufferRect(state->queue, dst, CL_FALSE, device_origin, host_origin, region,
                                                 (size_t)dst_stride, 0, (size_t)pitch, 0, staged, 0, NULL, &event);
    }
    if (code != CL_SUCCESS)
        return ocl_fail(device, code, err, "upload of %llu bytes", (unsigned long long)size);
    staging_give(device, event);
    return BM_OK;
}

bm_status ocl_upload_rows(bm_device *device, bm_view dst, uint64_t dst_stride, const void *src, uint64_t src_stride,
                          uint64_t row_bytes, uint64_t num_rows, bm_error *err)
{
    cl_mem memory = ocl_buffer_memory(dst.buffer);
    const uint8_t *bytes = src;
    bm_status status = BM_OK;
    if (num_rows > 1 && row_bytes == dst_stride && row_bytes == src_stride) { // one long row
        row_bytes *= num_rows;
        num_rows = 1;
    }
    const uint64_t rows_per_piece = num_rows > 1 ? bm_max_u64(1, OCL_STAGING_PIECE / bm_round_up(row_bytes, 16)) : 1;
    for (uint64_t r = 0; r < num_rows && status == BM_OK;) {
        const uint64_t rows = bm_min_u64(rows_per_piece, num_rows - r);
        const uint64_t offset = dst.offset + r * dst_stride;
        if (rows > 1) {
            status = upload_piece(device, memory, offset, dst_stride, bytes + r * src_stride, src_stride, row_bytes,
                                  rows, err);
        } else {
            for (uint64_t at = 0; at < row_bytes && status == BM_OK; at += OCL_STAGING_PIECE)
                status = upload_piece(device, memory, offset + at, 0, bytes + r * src_stride + at, 0,
                                      bm_min_u64(OCL_STAGING_PIECE, row_bytes - at), 1, err);
        }
        r += rows;
    }
    return status;
}

bm_status ocl_download_rows(bm_device *device, bm_view src, uint64_t src_stride, void *dst, uint64_t dst_stride,
                            uint64_t row_bytes, uint64_t num_rows, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    cl_mem memory = ocl_buffer_memory(src.buffer);
    cl_int code = CL_SUCCESS;
    if (num_rows == 1 || (src_stride == row_bytes && dst_stride == row_bytes)) {
        code = state->cl->EnqueueReadBuffer(state->queue, memory, CL_FALSE, (size_t)src.offset,
                                            (size_t)(row_bytes * num_rows), dst, 0, NULL, NULL);
    } else {
        const size_t device_origin[3] = {(size_t)(src.offset % src_stride), (size_t)(src.offset / src_stride), 0};
        const size_t host_origin[3] = {0}, region[3] = {(size_t)row_bytes, (size_t)num_rows, 1};
        code = state->cl->EnqueueReadBufferRect(state->queue, memory, CL_FALSE, device_origin, host_origin, region,
                                                (size_t)src_stride, 0, (size_t)dst_stride, 0, dst, 0, NULL, NULL);
    }
    return code == CL_SUCCESS ? BM_OK
                              : ocl_fail(device, code, err, "download of %llu rows of %llu bytes from \"%s\"",
                                         (unsigned long long)num_rows, (unsigned long long)row_bytes, src.buffer->name);
}

bm_status ocl_copy(bm_device *device, bm_view dst, bm_view src, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    cl_mem from = ocl_buffer_memory(src.buffer), to = ocl_buffer_memory(dst.buffer);
    cl_int code = CL_SUCCESS;
    if (src.buffer->is_host)
        code = state->cl->EnqueueWriteBuffer(state->queue, to, CL_FALSE, (size_t)dst.offset, (size_t)dst.size,
                                             (const uint8_t *)src.buffer->host_bytes + src.offset, 0, NULL, NULL);
    else if (dst.buffer->is_host)
        code = state->cl->EnqueueReadBuffer(state->queue, from, CL_FALSE, (size_t)src.offset, (size_t)src.size,
                                            (uint8_t *)dst.buffer->host_bytes + dst.offset, 0, NULL, NULL);
    else
        code = state->cl->EnqueueCopyBuffer(state->queue, from, to, (size_t)src.offset, (size_t)dst.offset,
                                            (size_t)src.size, 0, NULL, NULL);
    return code == CL_SUCCESS ? BM_OK
                              : ocl_fail(device, code, err, "copy of %llu bytes from \"%s\" to \"%s\"",
                                         (unsigned long long)src.size, src.buffer->name, dst.buffer->name);
}

bm_status ocl_fill(bm_device *device, bm_view dst, uint32_t word, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    const cl_int code = state->cl->EnqueueFillBuffer(state->queue, ocl_buffer_memory(dst.buffer), &word, sizeof word,
                                                     (size_t)dst.offset, (size_t)dst.size, 0, NULL, NULL);
    return code == CL_SUCCESS ? BM_OK
                              : ocl_fail(device, code, err, "fill of %llu bytes of \"%s\"",
                                         (unsigned long long)dst.size, dst.buffer->name);
}
