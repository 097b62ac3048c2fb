// Rows of an embedding matrix by token ids.
#include "ops/embedding.h"
#include "ops/chunks.h"

#define GROUP 64 // the kernel's default

bm_status bm_embedding(bm_device *device, bm_view ids, const bm_tensor *table, uint32_t first_row, uint32_t vocabulary,
                       const bm_tensor *y, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(device, "embedding", "table", table, table->rows, y->cols, err));
    BM_TRY(bm_check_real(device, "embedding", "y", y, y->rows, y->cols, err));
    BM_TRY(bm_check_integers("embedding", "ids", ids, y->rows, err));
    BM_FAIL_IF(first_row >= vocabulary || table->rows > vocabulary - first_row, err, BM_E_ARGUMENT,
               "embedding: rows %u..%llu of a vocabulary of %u", first_row,
               (unsigned long long)(first_row + table->rows - 1), vocabulary);
    BM_FAIL_IF(table->rows * table->stride > UINT32_C(0x7fffffff), err, BM_E_ARGUMENT,
               "embedding: a table of [%llu, %llu]; pass it in parts below 2^31 elements",
               (unsigned long long)table->rows, (unsigned long long)table->cols);
    const uint64_t step = bm_chunk_rows(device, y->stride, (double)y->cols);
    for (uint64_t first = 0; first < y->rows; first += step) {
        const uint64_t rows = bm_min_u64(step, y->rows - first);
        const bm_embedding_scalars scalars = {(uint32_t)rows,      (uint32_t)y->cols, (uint32_t)table->stride,
                                              (uint32_t)y->stride, first_row,         (uint32_t)table->rows,
                                              vocabulary};
        const bm_call call = {
            .kernel = BM_KERNEL_EMBEDDING,
            .buffers = {bm_view_part(ids, 4 * first, 4 * rows), table->view, bm_tensor_rows(y, first, rows).view},
            .types = {BM_DTYPE_NONE, table->dtype, y->dtype},
            .scalars = &scalars,
            .tunables = {GROUP},
            .groups = {bm_chunk_groups(device, rows * bm_divide_up(y->cols, 4), GROUP), 1, 1},
            .subject = "token ids"};
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}
