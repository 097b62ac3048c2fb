// Norms of a model.
#include "model/norms.h"

#include "base/half.h"
#include "ops/elementwise.h"
#include "ops/norm.h"

#include <stdio.h>

bm_dtype bm_norm_dtype(const bm_family *family, bm_dtype dtype)
{
    return family->adds_one_to_norms && dtype != BM_DTYPE_F64 ? BM_DTYPE_F32 : dtype;
}

// weight + 1, in a type that does not round it to 16 bits.
static bm_status load_with_one(const bm_model *model, bm_device *device, const char *name, uint32_t width,
                               bm_dtype dtype, bm_tensor *out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor weight = {0};
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, name);
    double *values = bm_alloc(width, sizeof *values);
    uint8_t *bytes = NULL;
    BM_FAIL_IF(!values, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(!info, err, BM_E_FORMAT, "%s: tensor \"%s\" is missing", model->folder, name);
    bytes = bm_alloc(width, bm_dtype_size(info->dtype));
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_checkpoint_read(model->checkpoint, info, 0, bytes, (uint64_t)width * bm_dtype_size(info->dtype), err));
    BM_TRY(bm_checkpoint_check_finite(info, bytes, 0, width, err));
    for (uint32_t i = 0; i < width; i++)
        if (dtype == BM_DTYPE_F64)
            values[i] = 1 + (double)bm_load_real(bytes, info->dtype, i);
        else
            ((float *)values)[i] = 1 + bm_load_real(bytes, info->dtype, i);
    BM_TRY(bm_tensor_create(device, dtype, 1, width, name, &weight, err));
    BM_TRY(bm_tensor_upload(device, &weight, values, err));
    *out = weight;
    weight = (bm_tensor){0};
done:
    bm_tensor_destroy(&weight);
    bm_free(bytes);
    bm_free(values);
    return status;
}

bm_status bm_norm_load(const bm_model *model, bm_device *device, const char *module, uint32_t width, bm_dtype dtype,
                       bm_norm *out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_norm norm = {.epsilon = model->config.norm_epsilon, .is_layer_norm = model->family->has_layer_norms};
    char name[BM_TENSOR_NAME_SIZE];
    snprintf(name, sizeof name, "%s.weight", module);
    const bm_dtype stored = bm_norm_dtype(model->family, dtype);
    BM_TRY(model->family->adds_one_to_norms
               ? load_with_one(model, device, name, width, stored, &norm.weight, err)
               : bm_model_load_vector(model, device, name, width, stored, &norm.weight, err));
    snprintf(name, sizeof name, "%s.bias", module);
    if (bm_model_norm_has_bias(model, module))
        BM_TRY(bm_model_load_vector(model, device, name, width, dtype, &norm.bias, err));
    *out = norm;
done:
    if (status != BM_OK)
        bm_norm_destroy(&norm);
    return status;
}

void bm_norm_destroy(bm_norm *norm)
{
    bm_tensor_destroy(&norm->weight);
    bm_tensor_destroy(&norm->bias);
    *norm = (bm_norm){0};
}

bm_status bm_norm_apply(bm_device *device, const bm_norm *norm, const bm_tensor *x, const bm_tensor *y, bm_error *err)
{
    if (norm->is_layer_norm)
        return bm_layernorm(device, x, &norm->weight, &norm->bias, norm->epsilon, y, err);
    const bm_status status = bm_rmsnorm(device, x, &norm->weight, norm->epsilon, y, err);
    return status == BM_OK && norm->bias.view.buffer ? bm_shift_scale(device, y, &norm->bias, NULL, y, err) : status;
}
