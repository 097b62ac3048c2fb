// Embeddings of tokens whose ids are known on the host: only the rows that occur are read.
#include "model/norms.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"

#include "base/half.h"

#include <math.h>

// The rows of the embedding matrix that a list of ids names, each once, ascending.
typedef struct rows_used {
    uint32_t *rows;
    uint32_t count;
    uint32_t *places; // by id of the list: its place in rows
} rows_used;

static void rows_used_free(rows_used *used)
{
    bm_free(used->rows);
    bm_free(used->places);
}

static bm_status rows_used_create(const uint32_t *ids, uint32_t count, uint32_t vocabulary, rows_used *out,
                                  bm_error *err)
{
    bm_status status = BM_OK;
    rows_used used = {0};
    uint32_t *place_of_row = bm_alloc_zero(vocabulary, sizeof *place_of_row); // first 1 where a row occurs
    used.rows = bm_alloc(bm_min_u64(count, vocabulary), sizeof *used.rows);
    used.places = bm_alloc(count, sizeof *used.places);
    BM_FAIL_IF(!place_of_row || !used.rows || !used.places, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < count; i++) {
        BM_FAIL_IF(ids[i] >= vocabulary, err, BM_E_ARGUMENT, "token %u has id %u, the model's vocabulary has %u", i,
                   ids[i], vocabulary);
        place_of_row[ids[i]] = 1;
    }
    for (uint32_t row = 0; row < vocabulary; row++)
        if (place_of_row[row]) {
            place_of_row[row] = used.count;
            used.rows[used.count++] = row;
        }
    for (uint32_t i = 0; i < count; i++)
        used.places[i] = place_of_row[ids[i]];
    *out = used;
    used = (rows_used){0};
done:
    rows_used_free(&used);
    bm_free(place_of_row);
    return status;
}

// Reads count listed rows, neighbours in one go, into a tensor of their own.
static bm_status read_listed(const bm_model *model, bm_device *device, const bm_tensor_info *info, const uint32_t *rows,
                             uint32_t count, bm_tensor *out, bm_error *err)
{
    const uint64_t cols = info->shape[1], row_bytes = cols * bm_dtype_size(info->dtype);
    bm_status status = BM_OK;
    bm_tensor table = {0};
    uint8_t *bytes = bm_alloc(count, row_bytes);
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0, run; i < count; i += run) {
        for (run = 1; i + run < count && rows[i + run] == rows[i] + run;)
            run++;
        uint8_t *place = bytes + i * row_bytes;
        BM_TRY(bm_checkpoint_read(model->checkpoint, info, rows[i] * row_bytes, place, run * row_bytes, err));
        BM_TRY(bm_checkpoint_check_finite(info, place, rows[i] * cols, run * cols, err));
    }
    BM_TRY(bm_tensor_create(device, info->dtype, count, cols, info->name, &table, err));
    BM_TRY(bm_tensor_upload(device, &table, bytes, err));
    *out = table;
    table = (bm_tensor){0};
done:
    bm_tensor_destroy(&table);
    bm_free(bytes);
    return status;
}

bm_status bm_model_embedding_factor(const bm_model *model, bm_device *device, bm_tensor *out, bm_error *err)
{
    const bm_hf_config *c = &model->config;
    bm_status status = BM_OK;
    bm_tensor factor = {0};
    float *values = NULL, root = sqrtf((float)c->hidden_size);
    if (!model->family->scales_embedding)
        return BM_OK;
    if (c->dtype == BM_DTYPE_F16)
        root = bm_f16_to_f32(bm_f32_to_f16(root));
    else if (c->dtype == BM_DTYPE_BF16)
        root = bm_bf16_to_f32(bm_f32_to_bf16(root));
    values = bm_alloc(c->hidden_size, sizeof *values);
    BM_FAIL_IF(!values, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < c->hidden_size; i++)
        values[i] = root;
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, c->hidden_size, "factor of embeddings", &factor, err));
    BM_TRY(bm_tensor_upload(device, &factor, values, err));
    *out = factor;
    factor = (bm_tensor){0};
done:
    bm_tensor_destroy(&factor);
    bm_free(values);
    return status;
}

bm_status bm_model_embed(const bm_model *model, bm_device *device, const uint32_t *ids, uint32_t count,
                         const bm_tensor *hidden, bm_error *err)
{
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, model->family->layout->embedding);
    const uint64_t step = bm_model_rows_per_read(info->shape[1], info->dtype);
    bm_status status = BM_OK;
    rows_used used = {0};
    bm_buffer *places = NULL;
    bm_norm norm = {0};
    bm_tensor factor = {0};
    BM_TRY(rows_used_create(ids, count, (uint32_t)info->shape[0], &used, err));
    BM_TRY(bm_buffer_create(device, (uint64_t)count * 4, "rows of the embedding", &places, err));
    BM_TRY(bm_upload(device, bm_buffer_view(places), used.places, (uint64_t)count * 4, err));
    for (uint64_t first = 0; first < used.count && status == BM_OK; first += step) {
        bm_tensor table = {0};
        status = read_listed(model, device, info, used.rows + first, (uint32_t)bm_min_u64(step, used.count - first),
                             &table, err);
        if (status == BM_OK)
            status = bm_embedding(device, bm_buffer_view(places), &table, (uint32_t)first, used.count, hidden, err);
        bm_tensor_destroy(&table);
    }
    BM_TRY(status);
    if (model->family->layout->embedding_norm) {
        BM_TRY(bm_norm_load(model, device, model->family->layout->embedding_norm, (uint32_t)info->shape[1],
                            BM_DTYPE_F32, &norm, err));
        BM_TRY(bm_norm_apply(device, &norm, hidden, hidden, err));
    }
    BM_TRY(bm_model_embedding_factor(model, device, &factor, err));
    if (factor.view.buffer)
        BM_TRY(bm_shift_scale(device, hidden, NULL, &factor, hidden, err));
done:
    bm_tensor_destroy(&factor);
    bm_norm_destroy(&norm);
    bm_buffer_destroy(&places);
    rows_used_free(&used);
    return status;
}
