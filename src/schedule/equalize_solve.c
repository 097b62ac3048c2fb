// Solving the linears of an equalized block that watched all that it needs: by their weights alone, or by sums of products of their
// inputs too; and how far their outputs then are from the float block's.
#include "ops/elementwise.h"
#include "ops/gemm_int8.h"
#include "schedule/equalize.h"
#include "schedule/group.h"

#include <math.h>

// The sample of a stage, as its linears read it.
typedef struct sample {
    bm_tensor inputs;               // [tokens, channels] float32, shifted and scaled
    bm_tensor rounded;              // the values of their codes; not there where inputs are not quantized
    uint64_t saturated;             // of inputs
    bm_tensor want[BM_NUM_LINEARS]; // [tokens, out_features]: by linear of the block
    bm_tensor sums;
    bm_output_sums by_weights[BM_NUM_LINEARS], by_inputs[BM_NUM_LINEARS], by_both[BM_NUM_LINEARS];
} sample;

static void free_sample(sample *s)
{
    bm_tensor_destroy(&s->inputs);
    bm_tensor_destroy(&s->rounded);
    bm_tensor_destroy(&s->sums);
    for (int i = 0; i < BM_NUM_LINEARS; i++)
        bm_tensor_destroy(&s->want[i]);
}

bm_status bm_equalizer_upload_vector(bm_device *device, const double *values, uint32_t channels, bool inverse,
                                     bm_tensor *out, bm_error *err)
{
    bm_status status = BM_OK;
    float *host = NULL;
    if (!values)
        return BM_OK;
    host = bm_alloc(channels, sizeof *host);
    BM_FAIL_IF(!host, err, BM_E_MEMORY, "out of memory");
    for (uint32_t c = 0; c < channels; c++)
        host[c] = (float)(inverse ? 1 / values[c] : -values[c]);
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, channels, "change of inputs", out, err));
    BM_TRY(bm_tensor_upload(device, out, host, err));
done:
    bm_free(host);
    return status;
}

static bm_status count_saturated(bm_device *device, const bm_int8_rows *rows, uint64_t *out, bm_error *err)
{
    bm_status status = BM_OK;
    float *host = bm_alloc(4 * rows->rows.rows, sizeof *host);
    BM_FAIL_IF(!host, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_download(device, &rows->rows, host, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint64_t t = 0; t < rows->rows.rows; t++)
        *out += (uint64_t)host[4 * t + 2];
done:
    bm_free(host);
    return status;
}

static bm_status round_sample(bm_device *device, const bm_equalized_stage *stage, sample *s, bm_error *err)
{
    bm_status status = BM_OK;
    bm_int8_rows rows = {0};
    bm_tensor zeros = {0};
    const bm_quantize_rows_params params = {
        .name = "sample of inputs", .per_row = stage->input.kind == BM_INPUT_DYNAMIC, .step = stage->input.step};
    BM_TRY(bm_int8_rows_create(device, s->inputs.rows, s->inputs.cols, &rows, err));
    BM_TRY(bm_quantize_rows(device, &s->inputs, &params, &rows, err));
    BM_TRY(count_saturated(device, &rows, &s->saturated, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, s->inputs.rows, s->inputs.cols, "rounded inputs", &s->rounded, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I32, s->inputs.rows, 1, "zero points", &zeros, err));
    BM_TRY(bm_fill(device, zeros.view, 0, err));
    bm_tensor steps = rows.rows; // the first of each row's four numbers
    steps.cols = 1;
    BM_TRY(bm_dequantize(device, &rows.codes, &steps, &zeros, (uint32_t)s->inputs.cols, &s->rounded, err));
done:
    bm_int8_rows_destroy(&rows);
    bm_tensor_destroy(&zeros);
    return status;
}

static bm_status make_sample(bm_device *device, const bm_equalized_stage *stage, sample *s, bm_error *err)
{
    const bm_tensor *all = &stage->watched.sample;
    bm_status status = BM_OK;
    bm_tensor shift = {0}, factor = {0};
    if (!all->view.buffer)
        return BM_OK;
    const bm_tensor part = bm_tensor_rows(all, 0, bm_min_u64(all->rows, BM_MEASURED_TOKENS)), *taken = &part;
    BM_TRY(bm_equalizer_upload_vector(device, stage->shift, stage->channels, false, &shift, err));
    BM_TRY(bm_equalizer_upload_vector(device, stage->scale, stage->channels, true, &factor, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, taken->rows, taken->cols, "inputs", &s->inputs, err));
    if (stage->shift || stage->scale)
        BM_TRY(bm_shift_scale(device, taken, stage->shift ? &shift : NULL, stage->scale ? &factor : NULL, &s->inputs,
                              err));
    else
        BM_TRY(bm_convert(device, taken, &s->inputs, "sample of inputs", err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, taken->rows, 4, "sums", &s->sums, err));
    if (stage->input.kind != BM_INPUT_FLOAT)
        BM_TRY(round_sample(device, stage, s, err));
done:
    bm_tensor_destroy(&shift);
    bm_tensor_destroy(&factor);
    return status;
}

// Adds the errors of x W^T beside the outputs that are wanted.
static bm_status add_errors(bm_device *device, sample *s, bm_linear_id linear, const bm_tensor *x, const bm_weights *w,
                            bm_output_sums *out, bm_error *err)
{
    const bm_tensor *want = &s->want[linear];
    bm_status status = BM_OK;
    bm_tensor found = {0};
    float *host = bm_alloc(4 * want->rows, sizeof *host);
    BM_FAIL_IF(!host, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, want->rows, want->cols, "outputs", &found, err));
    BM_TRY(bm_gemm(device, x, w, NULL, &found, err));
    BM_TRY(bm_row_error(device, want, &found, &s->sums, err));
    BM_TRY(bm_tensor_download(device, &s->sums, host, err));
    BM_TRY(bm_device_wait(device, err));
    out->count += want->rows * want->cols;
    for (uint64_t t = 0; t < want->rows; t++) {
        const double error = (double)host[4 * t], norm = (double)host[4 * t + 1], other = (double)host[4 * t + 2];
        out->error_square += error;
        out->output_square += norm;
        out->quantized_square += other;
        out->product += (norm + other - error) / 2; // |y - z|^2 = |y|^2 + |z|^2 - 2 y z
        out->max_error = fmax(out->max_error, (double)host[4 * t + 3]);
    }
    out->inputs += x->rows * x->cols;
    out->saturated += x == &s->rounded ? s->saturated : 0;
done:
    bm_tensor_destroy(&found);
    bm_free(host);
    return status;
}

// Before the stage is solved: the float outputs, and what quantized inputs alone make of them.
static bm_status measure_before(const bm_equalizer *e, bm_stage stage, const bm_block *block, sample *s, bm_error *err)
{
    bm_device *device = e->emit->device;
    bm_status status = BM_OK;
    for (bm_linear_id i = 0; i < BM_NUM_LINEARS && s->inputs.view.buffer; i++) {
        const bm_weights *w = block->linears[i];
        if (!w || bm_linear_stage(i) != stage)
            continue;
        BM_TRY(
            bm_tensor_create(device, BM_DTYPE_F32, s->inputs.rows, w->out_features, "float outputs", &s->want[i], err));
        BM_TRY(bm_gemm(device, &s->inputs, w, NULL, &s->want[i], err));
        if (s->rounded.view.buffer)
            BM_TRY(add_errors(device, s, i, &s->rounded, w, &s->by_inputs[i], err));
    }
done:
    return status;
}

// Behind it, of one linear of the checkpoint.
static bm_status measure_after(const bm_equalizer *e, const bm_block *block, bm_linear_id linear, sample *s,
                               bm_linear_record *record, bm_error *err)
{
    bm_linear_id parts[BM_MAX_LINEAR_PARTS];
    const uint32_t num_parts = bm_linear_parts(linear, parts);
    bm_output_sums weights = {0}, inputs = {0}, both = {0};
    bm_status status = BM_OK;
    if (!s->inputs.view.buffer)
        return BM_OK;
    for (uint32_t p = 0; p < num_parts; p++) {
        const bm_linear_id i = parts[p];
        BM_TRY(add_errors(e->emit->device, s, i, &s->inputs, block->linears[i], &s->by_weights[i], err));
        if (s->rounded.view.buffer)
            BM_TRY(add_errors(e->emit->device, s, i, &s->rounded, block->linears[i], &s->by_both[i], err));
        bm_output_sums_merge(&weights, &s->by_weights[i]);
        bm_output_sums_merge(&inputs, &s->by_inputs[i]);
        bm_output_sums_merge(&both, &s->by_both[i]);
    }
    record->has_layer_error = true;
    record->quantizes_inputs = s->rounded.view.buffer != NULL;
    record->by_weights = bm_output_error_of(&weights);
    record->by_inputs = bm_output_error_of(&inputs);
    record->by_both = bm_output_error_of(s->rounded.view.buffer ? &both : &weights);
done:
    return status;
}

// The quantized linears of a stage.
static uint32_t find_members(const bm_equalizer *e, bm_stage stage, bm_emit_member *members)
{
    const bm_plan *plan = e->emit->plan;
    uint32_t count = 0;
    for (uint32_t i = e->block * plan->linears_per_block; i < (e->block + 1) * plan->linears_per_block; i++)
        if (plan->linears[i].quantized && bm_linear_stage(plan->linears[i].linear) == stage)
            members[count++].linear = &plan->linears[i];
    return count;
}

static bm_status solve_stage(bm_equalizer *e, bm_stage stage, bm_block *block, bm_quantize_result *result,
                             const bm_log *log, bm_error *err)
{
    const bm_equalized_stage *s = &e->stages[stage];
    bm_emit_solving solving = {.multiplier = e->multiplier, .masters = &e->masters, .input = s->input};
    bm_gram *gram = NULL;
    bm_emit_member members[BM_NUM_LINEARS] = {{0}};
    const uint32_t count = find_members(e, stage, members);
    bm_status status = BM_OK;
    sample taken = {0};
    for (uint32_t i = 0; i < count; i++) {
        const bm_plan_linear *p = members[i].linear;
        members[i].rows = bm_block_linear_rows(block, p->linear);
        BM_TRY(bm_emit_member_keep_steps(e->emit, &members[i], err));
    }
    BM_TRY(make_sample(e->emit->device, s, &taken, err));
    BM_TRY(measure_before(e, stage, block, &taken, err));
    if (bm_plan_method_watches(e->emit->plan)) // rounding: its state is the sums that it would have watched
        BM_TRY(bm_equalizer_solving_gram(e, stage, &gram, err));
    solving.state = gram;
    const uint64_t tokens = gram ? gram->tokens : 0;
    const bool skipped = gram && !bm_gram_is_enough(gram);
    BM_TRY(bm_emit_linears(e->emit, members, count, &solving, err));
    bm_equalizer_free_grams(e, stage);
    for (uint32_t i = 0; i < count; i++) {
        const bm_plan_linear *p = members[i].linear;
        bm_linear_record *record = &result->linears[result->num_linears++];
        bm_group_record_linear(record, e->emit->plan, p, &members[i].errors);
        record->group.tokens = tokens;
        record->group.search_skipped = skipped;
        record->has_output_error = gram != NULL;
        BM_TRY(measure_after(e, block, p->linear, &taken, record, err));
        BM_TRY(bm_emit_tell_scales(e->emit, &members[i], &s->input, err));
        bm_log_write(log, BM_LOG_DEBUG, "%s: relative squared error %.3e, of its outputs %.3e", record->name,
                     record->nmse, record->by_both.nmse);
    }
done:
    free_sample(&taken);
    for (uint32_t i = 0; i < count; i++)
        bm_free(members[i].steps);
    return status;
}

bm_status bm_equalizer_solve(bm_equalizer *e, bm_block *measured, bm_quantize_result *result, const bm_log *log,
                             bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_masters_make_block(e->emit->device, &e->masters, BM_DTYPE_F32, measured, err));
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
        if (e->stages[stage].is_quantized)
            BM_TRY(solve_stage(e, stage, measured, result, log, err));
done:
    return status;
}
