// Rows of a linear in host memory, and their way from and to the device.
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

static uint64_t num_supers(const bm_store_linear *linear)
{
    return linear->in_features / BM_NESTED_COLUMNS;
}

uint64_t bm_store_rows_bytes(const bm_store_format *format, const bm_store_linear *linear, uint64_t count)
{
    const uint64_t codes = takes_bytes(format, linear) ? linear->in_features : num_words(linear) * sizeof(uint32_t);
    const uint64_t groups = bm_num_groups(linear->in_features, linear->grid.group_size);
    const uint64_t nested =
        linear->grid.nested ? (linear->grid.symmetric ? 1 : 2) * (groups + num_supers(linear) * sizeof(float)) : 0;
    return count * (codes + groups * (sizeof(float) + sizeof(int32_t)) + nested);
}

// What nested steps have beside them.
static bool create_nested(const bm_store_linear *linear, bm_store_rows *rows)
{
    const uint64_t groups = rows->count * rows->groups, supers = rows->count * num_supers(linear);
    rows->scales = bm_alloc(groups, sizeof *rows->scales);
    rows->units = bm_alloc(supers, sizeof *rows->units);
    if (!linear->grid.symmetric) {
        rows->minimums = bm_alloc(groups, sizeof *rows->minimums);
        rows->min_units = bm_alloc(supers, sizeof *rows->min_units);
    }
    return rows->scales && rows->units && (linear->grid.symmetric || (rows->minimums && rows->min_units));
}

bm_status bm_store_rows_create(const bm_store_format *format, const bm_store_linear *linear, uint64_t count,
                               bm_store_rows *out, bm_error *err)
{
    const uint64_t groups = bm_num_groups(linear->in_features, linear->grid.group_size);
    const bool in_bytes = takes_bytes(format, linear);
    *out = (bm_store_rows){.count = count,
                           .groups = groups,
                           .packed = in_bytes ? NULL : bm_alloc(count * num_words(linear), sizeof *out->packed),
                           .bytes = in_bytes ? bm_alloc(count, linear->in_features) : NULL,
                           .steps = bm_alloc(count * groups, sizeof *out->steps),
                           .zero_points = bm_alloc(count * groups, sizeof *out->zero_points)};
    if ((in_bytes ? out->bytes != NULL : out->packed != NULL) && out->steps && out->zero_points &&
        (!linear->grid.nested || create_nested(linear, out)))
        return BM_OK;
    bm_store_rows_free(out);
    return bm_fail(err, BM_E_MEMORY, "out of memory");
}

// What can fail comes before the downloads, and a failure of theirs leaves none behind (see bm_download).
bm_status bm_store_fetch(const bm_store_format *format, bm_device *device, const bm_store_linear *linear,
                         uint64_t first, const bm_codes *codes, bm_store_rows *out, bm_error *err)
{
    const uint64_t count = codes->step.rows, cols = linear->in_features;
    const bool in_bytes = takes_bytes(format, linear);
    bm_status status = BM_OK;
    bm_tensor packed = {0};
    bm_store_rows rows = {0};
    BM_TRY(bm_store_rows_create(format, linear, count, &rows, err));
    rows.input = codes->input;
    if (first == 0 && codes->group_index) {
        rows.group_index = bm_alloc(cols, sizeof *rows.group_index);
        BM_FAIL_IF(!rows.group_index, err, BM_E_MEMORY, "out of memory");
        memcpy(rows.group_index, codes->group_index, cols * sizeof *rows.group_index);
    }
    if (!in_bytes) {
        BM_TRY(bm_tensor_create(device, BM_DTYPE_U32, count, num_words(linear), "packed codes", &packed, err));
        BM_TRY(bm_pack_codes(device, &codes->codes, codes->bits, &packed, err));
    }
    BM_TRY(in_bytes ? bm_tensor_download(device, &codes->codes, rows.bytes, err)
                    : bm_tensor_download(device, &packed, rows.packed, err));
    BM_TRY(bm_tensor_download(device, &codes->step, rows.steps, err));
    BM_TRY(bm_tensor_download(device, &codes->zero_point, rows.zero_points, err));
    if (linear->grid.nested) {
        BM_TRY(bm_tensor_download(device, &codes->nested.scale, rows.scales, err));
        BM_TRY(bm_tensor_download(device, &codes->nested.unit, rows.units, err));
    }
    if (rows.minimums) {
        BM_TRY(bm_tensor_download(device, &codes->nested.minimum, rows.minimums, err));
        BM_TRY(bm_tensor_download(device, &codes->nested.min_unit, rows.min_units, err));
    }
    BM_TRY(bm_device_wait(device, err));
    *out = rows;
    rows = (bm_store_rows){0};
done:
    bm_tensor_destroy(&packed);
    bm_store_rows_free(&rows);
    return status;
}

static bm_status send_nested(bm_device *device, const bm_store_rows *rows, bm_codes *codes, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_tensor_upload(device, &codes->nested.scale, rows->scales, err));
    BM_TRY(bm_tensor_upload(device, &codes->nested.unit, rows->units, err));
    if (rows->minimums) {
        BM_TRY(bm_tensor_upload(device, &codes->nested.minimum, rows->minimums, err));
        BM_TRY(bm_tensor_upload(device, &codes->nested.min_unit, rows->min_units, err));
    }
    status = bm_codes_multiply_units(device, codes, err);
done:
    return status;
}

bm_status bm_store_send(bm_device *device, const bm_store_linear *linear, bm_store_rows *rows, bm_codes *out,
                        bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor packed = {0};
    bm_codes codes = {0};
    BM_TRY(bm_codes_create(device, rows->count, linear->in_features, &linear->grid, &codes, err));
    if (rows->bytes) {
        BM_TRY(bm_tensor_upload(device, &codes.codes, rows->bytes, err));
    } else {
        BM_TRY(bm_tensor_create(device, BM_DTYPE_U32, rows->count, num_words(linear), "packed codes", &packed, err));
        BM_TRY(bm_tensor_upload(device, &packed, rows->packed, err));
        BM_TRY(bm_unpack_codes(device, &packed, codes.bits, &codes.codes, err));
    }
    BM_TRY(bm_tensor_upload(device, &codes.step, rows->steps, err));
    BM_TRY(bm_tensor_upload(device, &codes.zero_point, rows->zero_points, err));
    if (linear->grid.nested)
        BM_TRY(send_nested(device, rows, &codes, err));
    codes.input = rows->input;
    codes.group_index = rows->group_index;
    rows->group_index = NULL;
    *out = codes;
    codes = (bm_codes){0};
done:
    bm_tensor_destroy(&packed);
    bm_codes_destroy(&codes);
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
