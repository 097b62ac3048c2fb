// What generation keeps on the device.
#include "infer/resident.h"

#include "base/progress.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"

#define MAX_PART_ELEMENTS ((UINT64_C(1) << 31) - 1) // kernels count elements in 32 bits

// Three quarters of the device's memory may go to weights, those that lie there already included; caches and
// activations take the rest.
static bool blocks_fit(const bm_model *model, bm_device *device, bm_dtype dtype)
{
    const uint64_t memory = bm_device_get_info(device)->limits.memory_bytes;
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < model->config.num_hidden_layers; i++)
        blocks += bm_block_code_bytes(model, device, i, dtype);
    return bm_device_live_bytes(device) + blocks <= memory / 4 * 3;
}

// Rows first .. of the embedding become those of one part.
static bm_status load_part(bm_resident *r, const bm_tensor_info *info, uint64_t first, const bm_tensor *part,
                           bm_error *err)
{
    const uint64_t step = bm_model_rows_per_read(info->shape[1], info->dtype);
    bm_status status = BM_OK;
    for (uint64_t row = 0; row < part->rows && status == BM_OK; row += step) {
        const uint64_t count = bm_min_u64(step, part->rows - row);
        const bm_tensor into = bm_tensor_rows(part, row, count);
        bm_tensor some = {0};
        status = bm_model_read_rows(r->model, r->device, info, first + row, count, &some, err);
        if (status == BM_OK)
            status = bm_tensor_copy(r->device, &some, &into, err);
        bm_tensor_destroy(&some);
    }
    return status;
}

// As few parts as the device's largest allocation allows: every part is a dispatch a token.
static bm_status load_embedding(bm_resident *r, bm_error *err)
{
    const bm_tensor_info *info = bm_checkpoint_find(r->model->checkpoint, r->model->family->layout->embedding);
    const uint64_t rows = info->shape[0], stride = bm_tensor_stride(info->dtype, info->shape[1]);
    const uint64_t most = bm_device_get_info(r->device)->limits.max_allocation_bytes / bm_dtype_size(info->dtype);
    r->embedding_rows_per_part = bm_max_u64(1, bm_min_u64(rows, bm_min_u64(most, MAX_PART_ELEMENTS) / stride));
    const uint64_t parts = bm_divide_up(rows, r->embedding_rows_per_part);
    r->embedding = bm_alloc_zero(parts, sizeof *r->embedding);
    if (!r->embedding)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    r->num_embedding_parts = (uint32_t)parts;
    bm_status status = BM_OK;
    for (uint64_t p = 0; p < parts && status == BM_OK; p++) {
        const uint64_t first = p * r->embedding_rows_per_part;
        status = bm_tensor_create(r->device, info->dtype, bm_min_u64(r->embedding_rows_per_part, rows - first),
                                  info->shape[1], info->name, &r->embedding[p], err);
        if (status == BM_OK)
            status = load_part(r, info, first, &r->embedding[p], err);
    }
    return status;
}

static bm_status report(const bm_model *model, const bm_progress *progress, uint32_t done, bm_error *err)
{
    const bm_progress_report r = {.phase = "load the model",
                                  .done = done,
                                  .total = model->config.num_hidden_layers,
                                  .unit = "blocks",
                                  .seconds_left = -1};
    return bm_progress_tell(progress, &r, err);
}

bm_status bm_resident_create(const bm_model *model, bm_device *device, bm_dtype dtype, const bm_progress *progress,
                             bm_resident **out, bm_error *err)
{
    const bm_hf_config *c = &model->config;
    const bm_family_layout *layout = model->family->layout;
    bm_status status = BM_OK;
    bm_resident *r = bm_alloc_zero(1, sizeof *r);
    BM_FAIL_IF(!r, err, BM_E_MEMORY, "out of memory");
    *r = (bm_resident){.model = model, .device = device, .dtype = dtype};
    BM_TRY(report(model, progress, 0, err));
    BM_TRY(load_embedding(r, err));
    if (layout->embedding_norm)
        BM_TRY(
            bm_norm_load(model, device, layout->embedding_norm, c->hidden_size, BM_DTYPE_F32, &r->embedding_norm, err));
    BM_TRY(bm_model_embedding_factor(model, device, &r->embedding_factor, err));
    BM_TRY(bm_norm_load(model, device, layout->final_norm, c->hidden_size, dtype, &r->final_norm, err));
    BM_TRY(bm_model_load_head_rows(model, device, 0, c->vocab_size, dtype, &r->head, err));
    if (blocks_fit(model, device, dtype)) {
        r->blocks = bm_alloc_zero(c->num_hidden_layers, sizeof *r->blocks);
        BM_FAIL_IF(!r->blocks, err, BM_E_MEMORY, "out of memory");
        for (uint32_t i = 0; i < c->num_hidden_layers; i++) {
            BM_TRY(bm_block_load_codes(model, device, i, dtype, &r->blocks[i], err));
            BM_TRY(report(model, progress, i + 1, err));
        }
    } else {
        bm_log_write(bm_device_log(device), BM_LOG_WARNING,
                     "the model does not fit the memory of %s: blocks are loaded anew for every token, which is slow",
                     bm_device_get_info(device)->name);
    }
    *out = r;
    r = NULL;
done:
    bm_resident_destroy(&r);
    return status;
}

void bm_resident_destroy(bm_resident **resident)
{
    if (!resident || !*resident)
        return;
    bm_resident *r = *resident;
    for (uint32_t i = 0; r->blocks && i < r->model->config.num_hidden_layers; i++)
        bm_block_destroy(&r->blocks[i]);
    for (uint32_t i = 0; i < r->num_embedding_parts; i++)
        bm_tensor_destroy(&r->embedding[i]);
    bm_weights_destroy(&r->head);
    bm_norm_destroy(&r->embedding_norm);
    bm_tensor_destroy(&r->embedding_factor);
    bm_norm_destroy(&r->final_norm);
    bm_free(r->blocks);
    bm_free(r->embedding);
    bm_free(r);
    *resident = NULL;
}

bm_status bm_resident_embed(bm_resident *r, const bm_batch *batch, const bm_tensor *hidden, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t p = 0; p < r->num_embedding_parts && status == BM_OK; p++)
        status = bm_embedding(r->device, batch->ids, &r->embedding[p], (uint32_t)(p * r->embedding_rows_per_part),
                              r->model->config.vocab_size, hidden, err);
    if (status == BM_OK && r->embedding_norm.weight.view.buffer)
        status = bm_norm_apply(r->device, &r->embedding_norm, hidden, hidden, err);
    if (status == BM_OK && r->embedding_factor.view.buffer)
        status = bm_shift_scale(r->device, hidden, NULL, &r->embedding_factor, hidden, err);
    return status;
}
