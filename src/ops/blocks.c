#include "ops/blocks.h"

#include "ops/chunks.h"

#define GROUP 64        // the kernel's default
#define OPERATIONS 16.0 // an element, by a high estimate

// Elements and bytes of a block; false: no such type.
static bool block_of(uint32_t type, uint32_t *elements, uint32_t *bytes)
{
    static const uint32_t sizes[][3] = {{2, 32, 18}, {3, 32, 20},    {6, 32, 22},    {7, 32, 24},
                                        {8, 32, 34}, {12, 256, 144}, {13, 256, 176}, {14, 256, 210}};
    for (size_t i = 0; i < BM_COUNT(sizes); i++)
        if (sizes[i][0] == type) {
            *elements = sizes[i][1];
            *bytes = sizes[i][2];
            return true;
        }
    return false;
}

bm_status bm_decode_blocks(bm_device *device, bm_view blocks, uint32_t type, uint32_t row_bytes, const bm_tensor *y,
                           const char *subject, bm_error *err)
{
    bm_status status = BM_OK;
    const uint32_t width = bm_chunk_width(device);
    uint32_t elements = 1, bytes = 0;
    BM_TRY(bm_check_real(device, subject, "y", y, y->rows, y->cols, err));
    BM_FAIL_IF(!block_of(type, &elements, &bytes) || y->cols % elements != 0 ||
                   y->cols / elements * bytes != row_bytes || blocks.size > UINT32_MAX ||
                   y->rows * row_bytes > blocks.size,
               err, BM_E_ARGUMENT, "%s: type %u, %llu x %llu elements in %llu bytes, rows of %u", subject, type,
               (unsigned long long)y->rows, (unsigned long long)y->cols, (unsigned long long)blocks.size, row_bytes);
    const uint64_t step = bm_chunk_rows(device, y->stride, OPERATIONS * (double)y->cols);
    for (uint64_t first = 0; first < y->rows; first += step) {
        const uint64_t rows = bm_min_u64(step, y->rows - first);
        const bm_decode_blocks_scalars scalars = {(uint32_t)rows, (uint32_t)y->cols, (uint32_t)(first * row_bytes),
                                                  row_bytes, (uint32_t)y->stride};
        const bm_call call = {.kernel = BM_KERNEL_DECODE_BLOCKS,
                              .buffers = {blocks, bm_tensor_rows(y, first, rows).view},
                              .types = {BM_DTYPE_U32, y->dtype},
                              .scalars = &scalars,
                              .tunables = {GROUP, type, width},
                              .groups = {bm_chunk_groups(device, rows * (y->cols / width), GROUP), 1, 1},
                              .subject = subject,
                              .seconds = bm_chunk_seconds(device, OPERATIONS * (double)(rows * y->cols))};
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}
