// A Hessian that makes room for its factor: its rows lie in a file, and come back some at a time.
#include "quant/gram.h"

// Row first .. of the whole matrix, of which the lower triangle is there.
static bm_status complete_rows(bm_device *device, const bm_tensor *lower, uint64_t first, uint64_t count,
                               const bm_tensor *out, bm_error *err)
{
    const uint64_t behind = lower->rows - first - count;
    const bm_tensor before = bm_tensor_part(lower, first, count, 0, first),
                    square = bm_tensor_part(lower, first, count, first, count);
    const bm_tensor left = bm_tensor_part(out, 0, count, 0, first),
                    middle = bm_tensor_part(out, 0, count, first, count);
    bm_status status = BM_OK;
    if (first > 0)
        BM_TRY(bm_permute(device, &before, &(bm_permutation){0}, &left, err));
    BM_TRY(bm_permute(device, &square, &(bm_permutation){.lower = true}, &middle, err));
    if (behind > 0) {
        const bm_tensor below = bm_tensor_part(lower, first + count, behind, first, count),
                        right = bm_tensor_part(out, 0, count, first + count, behind);
        BM_TRY(bm_transpose(device, &below, &right, err));
    }
done:
    return status;
}

// Whoever runs out of disk learns what takes it, and how to have it elsewhere.
static bm_status told(bm_status status, bm_error *err)
{
    if (status == BM_E_IO)
        bm_error_prefix(err, "sums of products that memory does not hold (another folder: --cache-dir)");
    return status;
}

bm_status bm_gram_spill(bm_device *device, bm_gram *gram, const char *folder, bm_error *err)
{
    const uint64_t n = gram->channels, row = n * sizeof(float);
    const uint64_t rows = bm_min_u64(n, BM_GRAM_ROWS);
    bm_status status = BM_OK;
    bm_tensor slice = {0};
    float *host = bm_alloc(rows, row);
    BM_FAIL_IF(!host, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, rows, n, "rows of the Hessian", &slice, err));
    BM_TRY(bm_scratch_create(&gram->file, folder, n, err));
    for (uint64_t first = 0; first < n; first += rows) {
        const uint64_t count = bm_min_u64(rows, n - first);
        const bm_tensor part = bm_tensor_rows(&slice, 0, count);
        BM_TRY(complete_rows(device, &gram->hessian, first, count, &part, err));
        BM_TRY(bm_tensor_download(device, &part, host, err));
        BM_TRY(bm_device_wait(device, err));
        BM_TRY(bm_scratch_put(gram->file, first, count, host, row, err));
    }
done:
    (void)told(status, err);
    bm_tensor_destroy(&slice);
    bm_free(host);
    return status;
}

bm_status bm_gram_read_rows(const bm_gram *gram, uint64_t first, uint64_t count, float *out, bm_error *err)
{
    const uint64_t row = gram->channels * sizeof(float);
    const bm_status status = told(bm_scratch_get(gram->file, first, count, out, row, err), err);
    for (uint64_t i = 0; i < count && status == BM_OK; i++)
        out[i * gram->channels + first + i] += (float)gram->damping;
    return status;
}

static bm_status multiply_by_file(bm_multiplier *m, const bm_gram *gram, const bm_tensor *a, const bm_tensor *y,
                                  bm_error *err)
{
    const uint64_t n = gram->channels, rows = bm_min_u64(n, BM_GRAM_ROWS);
    bm_status status = BM_OK;
    bm_tensor slice = {0};
    float *host = bm_alloc(rows * n, sizeof *host);
    BM_FAIL_IF(!host, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(m->device, BM_DTYPE_F32, rows, n, "rows of the Hessian", &slice, err));
    for (uint64_t first = 0; first < n; first += rows) {
        const uint64_t count = bm_min_u64(rows, n - first);
        const bm_tensor part = bm_tensor_rows(&slice, 0, count), out = bm_tensor_part(y, 0, y->rows, first, count);
        BM_TRY(bm_gram_read_rows(gram, first, count, host, err));
        BM_TRY(bm_tensor_upload(m->device, &part, host, err));
        BM_TRY(bm_multiply(m, a, &part, &out, err));
    }
done:
    bm_tensor_destroy(&slice);
    bm_free(host);
    return status;
}

bm_status bm_gram_multiply(bm_multiplier *m, const bm_gram *gram, const bm_tensor *a, const bm_tensor *y, bm_error *err)
{
    return gram->file ? multiply_by_file(m, gram, a, y, err) : bm_multiply(m, a, &gram->hessian, y, err);
}
