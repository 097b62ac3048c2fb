// How much of a tensor is read at once. In a file of its own so that a test can put a smaller number in its place: no small model
// has tensors of several parts.
#include "model/model.h"

// Bytes that one read takes at most: large enough to keep a disk busy, small enough never to matter.
#define READ_BYTES (UINT64_C(32) << 20)

uint64_t bm_model_rows_per_read(uint64_t cols, bm_dtype dtype)
{
    const uint64_t rows = READ_BYTES / (cols * bm_dtype_size(dtype));
    return rows > 16 ? rows / 16 * 16 : rows > 0 ? rows : 1;
}
