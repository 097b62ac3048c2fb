// Rounding behind scales.
#include "quant/scaled_rounding.h"

#include "ops/chunks.h"
#include "ops/elementwise.h"
#include "ops/matrix.h"

bm_status bm_scaled_rounding_begin(bm_device *device, const bm_grid_params *grids, uint32_t num_grids,
                                   uint64_t max_rows, uint64_t channels, const float *scales, uint32_t count,
                                   bm_scaled_rounding *out, bm_error *err)
{
    const uint64_t size = count * channels;
    const uint64_t room = bm_tensor_stride(BM_DTYPE_F32, bm_most_groups(channels, grids, num_grids));
    bm_status status = BM_OK;
    *out = (bm_scaled_rounding){.step = {0}};
    float *inverses = bm_alloc(size, sizeof *inverses);
    BM_FAIL_IF(!inverses, err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < size; i++)
        inverses[i] = 1.0f / scales[i];
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, count, channels, "scales", &out->scales, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, count, channels, "scales", &out->inverses, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, max_rows, room, "steps", &out->step, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I32, max_rows, room, "zero points", &out->zero_point, err));
    BM_TRY(bm_tensor_upload(device, &out->scales, scales, err));
    BM_TRY(bm_tensor_upload(device, &out->inverses, inverses, err));
done:
    bm_free(inverses);
    return status;
}

void bm_scaled_rounding_end(bm_scaled_rounding *r)
{
    bm_tensor *const all[] = {&r->scales, &r->inverses, &r->step, &r->zero_point};
    for (size_t i = 0; i < BM_COUNT(all); i++)
        bm_tensor_destroy(all[i]);
}

bm_status bm_scaled_rounding_run(bm_device *device, const bm_scaled_rounding *r, const bm_grid_params *grid,
                                 const bm_tensor *w, uint32_t candidate, const bm_tensor *out, bm_error *err)
{
    const uint32_t groups = bm_num_groups(w->cols, grid->group_size);
    const bm_tensor scale = bm_tensor_rows(&r->scales, candidate, 1),
                    inverse = bm_tensor_rows(&r->inverses, candidate, 1);
    const bm_tensor step = bm_tensor_reshape(&r->step, w->rows, groups),
                    zero_point = bm_tensor_reshape(&r->zero_point, w->rows, groups);
    bm_grid_params plain = *grid;
    bm_status status = BM_OK;
    plain.search = false;
    BM_TRY(bm_shift_scale(device, w, NULL, &scale, out, err));
    BM_TRY(bm_grid_search(device, out, &plain, NULL, &step, &zero_point, err));
    BM_TRY(bm_fake_quantize(device, out, &step, &zero_point, grid->group_size, grid->bits, out, err));
    BM_TRY(bm_scale_columns(device, out, &inverse, err));
done:
    return status;
}

bm_status bm_scaled_difference(bm_device *device, const bm_scaled_rounding *r, const bm_grid_params *grid,
                               const bm_tensor *w, uint32_t candidate, const bm_tensor *factor, const bm_tensor *out,
                               const bm_tensor *units, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_matrix("scaled difference", "w", w, BM_DTYPE_F32, w->rows, r->scales.cols, err));
    BM_TRY(bm_check_matrix("scaled difference", "factor", factor, BM_DTYPE_F32, 1, w->cols, err));
    BM_TRY(bm_check_matrix("scaled difference", "out", out, BM_DTYPE_F16, w->rows, w->cols, err));
    BM_TRY(bm_check_matrix("scaled difference", "units", units, BM_DTYPE_F32, 1, w->rows, err));
    const bm_scaled_difference_scalars scalars = {
        (uint32_t)w->rows, (uint32_t)w->cols, (uint32_t)w->stride, (uint32_t)out->stride / 2,
        grid->group_size,  grid->bits,        grid->symmetric,     (uint32_t)grid->scale_dtype};
    const bm_call call = {.kernel = BM_KERNEL_SCALED_DIFFERENCE,
                          .buffers = {w->view, bm_tensor_rows(&r->scales, candidate, 1).view,
                                      bm_tensor_rows(&r->inverses, candidate, 1).view, factor->view, out->view,
                                      units->view},
                          .scalars = &scalars,
                          .tunables = {bm_chunk_group(device, 64)},
                          .groups = {bm_chunk_groups(device, w->rows, 1), 1, 1},
                          .seconds = bm_chunk_seconds(device, 64.0 * (double)w->rows * (double)w->cols)};
    BM_TRY(bm_dispatch(device, &call, err));
done:
    return status;
}
