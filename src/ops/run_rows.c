// Kernels that treat the rows of their matrices apart.
#include "ops/chunks.h"

#include <string.h>

bm_status bm_run_rows(bm_device *device, const bm_row_call *rows, bm_error *err)
{
    const uint32_t group = rows->lanes ? 1 : rows->group ? rows->group : 64;
    bm_status status = BM_OK;
    uint64_t widest = 0;
    bm_call call = {.kernel = rows->kernel,
                    .variant = rows->lanes,
                    .subject = rows->subject,
                    .scalars = rows->scalars,
                    .tunables = {group, rows->width},
                    .groups = {1, 1, 1}};
    for (uint32_t i = 0; i < BM_MAX_BUFFERS; i++) {
        if (rows->tensors[i]) {
            call.types[i] = rows->tensors[i]->dtype;
            widest = bm_max_u64(widest, rows->tensors[i]->stride);
        } else {
            call.buffers[i] = rows->whole[i];
        }
    }
    const uint64_t total = rows->tensors[0]->rows, at_once = bm_chunk_rows(device, widest, rows->operations);
    for (uint64_t first = 0; first < total && status == BM_OK; first += at_once) {
        const uint32_t count = (uint32_t)bm_min_u64(at_once, total - first);
        memcpy(rows->scalars, &count, sizeof count);
        for (uint32_t i = 0; i < BM_MAX_BUFFERS; i++)
            if (rows->tensors[i])
                call.buffers[i] = bm_tensor_rows(rows->tensors[i], first, count).view;
        const uint64_t items = rows->lanes ? bm_divide_up(count, BM_CHUNK_LANES) : count * rows->items;
        call.groups[0] = bm_chunk_groups(device, items, group);
        call.seconds = bm_chunk_seconds(device, count * rows->operations);
        status = bm_dispatch(device, &call, err);
    }
    return status;
}
