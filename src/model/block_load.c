// Loading a block.
#include "model/block.h"

#include "model/added.h"
#include "model/inputs.h"

bm_linear_rows bm_block_linear_rows(const bm_block *block, bm_linear_id linear)
{
    bm_linear_id parts[BM_MAX_LINEAR_PARTS];
    bm_linear_rows rows = {.num_parts = bm_linear_parts(linear, parts)};
    bm_linear_runs(block->model->family, &block->model->config, linear, rows.runs);
    for (uint32_t p = 0; p < rows.num_parts; p++) {
        rows.parts[p] = block->linears[parts[p]];
        rows.int8_parts[p] = block->int8_linears[parts[p]];
        rows.code_part = block->code_linears[parts[p]];
        rows.biases[p] = &block->biases[parts[p]];
    }
    return rows;
}

// Whether the checkpoint has a linear as codes that may stay so; those of columns that name their groups are looked at later.
static bool has_codes(const bm_model *model, const bm_device *device, uint32_t block, bm_linear_id linear,
                      const char *module, bm_store_linear *out)
{
    bm_linear_id parts[BM_MAX_LINEAR_PARTS];
    uint32_t rows, cols;
    bm_linear_shape(&model->config, linear, &rows, &cols);
    return bm_code_weights_pay(device) && bm_linear_parts(linear, parts) == 1 &&
           !bm_model_stage_in_integers(model, block, bm_linear_stage(linear)) &&
           bm_store_match(&model->quantization, model->checkpoint, module, rows, cols, out) &&
           bm_code_weights_can(device, rows, cols, out->grid.bits, out->grid.group_size);
}

// Creates a linear's memory for codes; *out stays NULL where it is to be weights.
static bm_status create_codes(const bm_block *block, bm_device *device, bm_linear_id linear, const char *module,
                              bm_code_weights **out, bm_error *err)
{
    const bm_model *model = block->model;
    bm_store_linear stored;
    bm_codes some = {0};
    bm_status status = BM_OK;
    if (!has_codes(model, device, block->index, linear, module, &stored))
        return BM_OK;
    if (stored.has_group_index) {
        BM_TRY(bm_store_read_codes(&model->quantization, model->checkpoint, &stored, device, 0,
                                   bm_min_u64(BM_STORE_ROWS, stored.out_features), &some, err));
        if (some.group_index)
            goto done; // another order than the columns'
    }
    BM_TRY(bm_code_weights_create(device, stored.out_features, stored.in_features, stored.grid.bits,
                                  stored.grid.group_size, stored.grid.symmetric, module, out, err));
done:
    bm_codes_destroy(&some);
    return status;
}

// One linear of the checkpoint: weights and biases of the linears that it consists of.
static bm_status load_linear(bm_block *block, bm_device *device, bm_linear_id linear, bm_dtype dtype,
                             const bm_gemm_choice *choice, bool keeps_codes, bm_error *err)
{
    const bm_model *model = block->model;
    const bool in_integers = block->in_integers[bm_linear_stage(linear)];
    const bool has_bias = bm_model_linear_has_bias(model, block->index, linear);
    uint32_t rows, cols, runs[BM_MAX_LINEAR_PARTS], turn = 0, offset = 0;
    bm_linear_id parts[BM_MAX_LINEAR_PARTS];
    const uint32_t num_parts = bm_linear_parts(linear, parts);
    bm_linear_runs(model->family, &model->config, linear, runs);
    for (uint32_t p = 0; p < num_parts; p++)
        turn += runs[p];
    bm_status status = BM_OK;
    char module[BM_TENSOR_NAME_SIZE], bias[BM_TENSOR_NAME_SIZE];
    bm_linear_tensor_name(model->family, block->index, linear, "", module);
    bm_linear_tensor_name(model->family, block->index, linear, ".bias", bias);
    if (keeps_codes)
        BM_TRY(create_codes(block, device, linear, module, &block->code_linears[parts[0]], err));
    for (uint32_t p = 0; p < num_parts; offset += runs[p++]) {
        bm_linear_shape(&model->config, parts[p], &rows, &cols);
        const bm_vector_part part = {runs[p], turn, offset};
        block->takes_floats[parts[p]] = block->inputs[bm_linear_stage(linear)].kind != BM_INPUT_FLOAT &&
                                        bm_model_linear_takes_floats(model, block->index, linear);
        if (in_integers)
            BM_TRY(bm_int8_weights_create(device, rows, cols, module, NULL, &block->int8_linears[parts[p]], err));
        else if (!block->code_linears[parts[p]])
            BM_TRY(bm_weights_create(device, rows, cols, dtype, module, choice, &block->linears[parts[p]], err));
        if (has_bias)
            BM_TRY(bm_model_load_vector_part(model, device, bias, rows, &part, dtype, &block->biases[parts[p]], err));
    }
    const bm_linear_rows into = bm_block_linear_rows(block, linear);
    bm_linear_shape(&model->config, linear, &rows, &cols);
    BM_TRY(bm_model_load_linear(model, device, module, rows, cols, &into, err));
done:
    return status;
}

// What a fold has put before o or down: *out stays empty where it has put nothing there.
static bm_status load_operation(const bm_block *block, bm_device *device, bm_stage stage, const char *suffix,
                                bm_dtype dtype, bm_tensor *out, bm_error *err)
{
    const bm_model *model = block->model;
    uint32_t rows, cols;
    char module[BM_TENSOR_NAME_SIZE];
    bm_linear_shape(&model->config, bm_stage_linear(stage), &rows, &cols);
    bm_linear_tensor_name(model->family, block->index, bm_stage_linear(stage), "", module);
    const bm_tensor_info *info = bm_model_added(model, module, suffix);
    return info ? bm_model_load_vector(model, device, info->name, cols, dtype, out, err) : BM_OK;
}

static bm_status load_changes(bm_block *block, bm_device *device, bm_dtype dtype, bm_error *err)
{
    bm_status status = BM_OK;
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        if (bm_norm_of_stage(stage) != BM_NUM_NORMS)
            continue;
        bm_input_change *change = &block->changes[stage];
        BM_TRY(load_operation(block, device, stage, BM_ADDED_SHIFT, dtype, &change->shift, err));
        BM_TRY(load_operation(block, device, stage, BM_ADDED_FACTOR, dtype, &change->factor, err));
    }
done:
    return status;
}

bm_status bm_block_load(const bm_model *model, bm_device *device, uint32_t index, bm_dtype dtype, bm_block *out,
                        bm_error *err)
{
    return bm_block_load_with(model, device, index, dtype, NULL, out, err);
}

static bm_status load(const bm_model *model, bm_device *device, uint32_t index, bm_dtype dtype,
                      const bm_gemm_choice *choice, bool keeps_codes, bm_block *out, bm_error *err)
{
    const bm_hf_config *config = &model->config;
    bm_status status = BM_OK;
    bm_block block = {.model = model, .index = index, .windowed = bm_hf_config_is_windowed(config, index)};
    char name[BM_TENSOR_NAME_SIZE];
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        BM_TRY(bm_model_stage_input(model, index, stage, &block.inputs[stage], err));
        block.in_integers[stage] = !choice && bm_model_stage_in_integers(model, index, stage);
    }
    for (bm_norm_id norm = 0; norm < BM_NUM_NORMS; norm++)
        if (bm_family_has_norm(model->family, norm))
            BM_TRY(bm_norm_load(model, device, bm_norm_name(model->family, index, norm, name),
                                bm_norm_width(config, norm), dtype, &block.norms[norm], err));
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++)
        if (bm_family_has_linear(model->family, linear))
            BM_TRY(load_linear(&block, device, linear, dtype, choice, keeps_codes, err));
    BM_TRY(load_changes(&block, device, dtype, err));
    *out = block;
done:
    if (status != BM_OK)
        bm_block_destroy(&block);
    return status;
}

bm_status bm_block_load_with(const bm_model *model, bm_device *device, uint32_t index, bm_dtype dtype,
                             const bm_gemm_choice *choice, bm_block *out, bm_error *err)
{
    return load(model, device, index, dtype, choice, false, out, err);
}

bm_status bm_block_load_codes(const bm_model *model, bm_device *device, uint32_t index, bm_dtype dtype, bm_block *out,
                              bm_error *err)
{
    return load(model, device, index, dtype, NULL, true, out, err);
}

void bm_block_destroy(bm_block *block)
{
    for (int i = 0; i < BM_NUM_NORMS; i++)
        bm_norm_destroy(&block->norms[i]);
    for (int i = 0; i < BM_NUM_LINEARS; i++) {
        bm_weights_destroy(&block->linears[i]);
        bm_int8_weights_destroy(&block->int8_linears[i]);
        bm_code_weights_destroy(&block->code_linears[i]);
        bm_tensor_destroy(&block->biases[i]);
    }
    for (int i = 0; i < BM_NUM_STAGES; i++) {
        bm_tensor_destroy(&block->changes[i].shift);
        bm_tensor_destroy(&block->changes[i].factor);
    }
    *block = (bm_block){0};
}

static uint64_t count_bytes(const bm_model *model, bm_device *device, uint32_t index, bm_dtype dtype, bool keeps_codes)
{
    uint64_t bytes = 0;
    char module[BM_TENSOR_NAME_SIZE];
    bm_store_linear stored;
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
        uint32_t out_features, in_features;
        if (!bm_family_has_linear(model->family, linear))
            continue;
        bm_linear_shape(&model->config, linear, &out_features, &in_features);
        bm_linear_tensor_name(model->family, index, linear, "", module);
        if (keeps_codes && has_codes(model, device, index, linear, module, &stored) && !stored.has_group_index)
            bytes += bm_code_weights_bytes(out_features, in_features, stored.grid.bits, stored.grid.group_size,
                                           stored.grid.symmetric);
        else
            bytes += bm_model_stage_in_integers(model, index, bm_linear_stage(linear))
                         ? bm_int8_weights_bytes(device, out_features, in_features)
                         : (uint64_t)out_features * in_features * bm_dtype_size(dtype);
    }
    return bytes;
}

uint64_t bm_block_bytes(const bm_model *model, bm_device *device, uint32_t index, bm_dtype dtype)
{
    return count_bytes(model, device, index, dtype, false);
}

uint64_t bm_block_code_bytes(const bm_model *model, bm_device *device, uint32_t index, bm_dtype dtype)
{
    return count_bytes(model, device, index, dtype, true);
}
