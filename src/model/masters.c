// Masters of a block, and the block that is made from them.
#include "model/masters.h"

#include "ops/elementwise.h"

const bm_gemm_choice bm_masters_choice = {
    .name = "masters", .form = BM_GEMM_ROWS, .group = 64, .slice = 8, .gflops = 1, .reason = "masters in plain rows"};

bm_status bm_masters_load(const bm_model *model, bm_device *device, uint32_t index, bm_dtype dtype, bm_block *out,
                          bm_error *err)
{
    return bm_block_load_with(model, device, index, dtype, &bm_masters_choice, out, err);
}

// *to becomes a copy of from in type dtype; empty where from is.
static bm_status copy_vector(bm_device *device, const bm_tensor *from, bm_dtype dtype, const char *name, bm_tensor *to,
                             bm_error *err)
{
    bm_status status = BM_OK;
    if (!from->view.buffer) {
        bm_tensor_destroy(to);
        return BM_OK;
    }
    if (!to->view.buffer)
        BM_TRY(bm_tensor_create(device, dtype, 1, from->cols, name, to, err));
    BM_TRY(bm_convert(device, from, to, name, err));
done:
    return status;
}

static bm_status copy_weights(bm_device *device, const bm_weights *from, bm_dtype dtype, bm_weights **to, bm_error *err)
{
    bm_status status = BM_OK;
    if (!*to)
        BM_TRY(bm_weights_create(device, from->out_features, from->in_features, dtype, from->name, NULL, to, err));
    for (uint32_t p = 0; p < from->num_parts; p++)
        BM_TRY(bm_weights_set_rows(device, *to, p * from->rows_per_part, &from->parts[p], err));
done:
    return status;
}

bm_status bm_masters_make_block(bm_device *device, const bm_block *masters, bm_dtype dtype, bm_block *out,
                                bm_error *err)
{
    bm_status status = BM_OK;
    char name[BM_TENSOR_NAME_SIZE];
    out->model = masters->model;
    out->index = masters->index;
    out->windowed = masters->windowed;
    for (int i = 0; i < BM_NUM_NORMS; i++) {
        const bm_norm *from = &masters->norms[i];
        bm_norm *to = &out->norms[i];
        if (!from->weight.view.buffer)
            continue;
        bm_norm_name(masters->model->family, masters->index, (bm_norm_id)i, name);
        to->epsilon = from->epsilon;
        to->is_layer_norm = from->is_layer_norm;
        BM_TRY(
            copy_vector(device, &from->weight, bm_norm_dtype(masters->model->family, dtype), name, &to->weight, err));
        BM_TRY(copy_vector(device, &from->bias, dtype, name, &to->bias, err));
    }
    for (int i = 0; i < BM_NUM_LINEARS; i++) {
        if (!masters->linears[i])
            continue;
        BM_TRY(copy_weights(device, masters->linears[i], dtype, &out->linears[i], err));
        BM_TRY(copy_vector(device, &masters->biases[i], dtype, masters->linears[i]->name, &out->biases[i], err));
    }
    for (int i = 0; i < BM_NUM_STAGES; i++) {
        const bm_input_change *from = &masters->changes[i];
        BM_TRY(copy_vector(device, &from->shift, dtype, "input shift", &out->changes[i].shift, err));
        BM_TRY(copy_vector(device, &from->factor, dtype, "input factor", &out->changes[i].factor, err));
    }
done:
    return status;
}
