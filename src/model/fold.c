// Folds of a block.
#include "model/fold.h"

#include "base/half.h"
#include "model/fold_rows.h"

#include <float.h>
#include <math.h>
#include <string.h>

// What a stage's inputs are divided by, and what is subtracted before: [bm_fold_width] each, or NULL. Owned.
typedef struct settled {
    double *scale, *shift;
} settled;

typedef struct folding {
    bm_device *device;
    bm_block *masters;
    bm_folds *folds;
    settled stages[BM_NUM_STAGES];
} folding;

uint32_t bm_fold_width(const bm_hf_config *config, bm_stage stage, bool as_operations)
{
    switch (stage) {
    case BM_STAGE_O:
        return (as_operations ? config->num_attention_heads : config->num_key_value_heads) * config->head_dim;
    case BM_STAGE_DOWN:
        return config->intermediate_size;
    case BM_STAGE_QKV:
    case BM_STAGE_GATE_UP:
    case BM_NUM_STAGES:
        break;
    }
    return config->hidden_size;
}

bool bm_fold_is_exact(const bm_family *family, bm_stage stage, bool shifts)
{
    return stage != BM_STAGE_DOWN || (!shifts && bm_family_has_up(family));
}

static bool is_there(const bm_tensor *tensor)
{
    return tensor->view.buffer != NULL;
}

// Into the linears before, not into operations of its own.
static bool is_hidden(const bm_folds *folds, bm_stage stage)
{
    return (stage == BM_STAGE_O || stage == BM_STAGE_DOWN) && !folds->stages[stage].as_operations;
}

static const char *name_of(const bm_block *masters, bm_stage stage, char name[BM_TENSOR_NAME_SIZE])
{
    const bm_family *family = masters->model->family;
    bm_linear_id linear = 0;
    while (bm_linear_stage(linear) != stage || !bm_family_has_linear(family, linear))
        linear++;
    return bm_linear_tensor_name(family, masters->index, linear, "", name);
}

static bm_status check_fold(const bm_block *masters, const bm_fold *fold, bm_stage stage, bm_error *err)
{
    const bm_family *family = masters->model->family;
    const uint32_t width = bm_fold_width(&masters->model->config, stage, fold->as_operations);
    char name[BM_TENSOR_NAME_SIZE];
    name_of(masters, stage, name);
    if (fold->as_operations && bm_norm_of_stage(stage) != BM_NUM_NORMS)
        return bm_fail(err, BM_E_ARGUMENT, "%s: its inputs are folded into a norm, not into operations", name);
    if (!fold->as_operations && ((fold->scale && !bm_fold_is_exact(family, stage, false)) ||
                                 (fold->shift && !bm_fold_is_exact(family, stage, true))))
        return bm_fail(err, BM_E_ARGUMENT, "%s: its inputs can't be %s without operations before it", name,
                       fold->shift ? "shifted" : "scaled");
    for (uint32_t c = 0; fold->scale && c < width; c++)
        if (!(fold->scale[c] > 0) || !isfinite(fold->scale[c]))
            return bm_fail(err, BM_E_ARGUMENT, "%s: channel %u: scale %g, expected a positive number", name, c,
                           fold->scale[c]);
    for (uint32_t c = 0; fold->shift && c < width; c++)
        if (!isfinite(fold->shift[c]))
            return bm_fail(err, BM_E_ARGUMENT, "%s: channel %u: shift %g, expected a number", name, c, fold->shift[c]);
    return BM_OK;
}

static bm_status read_vector(bm_device *device, const bm_tensor *vector, double *out, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_tensor_download(device, vector, out, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint64_t i = vector->dtype == BM_DTYPE_F64 ? 0 : vector->cols; i > 0; i--) { // in place, from the end
        float value;
        memcpy(&value, (const char *)out + (i - 1) * sizeof value, sizeof value);
        out[i - 1] = (double)value;
    }
done:
    return status;
}

// Creates the vector where it is not there. Values of another type than dtype are rounded; they are overwritten.
static bm_status write_vector(bm_device *device, bm_dtype dtype, double *values, uint32_t width, const char *name,
                              bm_tensor *vector, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < width; i++) {
        BM_FAIL_IF(!(fabs(values[i]) <= (dtype == BM_DTYPE_F64 ? DBL_MAX : (double)FLT_MAX)), err, BM_E_NUMERIC,
                   "%s: channel %u is beyond the range of its type when folded", name, i);
        const float value = (float)values[i];
        if (dtype != BM_DTYPE_F64)
            memcpy((char *)values + i * sizeof value, &value, sizeof value);
    }
    if (!is_there(vector))
        BM_TRY(bm_tensor_create(device, dtype, 1, width, name, vector, err));
    BM_TRY(bm_tensor_upload(device, vector, values, err));
done:
    return status;
}

static double round_to(bm_dtype dtype, double value)
{
    switch ((int)dtype) {
    case BM_DTYPE_F64:
        return value;
    case BM_DTYPE_F16:
        return (double)bm_f16_to_f32(bm_f64_to_f16(value));
    case BM_DTYPE_BF16:
        return (double)bm_bf16_to_f32(bm_f64_to_bf16(value));
    default:
        return (double)(float)value;
    }
}

static bool is_normal(bm_dtype dtype, double value)
{
    const double least = dtype == BM_DTYPE_F64 ? DBL_MIN : dtype == BM_DTYPE_F16 ? 0x1p-14 : (double)FLT_MIN;
    return isfinite(value) && fabs(value) >= least;
}

// The quotient of a number and *scale as it will be stored; *scale becomes what the number was really divided by. A
// quotient that would not be a normal number of its type has *scale brought nearer to 1. Returns the quotient. one: 1 where the
// file holds numbers less 1, else 0.
static double divide(double number, double one, double *scale, bm_fold *fold, bool powers_of_two)
{
    double s = *scale, quotient = one + round_to(fold->scale_dtype, number / s - one);
    for (int tries = 0; number != 0 && s != 1 && !is_normal(fold->scale_dtype, quotient); tries++) {
        fold->num_moved += tries == 0;
        s = tries >= 10 ? 1 : powers_of_two ? exp2(trunc(log2(s) / 2)) : sqrt(s);
        quotient = one + round_to(fold->scale_dtype, number / s - one);
    }
    *scale = quotient != 0 ? number / quotient : s;
    return quotient;
}

// The norm before a stage: weight / scale and (bias - shift) / scale.
static bm_status fold_norm(folding *f, bm_stage stage, bm_error *err)
{
    bm_status status = BM_OK;
    bm_fold *fold = &f->folds->stages[stage];
    settled *s = &f->stages[stage];
    const bm_norm_id id = bm_norm_of_stage(stage);
    bm_norm *norm = &f->masters->norms[id];
    const uint32_t width = (uint32_t)norm->weight.cols;
    const bm_dtype dtype = norm->weight.dtype;
    const double one = f->masters->model->family->adds_one_to_norms ? 1 : 0;
    char name[BM_TENSOR_NAME_SIZE];
    bm_norm_name(f->masters->model->family, f->masters->index, id, name);
    double *values = bm_alloc_zero(width, sizeof *values);
    BM_FAIL_IF(!values, err, BM_E_MEMORY, "out of memory");
    if (s->scale) {
        BM_TRY(read_vector(f->device, &norm->weight, values, err));
        for (uint32_t c = 0; c < width; c++)
            values[c] = divide(values[c], one, &s->scale[c], fold, f->folds->powers_of_two);
        BM_TRY(write_vector(f->device, dtype, values, width, name, &norm->weight, err));
    }
    if (!s->shift && !is_there(&norm->bias))
        goto done;
    if (!s->shift) // what rounding the bias leaves behind
        s->shift = bm_alloc_zero(width, sizeof *s->shift);
    BM_FAIL_IF(!s->shift, err, BM_E_MEMORY, "out of memory");
    memset(values, 0, width * sizeof *values);
    if (is_there(&norm->bias))
        BM_TRY(read_vector(f->device, &norm->bias, values, err));
    for (uint32_t c = 0; c < width; c++) {
        const double bias = values[c], scale = s->scale ? s->scale[c] : 1;
        values[c] = round_to(fold->shift_dtype, (bias - s->shift[c]) / scale);
        s->shift[c] = bias - values[c] * scale;
    }
    BM_TRY(write_vector(f->device, dtype, values, width, name, &norm->bias, err));
done:
    bm_free(values);
    return status;
}

// (input - shift) / scale as operations before a linear.
static bm_status fold_operations(folding *f, bm_stage stage, bm_error *err)
{
    bm_status status = BM_OK;
    bm_fold *fold = &f->folds->stages[stage];
    settled *s = &f->stages[stage];
    bm_input_change *change = &f->masters->changes[stage];
    const uint32_t width = bm_fold_width(&f->masters->model->config, stage, true);
    const bm_dtype dtype = f->masters->norms[BM_NORM_INPUT].weight.dtype;
    char name[BM_TENSOR_NAME_SIZE];
    name_of(f->masters, stage, name);
    double *values = bm_alloc(width, sizeof *values);
    BM_FAIL_IF(!values, err, BM_E_MEMORY, "out of memory");
    if (s->scale) {
        for (uint32_t c = 0; c < width; c++)
            values[c] = divide(1, 0, &s->scale[c], fold, f->folds->powers_of_two);
        BM_TRY(write_vector(f->device, dtype, values, width, name, &change->factor, err));
    }
    if (s->shift) {
        for (uint32_t c = 0; c < width; c++) {
            values[c] = round_to(fold->shift_dtype, -s->shift[c]);
            s->shift[c] = -values[c];
        }
        BM_TRY(write_vector(f->device, dtype, values, width, name, &change->shift, err));
    }
done:
    bm_free(values);
    return status;
}

// values of the channels of each key and value head, repeated for the query heads that share it; NULL of NULL.
static bm_status repeat_over_heads(const bm_hf_config *config, const double *values, double **out, bm_error *err)
{
    const uint32_t heads = config->num_attention_heads, shared = heads / config->num_key_value_heads;
    const uint32_t head_dim = config->head_dim;
    if (!values)
        return BM_OK;
    *out = bm_alloc((uint64_t)heads * head_dim, sizeof **out);
    if (!*out)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint32_t h = 0; h < heads; h++)
        memcpy(*out + (uint64_t)h * head_dim, values + (uint64_t)(h / shared) * head_dim, head_dim * sizeof **out);
    return BM_OK;
}

// Weights and bias of one linear: what its own stage's fold makes of its columns, and what the next stage's makes of
// its rows.
static bm_status fold_linear(folding *f, bm_linear_id linear, bm_error *err)
{
    const bm_stage stage = bm_linear_stage(linear), next = stage + 1;
    const settled *in = &f->stages[stage];
    bm_tensor *bias = &f->masters->biases[linear];
    bm_weights *weights = f->masters->linears[linear];
    const uint32_t rows = (uint32_t)weights->out_features;
    const bool is_before = linear == BM_LINEAR_V || linear == BM_LINEAR_UP; // of a fold that is hidden in it
    const settled out = is_before && is_hidden(f->folds, next) ? f->stages[next] : (settled){0};
    const bool has_bias = is_there(bias) || f->folds->stages[stage].shift || out.shift;
    bm_fold_row_change change = {in->scale, has_bias ? in->shift : NULL, out.scale, out.shift};
    double *scale = NULL, *shift = NULL, *values = NULL;
    bm_status status = BM_OK;
    if (!change.in_scale && !change.in_shift && !change.out_scale && !change.out_shift)
        return BM_OK;
    values = bm_alloc_zero(rows, sizeof *values);
    BM_FAIL_IF(!values, err, BM_E_MEMORY, "out of memory");
    if (stage == BM_STAGE_O && is_hidden(f->folds, stage)) {
        BM_TRY(repeat_over_heads(&f->masters->model->config, in->scale, &scale, err));
        BM_TRY(repeat_over_heads(&f->masters->model->config, in->shift, &shift, err));
        change.in_scale = scale;
        change.in_shift = shift;
    }
    if (is_there(bias))
        BM_TRY(read_vector(f->device, bias, values, err));
    BM_TRY(bm_fold_rows(f->device, weights, &change, values, err));
    if (has_bias)
        BM_TRY(write_vector(f->device, weights->dtype, values, rows, weights->name, bias, err));
done:
    bm_free(scale);
    bm_free(shift);
    bm_free(values);
    return status;
}

// A copy of what the caller gave for a stage, rounded to powers of two where that is wanted.
static bm_status settle(folding *f, bm_stage stage, bm_error *err)
{
    bm_fold *fold = &f->folds->stages[stage];
    settled *s = &f->stages[stage];
    const uint32_t width = bm_fold_width(&f->masters->model->config, stage, fold->as_operations);
    bm_status status = BM_OK;
    fold->num_moved = 0;
    BM_TRY(check_fold(f->masters, fold, stage, err));
    if (fold->scale) {
        s->scale = bm_alloc(width, sizeof *s->scale);
        BM_FAIL_IF(!s->scale, err, BM_E_MEMORY, "out of memory");
        for (uint32_t c = 0; c < width; c++)
            s->scale[c] = f->folds->powers_of_two ? exp2(rint(log2(fold->scale[c]))) : fold->scale[c];
    }
    if (fold->shift) {
        s->shift = bm_alloc(width, sizeof *s->shift);
        BM_FAIL_IF(!s->shift, err, BM_E_MEMORY, "out of memory");
        memcpy(s->shift, fold->shift, width * sizeof *s->shift);
    }
done:
    return status;
}

static void tell(const folding *f, bm_stage stage)
{
    const bm_fold *fold = &f->folds->stages[stage];
    const uint32_t width = bm_fold_width(&f->masters->model->config, stage, fold->as_operations);
    if (fold->scale)
        memcpy(fold->scale, f->stages[stage].scale, width * sizeof *fold->scale);
    if (fold->shift)
        memcpy(fold->shift, f->stages[stage].shift, width * sizeof *fold->shift);
}

bm_status bm_fold_apply(bm_device *device, bm_block *masters, bm_folds *folds, bm_error *err)
{
    bm_status status = BM_OK;
    folding f = {.device = device, .masters = masters, .folds = folds};
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
        BM_TRY(settle(&f, stage, err));
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        const bm_fold *fold = &folds->stages[stage];
        if (!fold->scale && !fold->shift)
            continue;
        if (fold->as_operations)
            BM_TRY(fold_operations(&f, stage, err));
        else if (bm_norm_of_stage(stage) != BM_NUM_NORMS)
            BM_TRY(fold_norm(&f, stage, err));
    }
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++)
        if (masters->linears[linear])
            BM_TRY(fold_linear(&f, linear, err));
    BM_TRY(bm_device_wait(device, err));
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
        tell(&f, stage);
done:
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        bm_free(f.stages[stage].scale);
        bm_free(f.stages[stage].shift);
    }
    return status;
}
