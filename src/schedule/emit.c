// One linear of the output: rows are read, solved and written a bounded number at a time.
#include "schedule/emit.h"

#include "ops/elementwise.h"

// Matrices of [rows, in_features] float32 that a method which watches needs while it solves rows.
#define SOLVING_MATRICES 10

uint64_t bm_emit_solving_bytes(const bm_device *device)
{
    return bm_min_u64(bm_device_get_info(device)->limits.memory_bytes / 16, UINT64_C(4) << 30);
}

// Rows at once: many for methods whose products want them, else what one read takes.
static uint64_t rows_at_once(const bm_device *device, const bm_emit_solving *solving, uint32_t in_features)
{
    const bm_device_limits *limits = &bm_device_get_info(device)->limits;
    uint64_t rows = bm_model_rows_per_read(in_features, BM_DTYPE_F32);
    if (solving->state) {
        rows = bm_emit_solving_bytes(device) / (SOLVING_MATRICES * 4 * (uint64_t)in_features);
        rows = bm_min_u64(rows, limits->max_allocation_bytes / (4 * (uint64_t)in_features + 16));
    }
    return bm_max_u64(BM_STORE_ROWS, rows / BM_STORE_ROWS * BM_STORE_ROWS);
}

bm_store_linear bm_emit_store_linear(const bm_plan *plan, const bm_plan_linear *p, char module[BM_TENSOR_NAME_SIZE])
{
    return (bm_store_linear){.module = bm_linear_tensor_name(p->block, p->linear, "", module),
                             .out_features = p->out_features,
                             .in_features = p->in_features,
                             .grid = p->grid,
                             .per_channel = p->per_channel,
                             .has_group_index = !p->per_channel && plan->params.act_order == BM_COLUMN_ORDER_DYNAMIC};
}

// What one linear's rows need on the device.
typedef struct emit_work {
    bm_tensor weights, rounded; // [rows_at_once, in_features] float32
    bm_codes codes;
} emit_work;

static bm_status emit_rows(const bm_emit_context *e, const bm_plan_linear *p, const bm_emit_solving *solving,
                           const bm_tensor_info *info, uint64_t first, uint64_t count, const emit_work *work,
                           bm_emit_errors *errors, bm_error *err)
{
    char module[BM_TENSOR_NAME_SIZE];
    const bm_store_linear linear = bm_emit_store_linear(e->plan, p, module);
    const bm_tensor weights = bm_tensor_rows(&work->weights, 0, count);
    const bm_tensor rounded = solving->weights ? bm_tensor_rows(&work->rounded, 0, count) : (bm_tensor){0};
    const bm_codes codes = bm_codes_rows(&work->codes, 0, count);
    const bm_method_rows rows = {.weights = &weights,
                                 .codes = &codes,
                                 .rounded = solving->weights ? &rounded : NULL,
                                 .weight_error = &errors->weight_error,
                                 .weight_norm = &errors->weight_norm,
                                 .output_error = &errors->output_error,
                                 .output_error_rounding = &errors->output_error_rounding};
    const bm_method_params params = bm_plan_method_params(e->plan, p);
    bm_status status = BM_OK;
    bm_tensor stored = {0};
    BM_TRY(bm_model_read_rows(e->model, e->device, info, first, count, &stored, err));
    BM_TRY(bm_convert(e->device, &stored, &weights, info->name, err));
    bm_tensor_destroy(&stored);
    BM_TRY(e->plan->method->solve(solving->multiplier, solving->state, &params, &rows, err));
    BM_TRY(e->plan->format->put(e->device, e->writer, &linear, first, &codes, err));
    if (solving->weights)
        BM_TRY(bm_weights_set_rows(e->device, solving->weights, first, &rounded, err));
done:
    bm_tensor_destroy(&stored);
    return status;
}

bm_status bm_emit_linear(const bm_emit_context *emit, const bm_plan_linear *linear, const bm_emit_solving *solving,
                         bm_emit_errors *errors, bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE];
    const bm_tensor_info *info = bm_checkpoint_find(
        emit->model->checkpoint, bm_linear_tensor_name(linear->block, linear->linear, ".weight", name));
    const uint64_t step = bm_min_u64(rows_at_once(emit->device, solving, linear->in_features), linear->out_features);
    bm_status status = BM_OK;
    emit_work work = {0};
    *errors = (bm_emit_errors){0};
    BM_TRY(bm_tensor_create(emit->device, BM_DTYPE_F32, step, linear->in_features, "weights", &work.weights, err));
    if (solving->weights)
        BM_TRY(bm_tensor_create(emit->device, BM_DTYPE_F32, step, linear->in_features, "rounded weights", &work.rounded,
                                err));
    BM_TRY(bm_codes_create(emit->device, step, linear->in_features, &linear->grid, &work.codes, err));
    work.codes.group_index = solving->group_index;
    for (uint64_t first = 0; first < linear->out_features; first += step) {
        BM_TRY(emit_rows(emit, linear, solving, info, first, bm_min_u64(step, linear->out_features - first), &work,
                         errors, err));
        BM_TRY(bm_phase_step(emit->phase, 0, err));
    }
done:
    bm_tensor_destroy(&work.weights);
    bm_tensor_destroy(&work.rounded);
    work.codes.group_index = NULL; // the group's
    bm_codes_destroy(&work.codes);
    return status;
}
