// The factor of an inverse Hessian in the one square of memory that the Hessian had, which lies in a file meanwhile.
#include "quant/factor_in_place.h"

#include "ops/cholesky.h"
#include "ops/elementwise.h"

// The Hessian's lower triangle with its rows and columns as order says, and zeros above it; added: to the diagonal, by channel.
static bm_status load(bm_device *device, const bm_gram *gram, const uint32_t *order, const float *added,
                      const bm_tensor *out, bm_error *err)
{
    const uint64_t n = gram->channels, rows = bm_min_u64(n, BM_GRAM_ROWS);
    bm_status status = BM_OK;
    float *row = bm_alloc(n, sizeof *row), *host = bm_alloc(rows * n, sizeof *host);
    BM_FAIL_IF(!row || !host, err, BM_E_MEMORY, "out of memory");
    for (uint64_t first = 0; first < n; first += rows) {
        const uint64_t count = bm_min_u64(rows, n - first);
        const bm_tensor part = bm_tensor_rows(out, first, count);
        for (uint64_t i = 0; i < count; i++) {
            BM_TRY(bm_gram_read_rows(gram, order[first + i], 1, row, err));
            row[order[first + i]] += added[order[first + i]];
            for (uint64_t k = 0; k < n; k++)
                host[i * n + k] = k <= first + i ? row[order[k]] : 0;
        }
        BM_TRY(bm_tensor_upload(device, &part, host, err));
    }
done:
    bm_free(row);
    bm_free(host);
    return status;
}

// Rows and columns of x from the last to the first.
static bm_status reverse(bm_device *device, const bm_tensor *x, bm_error *err)
{
    const uint64_t n = x->rows, most = bm_min_u64(n, BM_GRAM_ROWS);
    bm_status status = BM_OK;
    bm_tensor top = {0}, bottom = {0}, reversal = {0};
    uint32_t *indices = bm_alloc(n, sizeof *indices);
    BM_FAIL_IF(!indices, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < n; i++)
        indices[i] = (uint32_t)n - 1 - i;
    BM_TRY(bm_tensor_create(device, BM_DTYPE_U32, 1, n, "reversal", &reversal, err));
    BM_TRY(bm_tensor_upload(device, &reversal, indices, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, most, n, "reversed rows", &top, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, most, n, "reversed rows", &bottom, err));
    for (uint64_t first = 0, count; first < n / 2; first += count) {
        count = bm_min_u64(most, n / 2 - first);
        const bm_tensor from_top = bm_tensor_rows(x, first, count),
                        from_bottom = bm_tensor_rows(x, n - first - count, count);
        const bm_tensor to_top = bm_tensor_rows(&top, 0, count), to_bottom = bm_tensor_rows(&bottom, 0, count);
        const bm_tensor last = bm_tensor_part(&reversal, 0, 1, n - count, count);
        const bm_permutation turned = {.row_order = last.view, .col_order = reversal.view};
        BM_TRY(bm_permute(device, &from_bottom, &turned, &to_top, err));
        BM_TRY(bm_permute(device, &from_top, &turned, &to_bottom, err));
        BM_TRY(bm_permute(device, &to_top, &(bm_permutation){0}, &from_top, err));
        BM_TRY(bm_permute(device, &to_bottom, &(bm_permutation){0}, &from_bottom, err));
    }
done:
    bm_tensor_destroy(&top);
    bm_tensor_destroy(&bottom);
    bm_tensor_destroy(&reversal);
    bm_free(indices);
    return status;
}

bm_status bm_factor_in_place(bm_multiplier *m, const bm_gram *gram, const uint32_t *reversed_order, const float *added,
                             const bm_tensor *pivots, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(load(m->device, gram, reversed_order, added, &gram->hessian, err));
    BM_TRY(bm_cholesky_inverse_in_place(m, &gram->hessian, pivots, err));
    BM_TRY(reverse(m->device, &gram->hessian, err));
done:
    return status;
}

bm_status bm_factor_mirror(bm_device *device, const bm_tensor *upper, bm_error *err)
{
    const uint64_t n = upper->rows, most = bm_min_u64(n, BM_GRAM_ROWS);
    bm_status status = BM_OK;
    bm_tensor memory = {0}, whole = {0};
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, most, n, "mirrored rows", &memory, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, most, most, "mirrored square", &whole, err));
    for (uint64_t first = 0; first < n; first += most) {
        const uint64_t count = bm_min_u64(most, n - first);
        const bm_tensor above = bm_tensor_part(upper, 0, first + count, first, count),
                        below = bm_tensor_reshape(&memory, count, first + count),
                        left = bm_tensor_part(&below, 0, count, 0, first),
                        square = bm_tensor_part(&below, 0, count, first, count),
                        mirrored = bm_tensor_reshape(&whole, count, count);
        const bm_tensor to = bm_tensor_part(upper, first, count, 0, first),
                        on = bm_tensor_part(upper, first, count, first, count);
        BM_TRY(bm_transpose(device, &above, &below, err));
        if (first > 0)
            BM_TRY(bm_permute(device, &left, &(bm_permutation){0}, &to, err));
        BM_TRY(bm_permute(device, &square, &(bm_permutation){.lower = true}, &mirrored, err));
        BM_TRY(bm_permute(device, &mirrored, &(bm_permutation){0}, &on, err));
    }
done:
    bm_tensor_destroy(&memory);
    bm_tensor_destroy(&whole);
    return status;
}

bm_status bm_factor_multiply(bm_multiplier *m, const bm_tensor *upper, const bm_tensor *z, const bm_tensor *half,
                             const bm_tensor *out, bm_error *err)
{
    const uint64_t n = upper->rows, most = bm_min_u64(n, BM_GRAM_ROWS);
    bm_status status = BM_OK;
    bm_tensor memory = {0};
    BM_TRY(bm_tensor_create(m->device, BM_DTYPE_F32, n, most, "transposed rows", &memory, err));
    BM_TRY(bm_fill(m->device, out->view, 0, err));
    for (uint64_t first = 0; first < n; first += most) {
        const uint64_t count = bm_min_u64(most, n - first);
        const bm_tensor rows = bm_tensor_rows(upper, first, count),
                        part = bm_tensor_part(half, 0, half->rows, first, count),
                        columns = bm_tensor_reshape(&memory, n, count);
        BM_TRY(bm_multiply(m, z, &rows, &part, err));
        BM_TRY(bm_transpose(m->device, &rows, &columns, err));
        BM_TRY(bm_multiply_add(m, &part, &columns, 1.0f, out, err));
    }
done:
    bm_tensor_destroy(&memory);
    return status;
}

uint64_t bm_factor_in_place_bytes(uint32_t channels)
{
    return bm_gram_bytes(channels, false) +
           3 * bm_min_u64(channels, BM_GRAM_ROWS) * bm_tensor_stride(BM_DTYPE_F32, channels) * sizeof(float);
}
