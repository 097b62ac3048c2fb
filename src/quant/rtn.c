// Plain rounding to nearest: steps from the weights alone, each weight to the nearest point of its grid.
#include "ops/elementwise.h"
#include "quant/method.h"

// What one call needs on the device.
typedef struct rtn_tensors {
    bm_tensor steps, zero_points, codes, words, rounded, sums;
} rtn_tensors;

static bm_status create_tensors(bm_device *device, const bm_tensor *rows, const bm_grid_params *grid, rtn_tensors *t,
                                bm_error *err)
{
    const uint64_t n = rows->rows, cols = rows->cols;
    const uint32_t groups = bm_num_groups(cols, grid->group_size);
    bm_status status = BM_OK;
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, n, groups, "steps", &t->steps, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I32, n, groups, "zero points", &t->zero_points, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I8, n, cols, "codes", &t->codes, err));
    BM_TRY(
        bm_tensor_create(device, BM_DTYPE_U32, n, bm_divide_up(cols, 32 / grid->bits), "packed codes", &t->words, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, n, cols, "rounded weights", &t->rounded, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, n, 4, "row errors", &t->sums, err));
done:
    return status;
}

static void destroy_tensors(rtn_tensors *t)
{
    bm_tensor *const all[] = {&t->steps, &t->zero_points, &t->codes, &t->words, &t->rounded, &t->sums};
    for (size_t i = 0; i < BM_COUNT(all); i++)
        bm_tensor_destroy(all[i]);
}

static bm_status solve(bm_device *device, const bm_tensor *rows, const void *statistics, const bm_grid_params *grid,
                       bm_quantized_rows *out, bm_error *err)
{
    (void)statistics; // rounding looks at the weights alone
    bm_status status = BM_OK;
    rtn_tensors t = {0};
    bm_quantized_rows q = {0};
    float *sums = NULL;
    BM_FAIL_IF(grid->bits != 2 && grid->bits != 4 && grid->bits != 8, err, BM_E_ARGUMENT,
               "rounding: %u bits, expected 2, 4 or 8", grid->bits);
    BM_FAIL_IF(grid->group_size == 0, err, BM_E_ARGUMENT, "rounding: group_size 0");
    sums = bm_alloc(rows->rows * 4, sizeof *sums);
    BM_FAIL_IF(!sums, err, BM_E_MEMORY, "out of memory");
    BM_TRY(create_tensors(device, rows, grid, &t, err));
    BM_TRY(bm_quantized_rows_create(rows->rows, rows->cols, grid->bits, grid->group_size, &q, err));
    BM_TRY(bm_grid_search(device, rows, grid, NULL, &t.steps, &t.zero_points, err));
    BM_TRY(bm_quantize(device, rows, &t.steps, &t.zero_points, grid->group_size, grid->bits, &t.codes, err));
    BM_TRY(bm_pack_codes(device, &t.codes, grid->bits, &t.words, err));
    BM_TRY(bm_dequantize(device, &t.codes, &t.steps, &t.zero_points, grid->group_size, &t.rounded, err));
    BM_TRY(bm_row_error(device, rows, &t.rounded, &t.sums, err));
    BM_TRY(bm_tensor_download(device, &t.words, q.words, err));
    BM_TRY(bm_tensor_download(device, &t.steps, q.steps, err));
    BM_TRY(bm_tensor_download(device, &t.zero_points, q.zero_points, err));
    BM_TRY(bm_tensor_download(device, &t.sums, sums, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint64_t r = 0; r < rows->rows; r++) {
        // row_error gives {sum (x - y)^2, sum x^2}
        q.error += (double)sums[4 * r];
        q.norm += (double)sums[4 * r + 1];
    }
    *out = q;
    q = (bm_quantized_rows){0};
done:
    destroy_tensors(&t);
    bm_quantized_rows_free(&q);
    bm_free(sums);
    return status;
}

const bm_method bm_method_rtn = {
    .name = "rtn", .words = "plain rounding (RTN)", .needs_inputs = false, .watch = NULL, .solve = solve};
