// Inputs of linears that are quantized where the model runs.
#include "model/inputs.h"

#include "ops/rounding.h"

#include <stdio.h>

static bm_status read_input(const bm_model *model, const char *module, bm_linear_id linear, bm_input_grid *out,
                            bm_error *err)
{
    bm_store_linear stored;
    uint32_t rows, cols;
    bm_linear_shape(&model->config, linear, &rows, &cols);
    *out = (bm_input_grid){0};
    if (!bm_store_match(&model->quantization, model->checkpoint, module, rows, cols, &stored))
        return BM_OK;
    return bm_store_read_input(&model->quantization, model->checkpoint, &stored, out, err);
}

bool bm_model_stage_in_integers(const bm_model *model, uint32_t block, bm_stage stage)
{
    char module[BM_TENSOR_NAME_SIZE];
    bm_store_linear stored;
    uint32_t rows, cols;
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
        if (bm_linear_stage(linear) != stage || !bm_family_has_linear(model->family, linear))
            continue;
        bm_linear_tensor_name(model->family, block, linear, "", module);
        bm_linear_shape(&model->config, linear, &rows, &cols);
        if (!bm_store_match(&model->quantization, model->checkpoint, module, rows, cols, &stored) ||
            stored.input == BM_INPUT_FLOAT || stored.grid.bits != 8 || !stored.grid.symmetric ||
            stored.grid.group_size != cols || cols > BM_INT8_MAX_FEATURES)
            return false;
    }
    return true;
}

bool bm_model_linear_takes_floats(const bm_model *model, uint32_t block, bm_linear_id linear)
{
    char module[BM_TENSOR_NAME_SIZE];
    bm_store_linear stored;
    uint32_t rows, cols;
    bm_linear_tensor_name(model->family, block, linear, "", module);
    bm_linear_shape(&model->config, linear, &rows, &cols);
    return !bm_store_match(&model->quantization, model->checkpoint, module, rows, cols, &stored) ||
           stored.input == BM_INPUT_FLOAT;
}

static const char *describe(const bm_input_grid *grid, char text[48])
{
    if (grid->kind == BM_INPUT_STATIC)
        snprintf(text, 48, "in steps of %.9g", (double)grid->step);
    else
        snprintf(text, 48, "%s", grid->kind == BM_INPUT_FLOAT ? "not quantized" : "in steps of each token's own");
    return text;
}

bm_status bm_model_stage_input(const bm_model *model, uint32_t block, bm_stage stage, bm_input_grid *out, bm_error *err)
{
    char first[BM_TENSOR_NAME_SIZE] = "", module[BM_TENSOR_NAME_SIZE], words[2][48];
    bm_status status = BM_OK;
    *out = (bm_input_grid){0};
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
        bm_input_grid grid;
        if (bm_linear_stage(linear) != stage || !bm_family_has_linear(model->family, linear))
            continue;
        bm_linear_tensor_name(model->family, block, linear, "", module);
        BM_TRY(read_input(model, module, linear, &grid, err));
        if (grid.kind == BM_INPUT_FLOAT) // it reads the matrix before it is quantized
            continue;
        BM_FAIL_IF(first[0] && (grid.kind != out->kind || grid.step != out->step), err, BM_E_FORMAT,
                   "%s: inputs of %s are %s, those of %s %s; expected one kind and step: they are the same matrix",
                   model->folder, first, describe(out, words[0]), module, describe(&grid, words[1]));
        *out = grid;
        if (!first[0])
            snprintf(first, sizeof first, "%s", module);
    }
done:
    return status;
}

bm_status bm_quantize_inputs(bm_device *device, const bm_input_grid *grid, const char *name, const bm_tensor *x,
                             const bm_int8_rows *out, bm_error *err)
{
    const bm_quantize_rows_params params = {
        .name = name, .per_row = grid->kind == BM_INPUT_DYNAMIC, .step = grid->step};
    return bm_quantize_rows(device, x, &params, out, err);
}

bm_status bm_round_inputs(bm_device *device, const bm_input_grid *grid, const char *name, const bm_tensor *x,
                          bm_error *err)
{
    bm_status status = BM_OK;
    bm_int8_rows rows = {0};
    bm_tensor zero_points = {0};
    if (grid->kind == BM_INPUT_FLOAT)
        return BM_OK;
    BM_TRY(bm_int8_rows_create(device, x->rows, x->cols, &rows, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I32, x->rows, 1, "zero points", &zero_points, err));
    BM_TRY(bm_fill(device, zero_points.view, 0, err));
    BM_TRY(bm_quantize_inputs(device, grid, name, x, &rows, err));
    bm_tensor steps = rows.rows; // the first of each row's four numbers
    steps.cols = 1;
    BM_TRY(bm_dequantize(device, &rows.codes, &steps, &zero_points, (uint32_t)x->cols, x, err));
done:
    bm_int8_rows_destroy(&rows);
    bm_tensor_destroy(&zero_points);
    return status;
}
