// The canonical form.
#include "quant/codes.h"

// All zero points of nested steps are the same.
static bm_status create_nested(bm_device *device, uint64_t rows, uint64_t cols, bm_codes *codes, bm_error *err)
{
    const uint64_t groups = codes->step.cols, supers = cols / BM_NESTED_COLUMNS;
    const int32_t zero_point = codes->symmetric ? 0 : -(1 << (codes->bits - 1));
    bm_nested_steps *n = &codes->nested;
    bm_status status = BM_OK;
    BM_FAIL_IF(cols % BM_NESTED_COLUMNS != 0 || codes->group_size != bm_nested_group_size(codes->symmetric), err,
               BM_E_ARGUMENT, "codes: nested steps of %llu columns in groups of %u", (unsigned long long)cols,
               codes->group_size);
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I8, rows, groups, "scales", &n->scale, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, rows, supers, "units", &n->unit, err));
    BM_TRY(bm_fill(device, codes->zero_point.view, (uint32_t)zero_point, err));
    if (codes->symmetric)
        return BM_OK;
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I8, rows, groups, "minimums", &n->minimum, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, rows, supers, "units of minimums", &n->min_unit, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, rows, groups, "offsets", &n->offset, err));
done:
    return status;
}

bm_status bm_codes_create(bm_device *device, uint64_t rows, uint64_t cols, const bm_grid_params *grid, bm_codes *out,
                          bm_error *err)
{
    const uint32_t groups = bm_num_groups(cols, grid->group_size);
    bm_status status = BM_OK;
    bm_codes codes = {.bits = grid->bits,
                      .group_size = grid->group_size,
                      .symmetric = grid->symmetric,
                      .scale_dtype = grid->scale_dtype};
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I8, rows, cols, "codes", &codes.codes, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, rows, groups, "steps", &codes.step, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I32, rows, groups, "zero points", &codes.zero_point, err));
    if (grid->nested)
        BM_TRY(create_nested(device, rows, cols, &codes, err));
    *out = codes;
    codes = (bm_codes){0};
done:
    bm_codes_destroy(&codes);
    return status;
}

void bm_codes_destroy(bm_codes *codes)
{
    bm_tensor_destroy(&codes->codes);
    bm_tensor_destroy(&codes->step);
    bm_tensor_destroy(&codes->zero_point);
    bm_tensor *const nested[] = {&codes->nested.scale, &codes->nested.minimum, &codes->nested.unit,
                                 &codes->nested.min_unit, &codes->nested.offset};
    for (size_t i = 0; i < BM_COUNT(nested); i++)
        bm_tensor_destroy(nested[i]);
    bm_free(codes->group_index);
    *codes = (bm_codes){0};
}

bm_codes bm_codes_rows(const bm_codes *codes, uint64_t first, uint64_t count)
{
    bm_codes rows = *codes;
    rows.codes = bm_tensor_rows(&codes->codes, first, count);
    rows.step = bm_tensor_rows(&codes->step, first, count);
    rows.zero_point = bm_tensor_rows(&codes->zero_point, first, count);
    bm_tensor *const nested[] = {&rows.nested.scale, &rows.nested.minimum, &rows.nested.unit, &rows.nested.min_unit,
                                 &rows.nested.offset};
    for (size_t i = 0; i < BM_COUNT(nested); i++)
        if (nested[i]->view.buffer)
            *nested[i] = bm_tensor_rows(nested[i], first, count);
    return rows;
}

bm_status bm_codes_shift(bm_device *device, const bm_codes *codes, const bm_tensor *x, uint64_t first_col, float factor,
                         bm_error *err)
{
    if (!codes->nested.offset.view.buffer)
        return BM_OK;
    return bm_group_shift(device, x, &codes->nested.offset, (uint32_t)(first_col / codes->group_size),
                          codes->group_size, factor, err);
}

bm_status bm_codes_multiply_units(bm_device *device, const bm_codes *codes, bm_error *err)
{
    const bm_nested_steps *n = &codes->nested;
    const uint32_t groups = BM_NESTED_COLUMNS / codes->group_size; // that share a unit
    bm_status status = BM_OK;
    bm_tensor zeros = {0};
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I32, n->unit.rows, n->unit.cols, "zeros", &zeros, err));
    BM_TRY(bm_fill(device, zeros.view, 0, err));
    BM_TRY(bm_dequantize(device, &n->scale, &n->unit, &zeros, groups, &codes->step, err));
    if (n->offset.view.buffer)
        BM_TRY(bm_dequantize(device, &n->minimum, &n->min_unit, &zeros, groups, &n->offset, err));
done:
    bm_tensor_destroy(&zeros);
    return status;
}
