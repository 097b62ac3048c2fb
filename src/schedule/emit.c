// One linear of the output: rows are read, solved and written a bounded number at a time.
#include "schedule/emit.h"

#include "base/half.h"
#include "store/packed_codes.h"

// Rows at once: a multiple of 32, so that zero points packed along the rows begin at whole words.
static uint64_t rows_at_once(uint32_t in_features)
{
    return bm_max_u64(32, bm_model_rows_per_read(in_features, BM_DTYPE_F32) / 32 * 32);
}

static bm_status put(const bm_emit_context *e, const bm_plan_linear *p, const char *suffix, uint64_t offset,
                     const void *bytes, uint64_t size, bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE];
    return bm_checkpoint_writer_put(e->writer, bm_linear_tensor_name(p->block, p->linear, suffix, name), offset, bytes,
                                    size, err);
}

static bm_status put_words(const bm_emit_context *e, const bm_plan_linear *p, uint64_t first,
                           const bm_quantized_rows *q, bm_error *err)
{
    const uint64_t count = q->rows * q->words_per_row;
    uint8_t *bytes = bm_alloc(count, 4);
    if (!bytes)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < count; i++)
        bm_store_le32(bytes + 4 * i, q->words[i]);
    const bm_status status = put(e, p, ".weight_packed", first * q->words_per_row * 4, bytes, count * 4, err);
    bm_free(bytes);
    return status;
}

// Steps hold values of the stored type already: the conversion is exact.
static bm_status put_scales(const bm_emit_context *e, const bm_plan_linear *p, uint64_t first,
                            const bm_quantized_rows *q, bm_error *err)
{
    const uint64_t count = q->rows * q->groups, size = bm_dtype_size(p->grid.scale_dtype);
    uint8_t *bytes = bm_alloc(count, size);
    if (!bytes)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < count; i++)
        bm_store_real(bytes, p->grid.scale_dtype, i, q->steps[i]);
    const bm_status status = put(e, p, ".weight_scale", first * q->groups * size, bytes, count * size, err);
    bm_free(bytes);
    return status;
}

static bm_status put_zero_points(const bm_emit_context *e, const bm_plan_linear *p, uint64_t first,
                                 const bm_quantized_rows *q, bm_error *err)
{
    const uint64_t words = bm_packed_num_words(q->rows, q->bits) * q->groups;
    bm_status status = BM_OK;
    int8_t *codes = bm_alloc(q->rows * q->groups, 1);
    uint32_t *packed = bm_alloc(words, 4);
    uint8_t *bytes = bm_alloc(words, 4);
    BM_FAIL_IF(!codes || !packed || !bytes, err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < q->rows * q->groups; i++)
        codes[i] = (int8_t)q->zero_points[i];
    bm_packed_columns_encode(codes, q->rows, q->groups, q->bits, packed);
    for (uint64_t i = 0; i < words; i++)
        bm_store_le32(bytes + 4 * i, packed[i]);
    // first is a multiple of 32, so rows before it fill whole words.
    status =
        put(e, p, ".weight_zero_point", bm_packed_num_words(first, q->bits) * q->groups * 4, bytes, words * 4, err);
done:
    bm_free(codes);
    bm_free(packed);
    bm_free(bytes);
    return status;
}

static bm_status put_shape(const bm_emit_context *e, const bm_plan_linear *p, bm_error *err)
{
    uint8_t bytes[16];
    bm_store_le64(bytes, p->out_features);
    bm_store_le64(bytes + 8, p->in_features);
    return put(e, p, ".weight_shape", 0, bytes, sizeof bytes, err);
}

static bm_status emit_rows(const bm_emit_context *e, const bm_plan_linear *p, const bm_tensor_info *info,
                           uint64_t first, uint64_t count, double *error, double *norm, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor rows = {0};
    bm_quantized_rows q = {0};
    BM_TRY(bm_model_read_rows(e->model, e->device, info, first, count, &rows, err));
    BM_TRY(e->plan->method->solve(e->device, &rows, NULL, &p->grid, &q, err));
    BM_TRY(put_words(e, p, first, &q, err));
    BM_TRY(put_scales(e, p, first, &q, err));
    if (!p->grid.symmetric)
        BM_TRY(put_zero_points(e, p, first, &q, err));
    *error += q.error;
    *norm += q.norm;
done:
    bm_tensor_destroy(&rows);
    bm_quantized_rows_free(&q);
    return status;
}

bm_status bm_emit_linear(const bm_emit_context *emit, const bm_plan_linear *linear, double *error, double *norm,
                         bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE];
    const bm_tensor_info *info = bm_checkpoint_find(
        emit->model->checkpoint, bm_linear_tensor_name(linear->block, linear->linear, ".weight", name));
    const uint64_t step = rows_at_once(linear->in_features);
    bm_status status = BM_OK;
    *error = *norm = 0;
    for (uint64_t first = 0; first < linear->out_features && status == BM_OK; first += step) {
        status = emit_rows(emit, linear, info, first, bm_min_u64(step, linear->out_features - first), error, norm, err);
        if (status == BM_OK)
            status = bm_phase_step(emit->phase, 0, err);
    }
    if (status == BM_OK)
        status = put_shape(emit, linear, err);
    return status;
}
