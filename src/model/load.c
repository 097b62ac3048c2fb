// How tensors of a checkpoint come onto a device: bounded positional reads, a check for NaN and infinity, an upload,
// and for linears the conversion or dequantization into the weights' storage type.
#include "model/model.h"
#include "ops/elementwise.h"
#include "ops/rounding.h"

#include <stdio.h>
#include <string.h>

// Whether one of count elements is NaN or infinite: has all bits of its exponent set. Those lie in its last two bytes, in
// every real type; exponent holds them as they lie in the file, so the machine's byte order does not matter. In blocks and
// without a branch an element, because every weight of a model passes here.
static bool any_not_finite(const uint8_t *bytes, uint64_t count, uint32_t words_each, const uint8_t exponent[2])
{
    enum { BLOCK = 8192 };
    uint16_t mask, words[BLOCK];
    uint32_t found = 0;
    memcpy(&mask, exponent, sizeof mask);
    for (uint64_t first = 0, all = count * words_each; first < all && !found; first += BLOCK) {
        const uint32_t n = (uint32_t)bm_min_u64(BLOCK, all - first);
        memcpy(words, bytes + first * sizeof *words, n * sizeof *words);
        for (uint32_t i = words_each - 1; i < n; i += words_each)
            found |= (words[i] & mask) == mask;
    }
    return found != 0;
}

static bool holds_not_finite(const uint8_t *bytes, uint64_t count, bm_dtype dtype)
{
    switch ((int)dtype) {
    case BM_DTYPE_F16:
        return any_not_finite(bytes, count, 1, (const uint8_t[]){0x00, 0x7c});
    case BM_DTYPE_BF16:
        return any_not_finite(bytes, count, 1, (const uint8_t[]){0x80, 0x7f});
    case BM_DTYPE_F32:
        return any_not_finite(bytes, count, 2, (const uint8_t[]){0x80, 0x7f});
    default:
        return false;
    }
}

bm_status bm_model_check_finite(const bm_tensor_info *info, const uint8_t *bytes, uint64_t first, uint64_t count,
                                bm_error *err)
{
    const uint32_t size = bm_dtype_size(info->dtype);
    if (!holds_not_finite(bytes, count, info->dtype))
        return BM_OK;
    for (uint64_t i = 0; i < count; i++) // which one?
        if (holds_not_finite(bytes + i * size, 1, info->dtype))
            return bm_fail(err, BM_E_FORMAT,
                           "%s: tensor \"%s\": NaN or infinity at element %llu, expected finite weights",
                           bm_checkpoint_file_name(info), info->name, (unsigned long long)(first + i));
    return BM_OK;
}

bm_status bm_model_read_rows(const bm_model *model, bm_device *device, const bm_tensor_info *info, uint64_t first,
                             uint64_t count, bm_tensor *out, bm_error *err)
{
    const uint64_t cols = info->num_dims == 1 ? info->shape[0] : info->shape[1];
    const uint64_t size = bm_dtype_size(info->dtype);
    bm_status status = BM_OK;
    bm_tensor tensor = {0};
    uint8_t *bytes = bm_alloc(count * cols, size);
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_checkpoint_read(model->checkpoint, info, first * cols * size, bytes, count * cols * size, err));
    BM_TRY(bm_model_check_finite(info, bytes, first * cols, count * cols, err));
    BM_TRY(bm_tensor_create(device, info->dtype, count, cols, info->name, &tensor, err));
    BM_TRY(bm_tensor_upload(device, &tensor, bytes, err));
    *out = tensor;
    tensor = (bm_tensor){0};
done:
    bm_tensor_destroy(&tensor);
    bm_free(bytes);
    return status;
}

bm_status bm_model_load_vector(const bm_model *model, bm_device *device, const char *name, uint32_t width,
                               bm_dtype dtype, bm_tensor *out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor stored = {0}, vector = {0};
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, name);
    BM_FAIL_IF(!info, err, BM_E_FORMAT, "%s: tensor \"%s\" is missing", model->folder, name);
    BM_TRY(bm_model_read_rows(model, device, info, 0, 1, &stored, err));
    BM_TRY(bm_tensor_create(device, dtype, 1, width, name, &vector, err));
    BM_TRY(bm_convert(device, &stored, &vector, name, err));
    *out = vector;
    vector = (bm_tensor){0};
done:
    bm_tensor_destroy(&stored);
    bm_tensor_destroy(&vector);
    return status;
}

// Rows first.. of a dense tensor become all rows of weights.
static bm_status load_dense(const bm_model *model, bm_device *device, const bm_tensor_info *info, uint64_t first,
                            bm_weights *weights, bm_error *err)
{
    const uint64_t rows = weights->out_features, step = bm_model_rows_per_read(info->shape[1], info->dtype);
    bm_status status = BM_OK;
    for (uint64_t row = 0; row < rows && status == BM_OK; row += step) {
        bm_tensor part = {0};
        status = bm_model_read_rows(model, device, info, first + row, bm_min_u64(step, rows - row), &part, err);
        if (status == BM_OK)
            status = bm_weights_set_rows(device, weights, row, &part, err);
        bm_tensor_destroy(&part);
    }
    return status;
}

bm_status bm_model_load_head_rows(const bm_model *model, bm_device *device, uint64_t first, uint64_t count,
                                  bm_dtype dtype, bm_weights **out, bm_error *err)
{
    const bm_tensor_info *info = bm_model_head(model);
    bm_weights *weights = NULL;
    bm_status status = BM_OK;
    BM_TRY(bm_weights_create(device, count, info->shape[1], dtype, info->name, NULL, &weights, err));
    BM_TRY(load_dense(model, device, info, first, weights, err));
    *out = weights;
    weights = NULL;
done:
    bm_weights_destroy(&weights);
    return status;
}

// The tensors of one quantized linear, by compressed-tensors' names.
typedef struct quantized_linear {
    const bm_tensor_info *packed, *scale, *zero_point; // zero_point NULL: symmetric
    bm_quantized_layout layout;
} quantized_linear;

static bm_status find_part(const bm_model *model, const char *name, const char *suffix, const bm_tensor_info **out,
                           bm_error *err)
{
    char full[BM_TENSOR_NAME_SIZE];
    snprintf(full, sizeof full, "%s%s", name, suffix);
    *out = bm_checkpoint_find(model->checkpoint, full);
    return *out ? BM_OK : bm_fail(err, BM_E_FORMAT, "%s: tensor \"%s\" is missing", model->folder, full);
}

static bm_status load_quantized(const bm_model *model, bm_device *device, const char *name,
                                const bm_compressed_tensors_scheme *scheme, uint32_t out_features, uint32_t in_features,
                                bm_weights *weights, bm_error *err)
{
    bm_status status = BM_OK;
    quantized_linear q = {0};
    BM_TRY(find_part(model, name, ".weight_packed", &q.packed, err));
    BM_TRY(find_part(model, name, ".weight_scale", &q.scale, err));
    if (!scheme->symmetric)
        BM_TRY(find_part(model, name, ".weight_zero_point", &q.zero_point, err));
    q.layout = (bm_quantized_layout){.bits = scheme->num_bits,
                                     .out_features = out_features,
                                     .in_features = in_features,
                                     .group_size = scheme->group_size > 0 ? (uint32_t)scheme->group_size : in_features};
    // Zero points are packed along the rows: reads start at multiples of 32 rows, which every width divides.
    const uint64_t step = bm_round_up(bm_model_rows_per_read(in_features, BM_DTYPE_F32), 32);
    for (uint64_t first = 0; first < out_features; first += step)
        BM_TRY(bm_model_dequantize_rows(model, device, q.packed, q.scale, q.zero_point, &q.layout, first,
                                        bm_min_u64(step, out_features - first), weights, err));
done:
    return status;
}

bm_status bm_model_load_linear(const bm_model *model, bm_device *device, const char *name, uint32_t out_features,
                               uint32_t in_features, bm_dtype dtype, bm_weights **out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_weights *weights = NULL;
    char full[BM_TENSOR_NAME_SIZE];
    snprintf(full, sizeof full, "%s.weight", name);
    BM_TRY(bm_weights_create(device, out_features, in_features, dtype, full, NULL, &weights, err));
    const bm_compressed_tensors_scheme *scheme =
        model->scheme ? bm_compressed_tensors_match(model->scheme, name) : NULL;
    if (scheme) {
        BM_TRY(load_quantized(model, device, name, scheme, out_features, in_features, weights, err));
    } else {
        const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, full);
        BM_FAIL_IF(!info, err, BM_E_FORMAT, "%s: tensor \"%s\" is missing", model->folder, full);
        BM_TRY(load_dense(model, device, info, 0, weights, err));
    }
    *out = weights;
    weights = NULL;
done:
    bm_weights_destroy(&weights);
    return status;
}
