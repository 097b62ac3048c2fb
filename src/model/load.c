// How tensors of a checkpoint come onto a device: bounded positional reads, a check for NaN and infinity, an upload,
// and for linears the conversion or dequantization into the weights' storage type.
#include "model/model.h"
#include "ops/blocks.h"
#include "ops/elementwise.h"

#include <stdio.h>
#include <string.h>

bool bm_model_decodes_on(const bm_device *device)
{
    return bm_device_kind_is_gpu(bm_device_get_info(device)->kind);
}

bm_status bm_model_decode_rows(const bm_model *model, bm_device *device, const bm_tensor_info *info, uint64_t first,
                               const bm_tensor *rows, bm_error *err)
{
    const bm_gguf_view *view = bm_checkpoint_view(model->checkpoint, info);
    const uint64_t row_bytes = bm_gguf_view_row_bytes(view), size = rows->rows * row_bytes;
    bm_checkpoint_piece piece = {0};
    bm_buffer *buffer = NULL;
    bm_status status = BM_OK;
    BM_TRY(bm_checkpoint_take_blocks(model->checkpoint, info, first, rows->rows, &piece, err));
    BM_TRY(bm_buffer_create(device, bm_round_up(size, BM_VIEW_ALIGNMENT), "blocks", &buffer, err));
    BM_TRY(bm_upload(device, bm_view_part(bm_buffer_view(buffer), 0, size), piece.bytes, size, err));
    BM_TRY(bm_decode_blocks(device, bm_buffer_view(buffer), view->tensor->type, (uint32_t)row_bytes, rows,
                            bm_checkpoint_tensor_name(info), err));
done:
    bm_buffer_destroy(&buffer);
    bm_checkpoint_piece_free(&piece);
    return status;
}

// Rows first .. of a tensor become those of a device tensor of its type.
static bm_status read_into(const bm_model *model, bm_device *device, const bm_tensor_info *info, uint64_t first,
                           const bm_tensor *rows, bm_error *err)
{
    bm_checkpoint_piece piece = {0};
    if (bm_model_decodes_on(device) && bm_checkpoint_has_blocks(model->checkpoint, info))
        return bm_model_decode_rows(model, device, info, first, rows, err);
    bm_status status =
        bm_checkpoint_take(model->checkpoint, info, first * rows->cols, rows->rows * rows->cols, &piece, err);
    if (status == BM_OK)
        status = bm_tensor_upload(device, rows, piece.bytes, err);
    bm_checkpoint_piece_free(&piece);
    return status;
}

bm_status bm_model_read_rows(const bm_model *model, bm_device *device, const bm_tensor_info *info, uint64_t first,
                             uint64_t count, bm_tensor *out, bm_error *err)
{
    const uint64_t cols = info->num_dims == 1 ? info->shape[0] : info->shape[1];
    bm_status status = BM_OK;
    bm_tensor tensor = {0};
    BM_TRY(bm_tensor_create(device, info->dtype, count, cols, info->name, &tensor, err));
    BM_TRY(read_into(model, device, info, first, &tensor, err));
    *out = tensor;
    tensor = (bm_tensor){0};
done:
    bm_tensor_destroy(&tensor);
    return status;
}

bm_status bm_model_load_vector_part(const bm_model *model, bm_device *device, const char *name, uint32_t width,
                                    const bm_vector_part *part, bm_dtype dtype, bm_tensor *out, bm_error *err)
{
    const uint64_t turns = width / part->run, all = turns * part->turn;
    bm_status status = BM_OK;
    bm_tensor stored = {0}, vector = {0};
    uint8_t *bytes = NULL;
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, name);
    BM_FAIL_IF(!info, err, BM_E_FORMAT, "%s: tensor \"%s\" is missing", model->folder, name);
    const uint64_t size = bm_dtype_size(info->dtype), run_bytes = part->run * size;
    bytes = bm_alloc(all, bm_dtype_size(info->dtype));
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_checkpoint_read(model->checkpoint, info, 0, bytes, all * bm_dtype_size(info->dtype), err));
    BM_TRY(bm_checkpoint_check_finite(info, bytes, 0, all, err));
    for (uint64_t t = 0; t < turns; t++) // to the front: nothing is overwritten that is still to come
        memmove(bytes + t * run_bytes, bytes + (t * part->turn + part->offset) * size, run_bytes);
    BM_TRY(bm_tensor_create(device, info->dtype, 1, width, name, &stored, err));
    BM_TRY(bm_tensor_upload(device, &stored, bytes, err));
    BM_TRY(bm_tensor_create(device, dtype, 1, width, name, &vector, err));
    BM_TRY(bm_convert(device, &stored, &vector, name, err));
    *out = vector;
    vector = (bm_tensor){0};
done:
    bm_tensor_destroy(&stored);
    bm_tensor_destroy(&vector);
    bm_free(bytes);
    return status;
}

bm_status bm_model_load_vector(const bm_model *model, bm_device *device, const char *name, uint32_t width,
                               bm_dtype dtype, bm_tensor *out, bm_error *err)
{
    const bm_vector_part whole = {width, width, 0};
    return bm_model_load_vector_part(model, device, name, width, &whole, dtype, out, err);
}

// Rows first.. of a dense tensor become all rows of a linear. The device orders its work, so one tensor serves all pieces.
static bm_status load_dense(const bm_model *model, bm_device *device, const bm_tensor_info *info, uint64_t first,
                            uint64_t rows, const bm_linear_rows *linear, bm_error *err)
{
    const uint64_t step = bm_min_u64(rows, bm_model_rows_per_read(info->shape[1], info->dtype));
    bm_status status = BM_OK;
    bm_tensor piece = {0};
    BM_TRY(bm_tensor_create(device, info->dtype, step, info->shape[1], info->name, &piece, err));
    for (uint64_t row = 0; row < rows; row += step) {
        const bm_tensor part = bm_tensor_rows(&piece, 0, bm_min_u64(step, rows - row));
        BM_TRY(read_into(model, device, info, first + row, &part, err));
        BM_TRY(bm_linear_rows_set(device, linear, row, &part, err));
    }
done:
    bm_tensor_destroy(&piece);
    return status;
}

// Rows first .. of a quantized head, which is read from multiples of BM_STORE_ROWS on.
static bm_status load_quantized_head(const bm_model *model, bm_device *device, const bm_store_linear *head,
                                     uint64_t first, uint64_t count, bm_weights *into, bm_error *err)
{
    const uint64_t step = bm_round_up(bm_model_rows_per_read(head->in_features, BM_DTYPE_F32), BM_STORE_ROWS);
    bm_status status = BM_OK;
    bm_tensor part = {0};
    for (uint64_t row = first / BM_STORE_ROWS * BM_STORE_ROWS; row < first + count; row += step) {
        const uint64_t end = bm_min_u64(row + step, head->out_features), begin = bm_max_u64(row, first);
        BM_TRY(bm_store_read_rows(&model->quantization, model->checkpoint, head, device, row, end - row, &part, err));
        const bm_tensor wanted = bm_tensor_rows(&part, begin - row, bm_min_u64(end, first + count) - begin);
        BM_TRY(bm_weights_set_rows(device, into, begin - first, &wanted, err));
        bm_tensor_destroy(&part);
    }
done:
    bm_tensor_destroy(&part);
    return status;
}

bm_status bm_model_load_head_rows(const bm_model *model, bm_device *device, uint64_t first, uint64_t count,
                                  bm_dtype dtype, bm_weights **out, bm_error *err)
{
    const bm_tensor_info *info = bm_model_head(model);
    bm_store_linear quantized;
    bm_weights *weights = NULL;
    bm_status status = BM_OK;
    BM_TRY(bm_weights_create(device, count, model->config.hidden_size, dtype, info ? info->name : BM_STORE_HEAD, NULL,
                             &weights, err));
    const bm_linear_rows rows = {.parts = {weights}, .num_parts = 1, .runs = {(uint32_t)count}};
    if (bm_model_quantized_head(model, &quantized))
        BM_TRY(load_quantized_head(model, device, &quantized, first, count, weights, err));
    else
        BM_TRY(load_dense(model, device, info, first, count, &rows, err));
    *out = weights;
    weights = NULL;
done:
    bm_weights_destroy(&weights);
    return status;
}

bm_status bm_model_cap_logits(const bm_model *model, bm_device *device, const bm_tensor *logits, bm_error *err)
{
    const float cap = model->config.logit_cap;
    return cap > 0 ? bm_soft_cap(device, logits, cap, logits, err) : BM_OK;
}

static bm_status load_codes(const bm_model *model, bm_device *device, const bm_store_linear *linear, uint64_t first,
                            uint64_t count, const bm_linear_rows *into, bm_error *err)
{
    bm_codes part = {0};
    bm_status status =
        bm_store_read_codes(&model->quantization, model->checkpoint, linear, device, first, count, &part, err);
    if (status == BM_OK && into->code_part)
        status =
            bm_code_weights_set_rows(device, into->code_part, first, &part.codes, &part.step, &part.zero_point, err);
    else if (status == BM_OK)
        status = bm_linear_rows_set_codes(device, into, first, &part.codes, &part.step, err);
    bm_codes_destroy(&part);
    return status;
}

static bm_status load_values(const bm_model *model, bm_device *device, const bm_store_linear *linear, uint64_t first,
                             uint64_t count, const bm_linear_rows *into, bm_error *err)
{
    bm_tensor part = {0};
    bm_status status =
        bm_store_read_rows(&model->quantization, model->checkpoint, linear, device, first, count, &part, err);
    if (status == BM_OK)
        status = bm_linear_rows_set(device, into, first, &part, err);
    bm_tensor_destroy(&part);
    return status;
}

static bm_status load_quantized(const bm_model *model, bm_device *device, const bm_store_linear *linear,
                                const bm_linear_rows *into, bm_error *err)
{
    const uint64_t rows = linear->out_features;
    // Reads start at multiples of the rows whose codes fill whole words, whatever the width.
    const uint64_t step = bm_round_up(bm_model_rows_per_read(linear->in_features, BM_DTYPE_F32), BM_STORE_ROWS);
    bm_status status = BM_OK;
    for (uint64_t first = 0; first < rows && status == BM_OK; first += step) {
        const uint64_t count = bm_min_u64(step, rows - first);
        status = into->int8_parts[0] || into->code_part ? load_codes(model, device, linear, first, count, into, err)
                                                        : load_values(model, device, linear, first, count, into, err);
    }
    return status;
}

bm_status bm_model_load_linear(const bm_model *model, bm_device *device, const char *name, uint64_t out_features,
                               uint64_t in_features, const bm_linear_rows *into, bm_error *err)
{
    bm_store_linear linear;
    char full[BM_TENSOR_NAME_SIZE];
    snprintf(full, sizeof full, "%s.weight", name);
    if (bm_store_match(&model->quantization, model->checkpoint, name, out_features, in_features, &linear))
        return load_quantized(model, device, &linear, into, err);
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, full);
    if (!info)
        return bm_fail(err, BM_E_FORMAT, "%s: tensor \"%s\" is missing", model->folder, full);
    return load_dense(model, device, info, 0, out_features, into, err);
}
