// Nested steps: checks and dispatches.
#include "ops/nested.h"

#include "ops/chunks.h"

#define SEARCH_GROUP 32    // as many candidates are tried at a time
#define SEARCH_ROUNDS 1400 // of all loops of a work-item for 256 columns, those of divisions among them

double bm_nested_search_operations(uint64_t rows, uint64_t cols)
{
    return 32.0 * 44.0 * (double)rows * (double)cols; // a fit of 24 for each of 32 candidates, and three errors of 7
}

static bm_status check(const bm_tensor *w, const bm_nested_params *p, const bm_tensor *weights, uint32_t first_super,
                       const bm_tensor *step, const bm_nested_steps *out, bm_error *err)
{
    const uint64_t groups = w->cols / bm_nested_group_size(p->symmetric), supers = out->unit.cols;
    const uint64_t all = groups / (w->cols / BM_NESTED_COLUMNS) * supers;
    bm_status status = BM_OK;
    BM_TRY(bm_check_matrix("nested search", "w", w, BM_DTYPE_F32, w->rows, w->cols, err));
    if (weights)
        BM_TRY(bm_check_matrix("nested search", "weights", weights, BM_DTYPE_F32, 1, w->cols, err));
    BM_TRY(bm_check_matrix("nested search", "unit", &out->unit, BM_DTYPE_F32, w->rows, supers, err));
    BM_FAIL_IF(first_super + w->cols / BM_NESTED_COLUMNS > supers, err, BM_E_ARGUMENT,
               "nested search: units of %llu columns from number %u on, expected those of %llu",
               (unsigned long long)w->cols, first_super, (unsigned long long)supers * BM_NESTED_COLUMNS);
    BM_TRY(bm_check_matrix("nested search", "step", step, BM_DTYPE_F32, w->rows, all, err));
    BM_TRY(bm_check_matrix("nested search", "scale", &out->scale, BM_DTYPE_I8, w->rows, all, err));
    if (p->symmetric)
        return BM_OK;
    BM_TRY(bm_check_matrix("nested search", "offset", &out->offset, BM_DTYPE_F32, w->rows, all, err));
    BM_TRY(bm_check_matrix("nested search", "minimum", &out->minimum, BM_DTYPE_I8, w->rows, all, err));
    BM_TRY(bm_check_matrix("nested search", "min_unit", &out->min_unit, BM_DTYPE_F32, w->rows, supers, err));
    BM_FAIL_IF(step->stride != out->offset.stride || out->scale.stride != out->minimum.stride ||
                   out->unit.stride != out->min_unit.stride,
               err, BM_E_ARGUMENT, "nested search: steps and offsets have different strides");
done:
    return status;
}

static bm_view rows_of(const bm_tensor *tensor, uint64_t first, uint64_t count)
{
    return tensor->view.buffer ? bm_tensor_rows(tensor, first, count).view : (bm_view){0};
}

bm_status bm_nested_search(bm_device *device, const bm_tensor *w, const bm_nested_params *p, const bm_tensor *weights,
                           uint32_t first_super, const bm_tensor *step, const bm_nested_steps *out, bm_error *err)
{
    const uint32_t supers = (uint32_t)(w->cols / BM_NESTED_COLUMNS);
    const bm_device_info *info = bm_device_get_info(device);
    // A CPU's driver makes vectors of quads, not of work-items.
    const bool is_alone = info->kind == BM_DEVICE_CPU && info->limits.max_loop_rounds == 0;
    const uint32_t group = is_alone ? 1 : bm_chunk_group(device, SEARCH_GROUP);
    bm_status status = BM_OK;
    BM_FAIL_IF(w->cols == 0 || w->cols % BM_NESTED_COLUMNS != 0 || p->bits < 2 || p->bits > 7, err, BM_E_ARGUMENT,
               "nested search: %u bits of %llu columns, expected 2..7 of a multiple of %d", p->bits,
               (unsigned long long)w->cols, BM_NESTED_COLUMNS);
    BM_TRY(check(w, p, weights, first_super, step, out, err));
    const uint64_t walked = bm_chunk_pieces(device, SEARCH_ROUNDS * SEARCH_GROUP / group, 1) / supers;
    const uint64_t at_once = bm_min_u64(bm_chunk_rows(device, w->stride, bm_nested_search_operations(1, w->cols)),
                                        bm_max_u64(4, bm_min_u64(walked, (UINT64_C(1) << 20) / supers) / 4 * 4));
    for (uint64_t first = 0; first < w->rows; first += at_once) {
        const uint64_t rows = bm_min_u64(at_once, w->rows - first);
        const bm_nested_search_scalars scalars = {(uint32_t)rows,
                                                  first_super,
                                                  supers,
                                                  (uint32_t)w->stride,
                                                  (uint32_t)step->stride,
                                                  (uint32_t)out->scale.stride,
                                                  (uint32_t)out->unit.stride,
                                                  p->bits,
                                                  p->symmetric,
                                                  p->search,
                                                  p->by_magnitude,
                                                  weights != NULL};
        const bm_call call = {.kernel = BM_KERNEL_NESTED_SEARCH,
                              .buffers = {rows_of(w, first, rows), weights ? weights->view : (bm_view){0},
                                          rows_of(step, first, rows), rows_of(&out->offset, first, rows),
                                          rows_of(&out->scale, first, rows), rows_of(&out->minimum, first, rows),
                                          rows_of(&out->unit, first, rows), rows_of(&out->min_unit, first, rows)},
                              .scalars = &scalars,
                              .tunables = {group},
                              .groups = {bm_chunk_groups(device, rows * supers, 1), 1, 1},
                              .seconds = bm_chunk_seconds(device, bm_nested_search_operations(rows, w->cols))};
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}

bm_status bm_group_shift(bm_device *device, const bm_tensor *x, const bm_tensor *offset, uint32_t first_group,
                         uint32_t group_size, float factor, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_matrix("group_shift", "x", x, BM_DTYPE_F32, x->rows, x->cols, err));
    BM_TRY(bm_check_matrix("group_shift", "offset", offset, BM_DTYPE_F32, x->rows, offset->cols, err));
    BM_FAIL_IF(group_size == 0 || group_size % 4 != 0 ||
                   first_group + bm_num_groups(x->cols, group_size) > offset->cols,
               err, BM_E_ARGUMENT, "group_shift: %llu columns in groups of %u from number %u on of %llu",
               (unsigned long long)x->cols, group_size, first_group, (unsigned long long)offset->cols);
    bm_group_shift_scalars scalars = {
        0, (uint32_t)x->cols, (uint32_t)x->stride, (uint32_t)offset->stride, first_group, group_size, factor};
    BM_TRY(bm_run_rows(device,
                       &(bm_row_call){.kernel = BM_KERNEL_GROUP_SHIFT,
                                      .tensors = {x, offset},
                                      .scalars = &scalars,
                                      .operations = 2.0 * (double)x->cols,
                                      .items = bm_divide_up(x->cols, 4)},
                       err));
done:
    return status;
}
