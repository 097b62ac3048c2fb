// Rows of a quantized linear: packed words, scales and zero points from the checkpoint to float weights on the device.
#include "base/half.h"
#include "store/compressed_tensors.h"
#include "store/packed_codes.h"
#include "model/model.h"
#include "ops/elementwise.h"
#include "ops/rounding.h"

#include <string.h>

// The zero points of rows first.. as one int32 a row and group; they are packed along the rows, and first is a multiple
// of 32, so they begin at a whole word.
static bm_status read_zero_points(const bm_model *model, const bm_tensor_info *info, const bm_quantized_layout *layout,
                                  uint64_t first, uint64_t count, int32_t *out, bm_error *err)
{
    const uint64_t groups = info->shape[1], words = bm_packed_num_words(count, layout->bits) * groups;
    bm_status status = BM_OK;
    uint8_t *bytes = bm_alloc(words, 4);
    uint32_t *packed = bm_alloc(words, 4);
    int8_t *codes = bm_alloc(count * groups, 1);
    BM_FAIL_IF(!bytes || !packed || !codes, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_checkpoint_read(model->checkpoint, info, bm_packed_num_words(first, layout->bits) * groups * 4, bytes,
                              words * 4, err));
    for (uint64_t i = 0; i < words; i++)
        packed[i] = bm_load_le32(bytes + 4 * i);
    bm_packed_columns_decode(packed, count, groups, layout->bits, codes);
    for (uint64_t i = 0; i < count * groups; i++)
        out[i] = (int32_t)codes[i]; // NOLINT(bugprone-signed-char-misuse): codes are numbers
done:
    bm_free(bytes);
    bm_free(packed);
    bm_free(codes);
    return status;
}

static bm_status upload_codes(const bm_model *model, bm_device *device, const bm_tensor_info *info,
                              const bm_quantized_layout *layout, uint64_t first, uint64_t count, bm_tensor *out,
                              bm_error *err)
{
    const uint64_t words_per_row = info->shape[1];
    bm_status status = BM_OK;
    bm_tensor words = {0}, codes = {0};
    uint8_t *bytes = bm_alloc(count * words_per_row, 4);
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
    BM_TRY(
        bm_checkpoint_read(model->checkpoint, info, first * words_per_row * 4, bytes, count * words_per_row * 4, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_U32, count, words_per_row, "packed codes", &words, err));
    BM_TRY(bm_tensor_upload(device, &words, bytes, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I8, count, layout->in_features, "codes", &codes, err));
    BM_TRY(bm_unpack_codes(device, &words, layout->bits, &codes, err));
    *out = codes;
    codes = (bm_tensor){0};
done:
    bm_tensor_destroy(&words);
    bm_tensor_destroy(&codes);
    bm_free(bytes);
    return status;
}

// The scales of rows first.. as they are stored. A negative one turns the order of its group's weights round, as some
// writers want it; 0 stands for a group of zeros.
static bm_status upload_scales(const bm_model *model, bm_device *device, const bm_tensor_info *info, uint64_t first,
                               uint64_t count, bm_tensor *out, bm_error *err)
{
    const uint64_t groups = info->shape[1], size = bm_dtype_size(info->dtype);
    bm_status status = BM_OK;
    bm_tensor scales = {0};
    uint8_t *bytes = bm_alloc(count * groups, size);
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_checkpoint_read(model->checkpoint, info, first * groups * size, bytes, count * groups * size, err));
    BM_TRY(bm_model_check_finite(info, bytes, first * groups, count * groups, err));
    BM_TRY(bm_tensor_create(device, info->dtype, count, groups, info->name, &scales, err));
    BM_TRY(bm_tensor_upload(device, &scales, bytes, err));
    *out = scales;
    scales = (bm_tensor){0};
done:
    bm_tensor_destroy(&scales);
    bm_free(bytes);
    return status;
}

bm_status bm_model_dequantize_rows(const bm_model *model, bm_device *device, const bm_tensor_info *packed,
                                   const bm_tensor_info *scale, const bm_tensor_info *zero_point,
                                   const bm_quantized_layout *layout, uint64_t first, uint64_t count,
                                   bm_weights *weights, bm_error *err)
{
    const uint64_t groups = scale->shape[1];
    bm_status status = BM_OK;
    bm_tensor codes = {0}, stored_scales = {0}, steps = {0}, zeros = {0}, rows = {0};
    int32_t *zero_points = bm_alloc_zero(count * groups, sizeof *zero_points);
    BM_FAIL_IF(!zero_points, err, BM_E_MEMORY, "out of memory");
    if (zero_point)
        BM_TRY(read_zero_points(model, zero_point, layout, first, count, zero_points, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I32, count, groups, "zero points", &zeros, err));
    BM_TRY(bm_tensor_upload(device, &zeros, zero_points, err));
    BM_TRY(upload_codes(model, device, packed, layout, first, count, &codes, err));
    BM_TRY(upload_scales(model, device, scale, first, count, &stored_scales, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, count, groups, "steps", &steps, err));
    BM_TRY(bm_convert(device, &stored_scales, &steps, scale->name, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, count, layout->in_features, "weights", &rows, err));
    BM_TRY(bm_dequantize(device, &codes, &steps, &zeros, layout->group_size, &rows, err));
    BM_TRY(bm_weights_set_rows(device, weights, first, &rows, err));
done:
    bm_tensor_destroy(&codes);
    bm_tensor_destroy(&stored_scales);
    bm_tensor_destroy(&steps);
    bm_tensor_destroy(&zeros);
    bm_tensor_destroy(&rows);
    bm_free(zero_points);
    return status;
}
