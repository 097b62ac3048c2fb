// The canonical form.
#include "quant/codes.h"

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
    bm_free(codes->group_index);
    *codes = (bm_codes){0};
}

bm_codes bm_codes_rows(const bm_codes *codes, uint64_t first, uint64_t count)
{
    bm_codes rows = *codes;
    rows.codes = bm_tensor_rows(&codes->codes, first, count);
    rows.step = bm_tensor_rows(&codes->step, first, count);
    rows.zero_point = bm_tensor_rows(&codes->zero_point, first, count);
    return rows;
}
