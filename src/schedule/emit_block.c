// What of a changed block stays float, from its masters.
#include "schedule/emit.h"

#include "base/half.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bool bm_emit_is_of_block(const bm_model *model, const char *name)
{
    const char *blocks = model->family->layout->blocks;
    return strncmp(name, blocks, strlen(blocks)) == 0;
}

// One that the checkpoint has.
static void add_own(const bm_model *model, const bm_plan *plan, const char *module, const char *suffix,
                    bm_emit_tensor *out, uint32_t *count)
{
    bm_emit_tensor *t = &out[*count];
    snprintf(t->name, sizeof t->name, "%s%s", module, suffix);
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, t->name);
    if (!info)
        return;
    t->dtype = bm_emit_stored_dtype(plan, info);
    t->num_dims = info->num_dims;
    for (uint32_t d = 0; d < 2 && d < info->num_dims; d++)
        t->shape[d] = info->shape[d];
    ++*count;
}

// The plan's row of a linear.
static const bm_plan_linear *find_linear(const bm_plan *plan, uint32_t block, bm_linear_id linear)
{
    const bm_plan_linear *first = plan->linears + (size_t)block * plan->linears_per_block;
    while (first->linear != linear)
        first++;
    return first;
}

uint32_t bm_emit_block_tensors(const bm_model *model, const bm_plan *plan, uint32_t block,
                               bm_emit_tensor out[BM_EMIT_MAX_BLOCK_TENSORS])
{
    const bm_family *family = model->family;
    uint32_t count = 0;
    char module[BM_TENSOR_NAME_SIZE];
    bm_fold_added added[BM_FOLD_MAX_ADDED];
    bm_fold_wanted wanted[BM_NUM_STAGES];
    for (bm_norm_id norm = 0; norm < BM_NUM_NORMS; norm++) {
        if (!bm_family_has_norm(family, norm))
            continue;
        bm_norm_name(family, block, norm, module);
        add_own(model, plan, module, ".weight", out, &count);
        if (family->has_layer_norms)
            add_own(model, plan, module, ".bias", out, &count);
    }
    const bm_dtype dtype = out[0].dtype; // of operations and biases that are added
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
        if (!bm_family_has_linear(family, linear))
            continue;
        bm_linear_tensor_name(family, block, linear, "", module);
        if (!find_linear(plan, block, linear)->quantized)
            add_own(model, plan, module, ".weight", out, &count);
        if (bm_linear_has_bias(family, &model->config, linear))
            add_own(model, plan, module, ".bias", out, &count);
    }
    (void)bm_plan_block_folds(plan, block, wanted);
    const uint32_t num_added = bm_fold_added_tensors(model, block, wanted, added);
    for (uint32_t i = 0; i < num_added; i++) {
        bm_emit_tensor *t = &out[count++];
        *t = (bm_emit_tensor){.dtype = dtype, .shape = {added[i].width}, .num_dims = 1};
        snprintf(t->name, sizeof t->name, "%s", added[i].name);
    }
    return count;
}

static const bm_emit_tensor *find_tensor(const bm_emit_tensor *tensors, uint32_t count, const char *module,
                                         const char *suffix)
{
    const size_t length = strlen(module);
    for (uint32_t i = 0; i < count; i++)
        if (strncmp(tensors[i].name, module, length) == 0 && strcmp(tensors[i].name + length, suffix) == 0)
            return &tensors[i];
    return NULL;
}

bm_dtype bm_emit_dtype_of(const bm_emit_tensor *tensors, uint32_t count, const char *module, const char *suffix)
{
    const bm_emit_tensor *found = find_tensor(tensors, count, module, suffix);
    return found ? found->dtype : tensors[0].dtype;
}

// Floats of a tensor from element first on, in its type.
static bm_status put_floats(const bm_emit_context *emit, const bm_emit_tensor *t, uint64_t first, const float *values,
                            uint64_t count, bm_error *err)
{
    const uint64_t size = bm_dtype_size(t->dtype);
    bm_status status = BM_OK;
    uint8_t *bytes = bm_alloc(count, size);
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < count; i++) {
        bm_store_real(bytes, t->dtype, i, values[i]);
        BM_FAIL_IF(!isfinite(bm_load_real(bytes, t->dtype, i)), err, BM_E_NUMERIC,
                   "tensor \"%s\": element %llu became %g, which %s does not hold", t->name,
                   (unsigned long long)(first + i), (double)values[i], bm_dtype_name(t->dtype));
    }
    BM_TRY(bm_emit_put_bytes(emit, t->name, first * size, &bytes, count * size, err));
done:
    bm_free(bytes);
    return status;
}

// vector less so much. Nothing where the output has no such tensor.
static bm_status put_vector(const bm_emit_context *emit, const bm_emit_tensor *t, const bm_tensor *vector, float less,
                            bm_error *err)
{
    bm_status status = BM_OK;
    float *values = NULL;
    if (!t)
        return BM_OK;
    BM_FAIL_IF(!vector->view.buffer, err, BM_E_INTERNAL, "tensor \"%s\": the block has none", t->name);
    values = bm_alloc(vector->cols, sizeof *values);
    BM_FAIL_IF(!values, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_download(emit->device, vector, values, err));
    BM_TRY(bm_device_wait(emit->device, err));
    for (uint64_t i = 0; i < vector->cols; i++)
        values[i] -= less;
    BM_TRY(put_floats(emit, t, 0, values, vector->cols, err));
done:
    bm_free(values);
    return status;
}

static bm_status put_rows(const bm_emit_context *emit, const bm_emit_tensor *t, const bm_linear_rows *rows,
                          bm_error *err)
{
    const uint64_t cols = t->shape[1], piece = bm_min_u64(t->shape[0], bm_model_rows_per_read(cols, BM_DTYPE_F32));
    bm_status status = BM_OK;
    bm_tensor matrix = {0};
    float *values = bm_alloc(piece * cols, sizeof *values);
    BM_FAIL_IF(!values, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(emit->device, BM_DTYPE_F32, piece, cols, "rows", &matrix, err));
    for (uint64_t first = 0; first < t->shape[0]; first += piece) {
        const uint64_t count = bm_min_u64(piece, t->shape[0] - first);
        const bm_tensor part = bm_tensor_rows(&matrix, 0, count);
        BM_TRY(bm_linear_rows_get(emit->device, rows, first, &part, err));
        BM_TRY(bm_tensor_download(emit->device, &part, values, err));
        BM_TRY(bm_device_wait(emit->device, err));
        BM_TRY(put_floats(emit, t, first * cols, values, count * cols, err));
        BM_TRY(bm_phase_step(emit->phase, 0, err));
    }
done:
    bm_tensor_destroy(&matrix);
    bm_free(values);
    return status;
}

static bm_status put_linear(const bm_emit_context *emit, const bm_block *masters, bm_linear_id linear,
                            const bm_emit_tensor *tensors, uint32_t count, bm_error *err)
{
    bm_status status = BM_OK;
    char module[BM_TENSOR_NAME_SIZE];
    bm_linear_tensor_name(emit->model->family, masters->index, linear, "", module);
    const bm_input_change *change = &masters->changes[bm_linear_stage(linear)];
    const bm_emit_tensor *weight = find_tensor(tensors, count, module, ".weight");
    const bm_emit_tensor *bias = find_tensor(tensors, count, module, ".bias");
    const bm_linear_rows rows = bm_block_linear_rows(masters, linear);
    float *values = NULL;
    if (weight)
        BM_TRY(put_rows(emit, weight, &rows, err));
    if (bias) {
        values = bm_alloc(bias->shape[0], sizeof *values);
        BM_FAIL_IF(!values, err, BM_E_MEMORY, "out of memory");
        BM_TRY(bm_linear_bias_get(emit->device, &rows, values, err));
        BM_TRY(put_floats(emit, bias, 0, values, bias->shape[0], err));
    }
    BM_TRY(put_vector(emit, find_tensor(tensors, count, module, ".shift_bias"), &change->shift, 0, err));
    BM_TRY(put_vector(emit, find_tensor(tensors, count, module, ".smooth_weight"), &change->factor, 0, err));
done:
    bm_free(values);
    return status;
}

bm_status bm_emit_block(const bm_emit_context *emit, const bm_block *masters, bm_error *err)
{
    const bm_family *family = emit->model->family;
    bm_emit_tensor tensors[BM_EMIT_MAX_BLOCK_TENSORS];
    const uint32_t count = bm_emit_block_tensors(emit->model, emit->plan, masters->index, tensors);
    const float one = family->adds_one_to_norms ? 1 : 0;
    bm_status status = BM_OK;
    char module[BM_TENSOR_NAME_SIZE];
    for (bm_norm_id norm = 0; norm < BM_NUM_NORMS; norm++) {
        if (!bm_family_has_norm(family, norm))
            continue;
        bm_norm_name(family, masters->index, norm, module);
        BM_TRY(
            put_vector(emit, find_tensor(tensors, count, module, ".weight"), &masters->norms[norm].weight, one, err));
        BM_TRY(put_vector(emit, find_tensor(tensors, count, module, ".bias"), &masters->norms[norm].bias, 0, err));
    }
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++)
        if (bm_family_has_linear(family, linear))
            BM_TRY(put_linear(emit, masters, linear, tensors, count, err));
done:
    return status;
}
