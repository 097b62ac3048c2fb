// What of a linear is written, from the device to the host.
#include "store/store.h"

#include <string.h>

static bool takes_bytes(const bm_store_format *format, const bm_store_linear *linear)
{
    return format->takes_bytes && format->takes_bytes(linear);
}

static uint64_t num_words(const bm_store_linear *linear)
{
    return bm_divide_up(linear->in_features * linear->grid.bits, 32);
}

uint64_t bm_store_rows_bytes(const bm_store_format *format, const bm_store_linear *linear, uint64_t count)
{
    const uint64_t codes = takes_bytes(format, linear) ? linear->in_features : num_words(linear) * sizeof(uint32_t);
    const uint64_t groups = bm_num_groups(linear->in_features, linear->grid.group_size);
    const uint64_t nested =
        linear->grid.nested ? 2 * groups + linear->in_features / BM_NESTED_COLUMNS * 2 * sizeof(float) : 0;
    return count * (codes + groups * (sizeof(float) + sizeof(int32_t)) + nested);
}

// Downloads one tensor of nested steps into memory of its own; nothing where there is none.
static bm_status fetch_part(bm_device *device, const bm_tensor *tensor, void **out, bm_error *err)
{
    if (!tensor->view.buffer)
        return BM_OK;
    *out = bm_alloc(tensor->rows * tensor->cols, bm_dtype_size(tensor->dtype));
    return *out ? bm_tensor_download(device, tensor, *out, err) : bm_fail(err, BM_E_MEMORY, "out of memory");
}

// Waits, whether it fails or not: a download that is pending needs its memory.
static bm_status fetch_nested(bm_device *device, const bm_nested_steps *nested, bm_store_rows *rows, bm_error *err)
{
    void *parts[4] = {0};
    const bm_tensor *const tensors[] = {&nested->scale, &nested->minimum, &nested->unit, &nested->min_unit};
    bm_error waiting = {0};
    bm_status status = BM_OK;
    for (size_t i = 0; i < BM_COUNT(parts) && status == BM_OK; i++)
        status = fetch_part(device, tensors[i], &parts[i], err);
    const bm_status waited = bm_device_wait(device, status == BM_OK ? err : &waiting);
    rows->scales = parts[0];
    rows->minimums = parts[1];
    rows->units = parts[2];
    rows->min_units = parts[3];
    return status == BM_OK ? waited : status;
}

// What can fail comes before the downloads, and a failure of theirs leaves none behind (see bm_download).
bm_status bm_store_fetch(const bm_store_format *format, bm_device *device, const bm_store_linear *linear,
                         uint64_t first, const bm_codes *codes, bm_store_rows *out, bm_error *err)
{
    const uint64_t count = codes->step.rows, groups = codes->step.cols, cols = linear->in_features;
    const bool in_bytes = takes_bytes(format, linear), has_index = first == 0 && codes->group_index;
    bm_status status = BM_OK;
    bm_tensor packed = {0};
    bm_store_rows rows = {.count = count,
                          .groups = groups,
                          .packed = in_bytes ? NULL : bm_alloc(count * num_words(linear), sizeof *rows.packed),
                          .bytes = in_bytes ? bm_alloc(count, cols) : NULL,
                          .steps = bm_alloc(count * groups, sizeof *rows.steps),
                          .zero_points = bm_alloc(count * groups, sizeof *rows.zero_points),
                          .group_index = has_index ? bm_alloc(cols, sizeof *rows.group_index) : NULL,
                          .input = codes->input};
    BM_FAIL_IF((in_bytes ? !rows.bytes : !rows.packed) || !rows.steps || !rows.zero_points ||
                   (has_index && !rows.group_index),
               err, BM_E_MEMORY, "out of memory");
    if (has_index)
        memcpy(rows.group_index, codes->group_index, cols * sizeof *rows.group_index);
    if (bm_codes_are_nested(codes))
        BM_TRY(fetch_nested(device, &codes->nested, &rows, err));
    if (!in_bytes) {
        BM_TRY(bm_tensor_create(device, BM_DTYPE_U32, count, num_words(linear), "packed codes", &packed, err));
        BM_TRY(bm_pack_codes(device, &codes->codes, codes->bits, &packed, err));
    }
    BM_TRY(in_bytes ? bm_tensor_download(device, &codes->codes, rows.bytes, err)
                    : bm_tensor_download(device, &packed, rows.packed, err));
    BM_TRY(bm_tensor_download(device, &codes->step, rows.steps, err));
    BM_TRY(bm_tensor_download(device, &codes->zero_point, rows.zero_points, err));
    BM_TRY(bm_device_wait(device, err));
    *out = rows;
    rows = (bm_store_rows){0};
done:
    bm_tensor_destroy(&packed);
    bm_store_rows_free(&rows);
    return status;
}

void bm_store_rows_free(bm_store_rows *rows)
{
    bm_free(rows->packed);
    bm_free(rows->bytes);
    bm_free(rows->steps);
    bm_free(rows->zero_points);
    bm_free(rows->scales);
    bm_free(rows->minimums);
    bm_free(rows->units);
    bm_free(rows->min_units);
    bm_free(rows->group_index);
    *rows = (bm_store_rows){0};
}
