// Norms of a model.
#include "model/norms.h"

#include "ops/elementwise.h"
#include "ops/norm.h"

#include <stdio.h>

bm_status bm_norm_load(const bm_model *model, bm_device *device, const char *module, uint32_t width, bm_dtype dtype,
                       bm_norm *out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_norm norm = {.epsilon = model->config.norm_epsilon, .is_layer_norm = model->family->has_layer_norms};
    char name[BM_TENSOR_NAME_SIZE];
    snprintf(name, sizeof name, "%s.weight", module);
    BM_TRY(bm_model_load_vector(model, device, name, width, dtype, &norm.weight, err));
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
