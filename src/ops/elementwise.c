// Operations on elements: rows are cut into dispatches, all else is one kernel call.
#include "ops/elementwise.h"
#include "ops/chunks.h"

#define GROUP 64 // the kernels' default

double bm_add_operations(uint64_t rows, uint64_t cols)
{
    return (double)rows * (double)cols;
}
double bm_gate_operations(uint64_t rows, uint64_t cols)
{
    return 8.0 * (double)rows * (double)cols;
}
double bm_row_error_operations(uint64_t rows, uint64_t cols)
{
    return 8.0 * (double)rows * (double)cols;
}

double bm_elementwise_bytes(uint64_t rows, uint64_t cols, bm_dtype x, bm_dtype y, bm_dtype z)
{
    return (double)rows * (double)cols * (bm_dtype_size(x) + bm_dtype_size(y) + bm_dtype_size(z));
}

// Work-items take four neighbours each.
static uint32_t groups_for(const bm_device *device, uint64_t rows, uint64_t cols)
{
    return bm_chunk_groups(device, rows * bm_divide_up(cols, 4), GROUP);
}

static bm_status add(bm_device *device, const bm_tensor *x, const bm_tensor *y, float factor, bool halves,
                     const bm_tensor *z, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(device, "add", "x", x, x->rows, x->cols, err));
    BM_TRY(bm_check_real(device, "add", "y", y, x->rows, x->cols, err));
    BM_TRY(bm_check_real(device, "add", "z", z, x->rows, x->cols, err));
    const uint64_t widest = bm_max_u64(x->stride, bm_max_u64(y->stride, z->stride));
    const uint64_t step = bm_chunk_rows(device, widest, bm_add_operations(1, x->cols));
    for (uint64_t first = 0; first < x->rows; first += step) {
        const uint64_t rows = bm_min_u64(step, x->rows - first);
        const bm_add_scalars scalars = {
            (uint32_t)rows, (uint32_t)x->cols, (uint32_t)x->stride, (uint32_t)y->stride, (uint32_t)z->stride, factor,
            halves};
        const bm_call call = {
            .kernel = BM_KERNEL_ADD,
            .buffers = {bm_tensor_rows(x, first, rows).view, bm_tensor_rows(y, first, rows).view,
                        bm_tensor_rows(z, first, rows).view},
            .types = {x->dtype, y->dtype, z->dtype},
            .scalars = &scalars,
            .tunables = {GROUP},
            .groups = {groups_for(device, rows, x->cols), 1, 1},
            .seconds = bm_chunk_seconds(device, bm_elementwise_bytes(rows, x->cols, x->dtype, y->dtype, z->dtype))};
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}

bm_status bm_add(bm_device *device, const bm_tensor *x, const bm_tensor *y, const bm_tensor *z, bm_error *err)
{
    return add(device, x, y, 1.0f, false, z, err);
}

bm_status bm_add_scaled(bm_device *device, const bm_tensor *x, const bm_tensor *y, float factor, const bm_tensor *z,
                        bm_error *err)
{
    return add(device, x, y, factor, false, z, err);
}

bm_status bm_half_difference(bm_device *device, const bm_tensor *x, const bm_tensor *y, const bm_tensor *z,
                             bm_error *err)
{
    return add(device, x, y, -1.0f, true, z, err);
}

bm_status bm_convert(bm_device *device, const bm_tensor *x, const bm_tensor *y, const char *subject, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(device, subject ? subject : "convert", "x", x, x->rows, x->cols, err));
    BM_TRY(bm_check_real(device, subject ? subject : "convert", "y", y, x->rows, x->cols, err));
    const uint64_t step = bm_chunk_rows(device, bm_max_u64(x->stride, y->stride), (double)x->cols);
    for (uint64_t first = 0; first < x->rows; first += step) {
        const uint64_t rows = bm_min_u64(step, x->rows - first);
        const bm_convert_scalars scalars = {(uint32_t)rows, (uint32_t)x->cols, (uint32_t)x->stride,
                                            (uint32_t)y->stride};
        const bm_call call = {.kernel = BM_KERNEL_CONVERT,
                              .buffers = {bm_tensor_rows(x, first, rows).view, bm_tensor_rows(y, first, rows).view},
                              .types = {x->dtype, y->dtype},
                              .scalars = &scalars,
                              .tunables = {GROUP},
                              .groups = {groups_for(device, rows, x->cols), 1, 1},
                              .subject = subject,
                              .seconds = bm_chunk_seconds(
                                  device, bm_elementwise_bytes(rows, x->cols, x->dtype, y->dtype, BM_DTYPE_NONE))};
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}

bm_status bm_shift_scale(bm_device *device, const bm_tensor *x, const bm_tensor *shift, const bm_tensor *factor,
                         const bm_tensor *y, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(device, "shift_scale", "x", x, x->rows, x->cols, err));
    BM_TRY(bm_check_real(device, "shift_scale", "y", y, x->rows, x->cols, err));
    if (shift)
        BM_TRY(bm_check_real(device, "shift_scale", "shift", shift, 1, x->cols, err));
    if (factor)
        BM_TRY(bm_check_real(device, "shift_scale", "factor", factor, 1, x->cols, err));
    const uint64_t step = bm_chunk_rows(device, bm_max_u64(x->stride, y->stride), 2.0 * (double)x->cols);
    for (uint64_t first = 0; first < x->rows; first += step) {
        const uint64_t rows = bm_min_u64(step, x->rows - first);
        const bm_shift_scale_scalars scalars = {(uint32_t)rows,      (uint32_t)x->cols, (uint32_t)x->stride,
                                                (uint32_t)y->stride, shift != NULL,     factor != NULL};
        const bm_call call = {
            .kernel = BM_KERNEL_SHIFT_SCALE,
            .buffers = {bm_tensor_rows(x, first, rows).view, shift ? shift->view : (bm_view){0},
                        factor ? factor->view : (bm_view){0}, bm_tensor_rows(y, first, rows).view},
            .types = {x->dtype, shift ? shift->dtype : x->dtype, factor ? factor->dtype : x->dtype, y->dtype},
            .scalars = &scalars,
            .tunables = {GROUP},
            .groups = {groups_for(device, rows, x->cols), 1, 1},
            .seconds =
                bm_chunk_seconds(device, bm_elementwise_bytes(rows, x->cols, x->dtype, y->dtype, BM_DTYPE_NONE))};
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}

bm_status bm_soft_cap(bm_device *device, const bm_tensor *x, float cap, const bm_tensor *y, bm_error *err)
{
    bm_status status = BM_OK;
    BM_FAIL_IF(!(cap > 0), err, BM_E_ARGUMENT, "soft_cap: a cap of %g, expected a positive number", (double)cap);
    BM_TRY(bm_check_real(device, "soft_cap", "x", x, x->rows, x->cols, err));
    BM_TRY(bm_check_real(device, "soft_cap", "y", y, x->rows, x->cols, err));
    const uint64_t step = bm_chunk_rows(device, bm_max_u64(x->stride, y->stride), bm_gate_operations(1, x->cols));
    for (uint64_t first = 0; first < x->rows; first += step) {
        const uint64_t rows = bm_min_u64(step, x->rows - first);
        const bm_soft_cap_scalars scalars = {(uint32_t)rows, (uint32_t)x->cols, (uint32_t)x->stride,
                                             (uint32_t)y->stride, cap};
        const bm_call call = {.kernel = BM_KERNEL_SOFT_CAP,
                              .buffers = {bm_tensor_rows(x, first, rows).view, bm_tensor_rows(y, first, rows).view},
                              .types = {x->dtype, y->dtype},
                              .scalars = &scalars,
                              .tunables = {GROUP},
                              .groups = {bm_chunk_groups(device, rows * bm_divide_up(x->cols, 4), GROUP), 1, 1},
                              .seconds = bm_chunk_seconds(
                                  device, bm_elementwise_bytes(rows, x->cols, x->dtype, BM_DTYPE_NONE, y->dtype))};
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}

bm_status bm_gate(bm_device *device, bm_activation activation, const bm_tensor *gate, const bm_tensor *up,
                  const bm_tensor *y, bm_error *err)
{
    bm_status status = BM_OK;
    const bm_dtype up_type = up ? up->dtype : gate->dtype; // of none: no kernel of its own for that
    BM_FAIL_IF((unsigned)activation > BM_ACTIVATION_GELU, err, BM_E_ARGUMENT, "gate: no activation %d",
               (int)activation);
    BM_TRY(bm_check_real(device, "gate", "gate", gate, gate->rows, gate->cols, err));
    if (up)
        BM_TRY(bm_check_real(device, "gate", "up", up, gate->rows, gate->cols, err));
    BM_TRY(bm_check_real(device, "gate", "y", y, gate->rows, gate->cols, err));
    const uint64_t up_stride = up ? up->stride : 0, widest = bm_max_u64(gate->stride, bm_max_u64(up_stride, y->stride));
    const uint64_t step = bm_chunk_rows(device, widest, bm_gate_operations(1, gate->cols));
    const uint32_t width = bm_chunk_width(device);
    for (uint64_t first = 0; first < gate->rows; first += step) {
        const uint64_t rows = bm_min_u64(step, gate->rows - first);
        const bm_gate_scalars scalars = {(uint32_t)rows,      (uint32_t)gate->cols, (uint32_t)gate->stride,
                                         (uint32_t)up_stride, (uint32_t)y->stride,  up != NULL,
                                         (uint32_t)activation};
        const bm_call call = {
            .kernel = BM_KERNEL_GATE,
            .buffers = {bm_tensor_rows(gate, first, rows).view,
                        up ? bm_tensor_rows(up, first, rows).view : (bm_view){0}, bm_tensor_rows(y, first, rows).view},
            .types = {gate->dtype, up_type, y->dtype},
            .scalars = &scalars,
            .tunables = {GROUP, width},
            .groups = {bm_chunk_groups(device, rows * bm_divide_up(gate->cols, width), GROUP), 1, 1},
            .seconds = bm_chunk_seconds(
                device, bm_elementwise_bytes(rows, gate->cols, gate->dtype, up ? up->dtype : BM_DTYPE_NONE, y->dtype))};
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}

bm_status bm_row_error(bm_device *device, const bm_tensor *x, const bm_tensor *y, const bm_tensor *sums, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(device, "row_error", "x", x, x->rows, x->cols, err));
    BM_TRY(bm_check_real(device, "row_error", "y", y, x->rows, x->cols, err));
    BM_TRY(bm_check_matrix("row_error", "sums", sums, BM_DTYPE_F32, x->rows, 4, err));
    BM_FAIL_IF(sums->stride != 4, err, BM_E_ARGUMENT, "row_error: sums has a stride of %llu, expected 4",
               (unsigned long long)sums->stride);
    const uint64_t step = bm_chunk_rows(device, bm_max_u64(x->stride, y->stride), bm_row_error_operations(1, x->cols));
    for (uint64_t first = 0; first < x->rows; first += step) {
        const uint64_t rows = bm_min_u64(step, x->rows - first);
        const bm_row_error_scalars scalars = {(uint32_t)rows, (uint32_t)x->cols, (uint32_t)x->stride,
                                              (uint32_t)y->stride};
        const bm_call call = {.kernel = BM_KERNEL_ROW_ERROR,
                              .buffers = {bm_tensor_rows(x, first, rows).view, bm_tensor_rows(y, first, rows).view,
                                          bm_tensor_rows(sums, first, rows).view},
                              .types = {x->dtype, y->dtype},
                              .scalars = &scalars,
                              .tunables = {bm_chunk_row_group(device), bm_chunk_width(device)},
                              .groups = {bm_chunk_groups(device, rows, 1), 1, 1},
                              .seconds = bm_chunk_seconds(
                                  device, bm_elementwise_bytes(rows, x->cols, x->dtype, y->dtype, BM_DTYPE_NONE))};
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}
