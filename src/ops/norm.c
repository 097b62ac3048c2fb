// Normalization of rows: one work-group a row.
#include "ops/norm.h"
#include "ops/chunks.h"

double bm_rmsnorm_operations(uint64_t rows, uint64_t cols)
{
    return 4.0 * (double)rows * (double)cols;
}

bm_status bm_rmsnorm(bm_device *device, const bm_tensor *x, const bm_tensor *weight, float epsilon, const bm_tensor *y,
                     bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(device, "rmsnorm", "x", x, x->rows, x->cols, err));
    BM_TRY(bm_check_real(device, "rmsnorm", "weight", weight, 1, x->cols, err));
    BM_TRY(bm_check_real(device, "rmsnorm", "y", y, x->rows, x->cols, err));
    const uint64_t step = bm_chunk_rows(device, bm_max_u64(x->stride, y->stride), bm_rmsnorm_operations(1, x->cols));
    for (uint64_t first = 0; first < x->rows; first += step) {
        const uint64_t rows = bm_min_u64(step, x->rows - first);
        const bm_tensor in = bm_tensor_rows(x, first, rows), out = bm_tensor_rows(y, first, rows);
        const bm_rmsnorm_scalars scalars = {(uint32_t)rows, (uint32_t)x->cols, (uint32_t)x->stride, (uint32_t)y->stride,
                                            epsilon};
        const bm_call call = {.kernel = BM_KERNEL_RMSNORM,
                              .buffers = {in.view, weight->view, out.view},
                              .types = {x->dtype, weight->dtype, y->dtype},
                              .scalars = &scalars,
                              .tunables = {bm_chunk_row_group(device), bm_chunk_width(device)},
                              .groups = {bm_chunk_groups(device, rows, 1), 1, 1},
                              .seconds =
                                  bm_chunk_seconds(device, (double)rows * (double)x->cols *
                                                               (bm_dtype_size(x->dtype) + bm_dtype_size(y->dtype)))};
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}

double bm_layernorm_operations(uint64_t rows, uint64_t cols)
{
    return 8.0 * (double)rows * (double)cols;
}

bm_status bm_layernorm(bm_device *device, const bm_tensor *x, const bm_tensor *weight, const bm_tensor *bias,
                       float epsilon, const bm_tensor *y, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(device, "layernorm", "x", x, x->rows, x->cols, err));
    BM_TRY(bm_check_real(device, "layernorm", "weight", weight, 1, x->cols, err));
    BM_TRY(bm_check_real(device, "layernorm", "bias", bias, 1, x->cols, err));
    BM_TRY(bm_check_real(device, "layernorm", "y", y, x->rows, x->cols, err));
    const uint64_t step = bm_chunk_rows(device, bm_max_u64(x->stride, y->stride), bm_layernorm_operations(1, x->cols));
    for (uint64_t first = 0; first < x->rows; first += step) {
        const uint64_t rows = bm_min_u64(step, x->rows - first);
        const bm_tensor from = bm_tensor_rows(x, first, rows), to = bm_tensor_rows(y, first, rows);
        const bm_layernorm_scalars scalars = {(uint32_t)rows, (uint32_t)x->cols, (uint32_t)x->stride,
                                              (uint32_t)y->stride, epsilon};
        const bm_call call = {.kernel = BM_KERNEL_LAYERNORM,
                              .buffers = {from.view, weight->view, bias->view, to.view},
                              .types = {x->dtype, weight->dtype, bias->dtype, y->dtype},
                              .scalars = &scalars,
                              .tunables = {bm_chunk_row_group(device), bm_chunk_width(device)},
                              .groups = {bm_chunk_groups(device, rows, 1), 1, 1},
                              .seconds =
                                  bm_chunk_seconds(device, (double)rows * (double)x->cols *
                                                               (bm_dtype_size(x->dtype) + bm_dtype_size(y->dtype)))};
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}
