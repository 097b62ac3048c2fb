// One linear of the output: rows are read, solved and written a bounded number at a time.
#include "schedule/emit.h"

#include "ops/elementwise.h"

// Rows at once.
static uint64_t rows_at_once(uint32_t in_features)
{
    const uint64_t rows = bm_model_rows_per_read(in_features, BM_DTYPE_F32);
    return bm_max_u64(BM_STORE_ROWS, rows / BM_STORE_ROWS * BM_STORE_ROWS);
}

bm_store_linear bm_emit_store_linear(const bm_plan_linear *p, char module[BM_TENSOR_NAME_SIZE])
{
    return (bm_store_linear){.module = bm_linear_tensor_name(p->block, p->linear, "", module),
                             .out_features = p->out_features,
                             .in_features = p->in_features,
                             .grid = p->grid,
                             .per_channel = p->per_channel,
                             .has_group_index =
                                 !p->per_channel && bm_plan_method_params(p).act_order == BM_COLUMN_ORDER_DYNAMIC};
}

// What one linear's rows need on the device.
typedef struct emit_work {
    bm_multiplier multiplier;
    bm_tensor weights; // [rows_at_once, in_features] float32
    bm_codes codes;
    double error, norm, output_error, output_error_rounding;
} emit_work;

static bm_status emit_rows(const bm_emit_context *e, const bm_plan_linear *p, const bm_tensor_info *info,
                           uint64_t first, uint64_t count, emit_work *work, bm_error *err)
{
    char module[BM_TENSOR_NAME_SIZE];
    const bm_store_linear linear = bm_emit_store_linear(p, module);
    const bm_tensor weights = bm_tensor_rows(&work->weights, 0, count);
    const bm_codes codes = bm_codes_rows(&work->codes, 0, count);
    const bm_method_rows rows = {.weights = &weights,
                                 .codes = &codes,
                                 .weight_error = &work->error,
                                 .weight_norm = &work->norm,
                                 .output_error = &work->output_error,
                                 .output_error_rounding = &work->output_error_rounding};
    const bm_method_params params = bm_plan_method_params(p);
    bm_status status = BM_OK;
    bm_tensor stored = {0};
    BM_TRY(bm_model_read_rows(e->model, e->device, info, first, count, &stored, err));
    BM_TRY(bm_convert(e->device, &stored, &weights, info->name, err));
    BM_TRY(e->plan->method->solve(&work->multiplier, NULL, &params, &rows, err));
    BM_TRY(e->plan->format->put(e->device, e->writer, &linear, first, &codes, err));
done:
    bm_tensor_destroy(&stored);
    return status;
}

bm_status bm_emit_linear(const bm_emit_context *emit, const bm_plan_linear *linear, double *error, double *norm,
                         bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE];
    const bm_tensor_info *info = bm_checkpoint_find(
        emit->model->checkpoint, bm_linear_tensor_name(linear->block, linear->linear, ".weight", name));
    const uint64_t step = bm_min_u64(rows_at_once(linear->in_features), linear->out_features);
    bm_status status = BM_OK;
    emit_work work = {0};
    bm_multiplier_init(&work.multiplier, emit->device);
    BM_TRY(bm_tensor_create(emit->device, BM_DTYPE_F32, step, linear->in_features, "weights", &work.weights, err));
    BM_TRY(bm_codes_create(emit->device, step, linear->in_features, &linear->grid, &work.codes, err));
    for (uint64_t first = 0; first < linear->out_features; first += step) {
        BM_TRY(emit_rows(emit, linear, info, first, bm_min_u64(step, linear->out_features - first), &work, err));
        BM_TRY(bm_phase_step(emit->phase, 0, err));
    }
    *error = work.error;
    *norm = work.norm;
done:
    bm_tensor_destroy(&work.weights);
    bm_codes_destroy(&work.codes);
    bm_multiplier_free(&work.multiplier);
    return status;
}
