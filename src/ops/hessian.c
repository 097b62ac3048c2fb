// X^T X by the device's matrix product: inputs are transposed piece by piece, and rows of h are computed panel by panel, each
// up to its last column that counts.
#include "ops/hessian.h"

#include "ops/chunks.h"

// Rows of h at once: what lies above the diagonal in a panel is computed in vain, and GPUs want large products.
static uint64_t panel_rows(const bm_device *device)
{
    const bm_device_kind kind = bm_device_get_info(device)->kind;
    return kind == BM_DEVICE_DISCRETE_GPU || kind == BM_DEVICE_INTEGRATED_GPU ? 1024 : 256;
}

double bm_hessian_operations(uint64_t tokens, uint64_t channels, bool whole)
{
    return (whole ? 2.0 : 1.0) * (double)tokens * (double)channels * (double)channels;
}

bm_status bm_hessian_add(bm_multiplier *m, const bm_tensor *x, const bm_tensor *other, const bm_tensor *h,
                         bm_error *err)
{
    const uint64_t channels = x->cols, piece = bm_min_u64(x->rows, BM_HESSIAN_TOKENS), panel = panel_rows(m->device);
    bm_status status = BM_OK;
    bm_tensor right = {0}, left = {0};
    BM_TRY(bm_check_real(m->device, "hessian", "x", x, x->rows, channels, err));
    if (other)
        BM_TRY(bm_check_real(m->device, "hessian", "other", other, x->rows, channels, err));
    BM_TRY(bm_check_matrix("hessian", "h", h, BM_DTYPE_F32, channels, channels, err));
    BM_TRY(bm_tensor_create(m->device, BM_DTYPE_F32, channels, piece, "inputs", &right, err));
    if (other)
        BM_TRY(bm_tensor_create(m->device, BM_DTYPE_F32, channels, piece, "other inputs", &left, err));
    for (uint64_t first = 0; first < x->rows; first += piece) {
        const uint64_t count = bm_min_u64(piece, x->rows - first);
        const bm_tensor some_x = bm_tensor_rows(x, first, count), b = bm_tensor_reshape(&right, channels, count);
        BM_TRY(bm_transpose(m->device, &some_x, &b, err));
        bm_tensor a = b;
        if (other) {
            const bm_tensor some_other = bm_tensor_rows(other, first, count);
            a = bm_tensor_reshape(&left, channels, count);
            BM_TRY(bm_transpose(m->device, &some_other, &a, err));
        }
        BM_TRY(bm_multiplier_set(m, &b, err));
        for (uint64_t row = 0; row < channels; row += panel) {
            const uint64_t rows = bm_min_u64(panel, channels - row), cols = other ? channels : row + rows;
            const bm_tensor a_rows = bm_tensor_rows(&a, row, rows);
            const bm_tensor h_rows = bm_tensor_part(h, row, rows, 0, cols);
            BM_TRY(bm_multiplier_run_add(m, &a_rows, 0, cols, 1.0f, &h_rows, err));
        }
    }
done:
    bm_tensor_destroy(&right);
    bm_tensor_destroy(&left);
    return status;
}
