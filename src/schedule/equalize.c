// From the inputs of a block, as its weights in front of it make them, to its folded masters.
#include "schedule/calibrate.h"
#include "schedule/equalize.h"

#include "base/half.h"
#include "model/added.h"
#include "quant/equalize/paddleslim.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const char *name_of(const bm_equalizer *e, bm_stage stage, char name[BM_TENSOR_NAME_SIZE])
{
    const bm_family *family = e->emit->model->family;
    return bm_linear_tensor_name(family, e->block, bm_equalizer_first(family, stage), "", name);
}

// The types in which norms and operations of the block will be stored: a checkpoint may have several.
static void set_types(bm_equalizer *e)
{
    const bm_family *family = e->emit->model->family;
    bm_emit_tensor tensors[BM_EMIT_MAX_BLOCK_TENSORS];
    const uint32_t count = bm_emit_block_tensors(e->emit->model, e->emit->plan, e->block, tensors);
    char module[BM_TENSOR_NAME_SIZE];
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        const bm_norm_id norm = bm_norm_of_stage(stage);
        const bool has_norm = norm != BM_NUM_NORMS;
        (void)(has_norm ? bm_norm_name(family, e->block, norm, module) : name_of(e, stage, module));
        bm_fold *f = &e->folds.stages[stage];
        f->scale_dtype = bm_emit_dtype_of(tensors, count, module, has_norm ? ".weight" : BM_ADDED_FACTOR);
        f->shift_dtype = bm_emit_dtype_of(tensors, count, module, has_norm ? ".bias" : BM_ADDED_SHIFT);
    }
}

static bm_status begin_stage(bm_equalizer *e, bm_stage stage, const uint32_t *tokens, bm_error *err)
{
    bm_equalized_stage *s = &e->stages[stage];
    bm_status status = BM_OK;
    s->channels = bm_equalizer_channels(e->emit->model, stage);
    bm_activation_statistics_params params = bm_equalizer_statistics(e->emit, s->channels);
    params.tokens = tokens;
    BM_TRY(bm_activation_statistics_begin(e->emit->device, &params, &s->watched, err));
    BM_TRY(bm_channel_statistics_init(&s->statistics, s->channels, e->emit->plan->calibration.step_sequences, true,
                                      params.magnitudes, err));
    BM_TRY(bm_equalizer_begin_grams(e, stage, err));
    BM_TRY(bm_equalizer_begin_sequences(e, stage, err));
done:
    return status;
}

bm_status bm_equalizer_begin(bm_equalizer *e, const bm_emit_context *emit, bm_multiplier *multiplier, uint32_t block,
                             bm_error *err)
{
    const bm_plan *plan = emit->plan;
    const bm_calibration_data *data = &plan->calibration;
    bm_status status = BM_OK;
    bm_fold_wanted wanted[BM_NUM_STAGES];
    *e = (bm_equalizer){.emit = emit, .multiplier = multiplier, .block = block};
    e->folds.powers_of_two = emit->arguments->smooth_pow2;
    set_types(e);
    uint32_t *tokens = bm_alloc(data->num_segments, sizeof *tokens);
    BM_FAIL_IF(!tokens, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < data->num_segments; i++)
        tokens[i] = data->segments[i].count;
    BM_TRY(bm_masters_load(emit->model, emit->device, block, BM_DTYPE_F32, &e->masters, err));
    (void)bm_plan_block_folds(plan, block, wanted);
    for (uint32_t i = block * plan->linears_per_block; i < (block + 1) * plan->linears_per_block; i++) {
        bm_equalized_stage *s = &e->stages[bm_linear_stage(plan->linears[i].linear)];
        s->is_quantized = s->is_quantized || plan->linears[i].quantized;
    }
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        e->stages[stage].wanted = wanted[stage];
        if (e->stages[stage].is_quantized)
            BM_TRY(begin_stage(e, stage, tokens, err));
    }
    BM_TRY(bm_equalizer_begin_energies(e, err));
done:
    bm_free(tokens);
    return status;
}

void bm_equalizer_end(bm_equalizer *e)
{
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        bm_equalized_stage *s = &e->stages[stage];
        bm_search_loss_destroy(&s->loss);
        bm_equalizer_free_grams(e, stage);
        bm_equalizer_free_sequences(e, stage);
        bm_activation_statistics_destroy(&s->watched);
        bm_channel_statistics_destroy(&s->statistics);
        bm_free(s->shift);
        bm_free(s->scale);
        bm_free(e->folds.stages[stage].shift);
        bm_free(e->folds.stages[stage].scale);
    }
    bm_equalizer_free_energies(e);
    bm_block_destroy(&e->masters);
    *e = (bm_equalizer){0};
}

bm_status bm_equalizer_watch(bm_equalizer *e, bm_stage stage, const bm_tensor *inputs, uint32_t first, uint32_t count,
                             bm_error *err)
{
    bm_equalized_stage *s = &e->stages[stage];
    bm_status status = BM_OK;
    if (!s->is_quantized)
        return BM_OK;
    BM_TRY(bm_activation_statistics_watch(e->emit->device, &s->watched, inputs, first, count, err));
    BM_TRY(bm_equalizer_watch_grams(e, stage, inputs, first, count, err));
    BM_TRY(bm_equalizer_watch_sequences(e, stage, inputs, first, count, err));
done:
    return status;
}

// ---- folds

// A stage's channels as its fold has them: of o, folded into v, those of the first query head of each key and value head.
static uint32_t channel_of(const bm_equalizer *e, bm_stage stage, uint32_t folded)
{
    const bm_hf_config *config = &e->emit->model->config;
    if (stage != BM_STAGE_O || e->stages[stage].wanted.as_operations)
        return folded;
    const uint32_t shared = config->num_attention_heads / config->num_key_value_heads;
    return folded / config->head_dim * shared * config->head_dim + folded % config->head_dim;
}

static uint32_t folded_of(const bm_equalizer *e, bm_stage stage, uint32_t channel)
{
    const bm_hf_config *config = &e->emit->model->config;
    if (stage != BM_STAGE_O || e->stages[stage].wanted.as_operations)
        return channel;
    const uint32_t shared = config->num_attention_heads / config->num_key_value_heads;
    return channel / config->head_dim / shared * config->head_dim + channel % config->head_dim;
}

static bm_status copy_folded(const bm_equalizer *e, bm_stage stage, const double *from, double **to, bm_error *err)
{
    const uint32_t width = bm_fold_width(&e->emit->model->config, stage, e->stages[stage].wanted.as_operations);
    *to = NULL;
    if (!from)
        return BM_OK;
    *to = bm_alloc(width, sizeof **to);
    if (!*to)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint32_t c = 0; c < width; c++)
        (*to)[c] = from[channel_of(e, stage, c)];
    return BM_OK;
}

static bm_status fold(bm_equalizer *e, bm_error *err)
{
    bm_status status = BM_OK;
    bool any = false;
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        bm_equalized_stage *s = &e->stages[stage];
        bm_fold *f = &e->folds.stages[stage];
        f->as_operations = s->wanted.as_operations;
        BM_TRY(copy_folded(e, stage, s->shift, &f->shift, err));
        BM_TRY(copy_folded(e, stage, s->scale, &f->scale, err));
        any = any || f->shift || f->scale;
    }
    if (!any)
        return BM_OK;
    BM_TRY(bm_fold_apply(e->emit->device, &e->masters, &e->folds, err));
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) { // what was really taken off and divided by
        bm_equalized_stage *s = &e->stages[stage];
        const bm_fold *f = &e->folds.stages[stage];
        for (uint32_t c = 0; c < s->channels; c++) {
            if (s->shift)
                s->statistics.zero_point[c] = s->shift[c] = f->shift[folded_of(e, stage, c)];
            if (s->scale)
                s->scale[c] = f->scale[folded_of(e, stage, c)];
        }
        if (s->record)
            s->record->finish.num_moved += f->num_moved;
    }
done:
    return status;
}

// ---- steps and records

// The step as it is stored, so that what is measured is what is stored.
static float stored_step(double amax, bm_dtype dtype)
{
    uint8_t bytes[8];
    const float least = dtype == BM_DTYPE_F16 ? 0x1p-14f : FLT_MIN;
    bm_store_real(bytes, dtype, 0, fminf((float)amax / 127.0f, dtype == BM_DTYPE_F16 ? 65504.0f : 0x1.fep127f));
    return fmaxf(bm_load_real(bytes, dtype, 0), least);
}

static bm_status measure(const bm_equalizer *e, const bm_equalized_stage *s, bm_activation_observer observer,
                         double *out, bm_error *err)
{
    const bm_arguments *a = e->emit->arguments;
    const uint64_t count = bm_channel_statistics_first(&s->statistics, bm_equalizer_observed_steps(e->emit, -1));
    bm_status status = BM_OK;
    double *magnitudes = bm_alloc(count * s->channels, sizeof *magnitudes);
    float *scales = s->scale ? bm_alloc(s->channels, sizeof *scales) : NULL;
    BM_FAIL_IF(!magnitudes || (s->scale && !scales), err, BM_E_MEMORY, "out of memory");
    for (uint32_t c = 0; scales && c < s->channels; c++)
        scales[c] = (float)s->scale[c];
    bm_channel_statistics_magnitudes(&s->statistics, 0, count, magnitudes);
    if (a->compat == BM_COMPAT_PADDLESLIM && observer == BM_ACTIVATION_AVG)
        *out = bm_paddleslim_activation_avg(magnitudes, count, s->statistics.batch, s->channels, scales);
    else
        *out = bm_activation_amax(observer, magnitudes, count, s->channels, scales);
done:
    bm_free(magnitudes);
    bm_free(scales);
    return status;
}

// Ranges of channels, several neighbours together, behind what was taken off and divided by.
static bm_status put_ranges(const bm_equalized_stage *s, uint32_t *num_bins, float *low, float *high, bm_error *err)
{
    bm_status status = BM_OK;
    const uint32_t a_bin = (uint32_t)bm_max_u64(1, bm_divide_up(s->channels, BM_STAGE_BINS));
    double *ends = bm_alloc(2 * (uint64_t)s->channels, sizeof *ends);
    BM_FAIL_IF(!ends, err, BM_E_MEMORY, "out of memory");
    bm_channel_statistics_extremes(&s->statistics, 0, s->statistics.num_sequences, ends, ends + s->channels);
    *num_bins = (uint32_t)bm_divide_up(s->channels, a_bin);
    for (uint32_t b = 0; b < *num_bins; b++) {
        low[b] = INFINITY;
        high[b] = -INFINITY;
    }
    for (uint32_t c = 0; c < s->channels; c++) {
        const double scale = s->scale ? s->scale[c] : 1;
        low[c / a_bin] = fminf(low[c / a_bin], (float)(ends[c] / scale));
        high[c / a_bin] = fmaxf(high[c / a_bin], (float)(ends[s->channels + c] / scale));
    }
done:
    bm_free(ends);
    return status;
}

// Which step each of the sequences was of that were watched: packs, and sequences that were left out, make steps uneven.
static bm_status number_steps(const bm_equalizer *e, bm_equalized_stage *s, bm_error *err)
{
    const bm_calibration_data *data = &e->emit->plan->calibration;
    uint64_t n = 0;
    s->statistics.step = bm_alloc(s->statistics.num_sequences, sizeof *s->statistics.step);
    if (!s->statistics.step)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < data->num_segments && n < s->statistics.num_sequences; i++)
        if (s->watched.watched[i])
            s->statistics.step[n++] = data->segment_sequences[i] / data->step_sequences;
    return BM_OK;
}

static bm_status begin_record(bm_equalizer *e, bm_stage stage, bm_quantize_result *result, bm_error *err)
{
    bm_equalized_stage *s = &e->stages[stage];
    bm_stage_record *r = s->record = &result->stages[result->num_stages++];
    bm_status status = BM_OK;
    *r = (bm_stage_record){.block = e->block,
                           .stage = stage,
                           .channels = s->channels,
                           .num_sequences = (uint32_t)s->statistics.num_sequences,
                           .sample_tokens = s->watched.num_sample,
                           .shifts = s->wanted.shift,
                           .scales = s->wanted.scale,
                           .as_operations = s->wanted.as_operations,
                           .least_scale = 1,
                           .largest_scale = 1};
    for (uint64_t n = 0; n < s->statistics.num_sequences; n++)
        r->tokens += s->statistics.tokens[n];
    BM_TRY(measure(e, s, bm_equalizer_observer(e->emit->arguments), &r->amax_before, err));
    BM_TRY(put_ranges(s, &r->num_bins, r->low_before, r->high_before, err));
done:
    return status;
}

static bm_status finish_record(bm_equalizer *e, bm_stage stage, bm_error *err)
{
    const bm_plan *plan = e->emit->plan;
    bm_equalized_stage *s = &e->stages[stage];
    bm_stage_record *r = s->record;
    bm_status status = BM_OK;
    // What was really divided by and taken off is known now; a share of it stays one.
    BM_TRY(
        measure(e, s, s->share > 0 ? BM_ACTIVATION_ABS_MAX : bm_equalizer_observer(e->emit->arguments), &r->amax, err));
    r->amax *= s->share > 0 ? s->share : 1;
    r->amax_share = s->share;
    BM_TRY(put_ranges(s, &r->num_bins, r->low, r->high, err));
    s->input.kind = plan->input;
    if (plan->input == BM_INPUT_STATIC)
        s->input.step = stored_step(r->amax, bm_plan_first(plan)->grid.scale_dtype);
    r->input = s->input;
    for (uint32_t c = 0; s->scale && c < s->channels; c++) {
        r->least_scale = c == 0 ? (float)s->scale[c] : fminf(r->least_scale, (float)s->scale[c]);
        r->largest_scale = c == 0 ? (float)s->scale[c] : fmaxf(r->largest_scale, (float)s->scale[c]);
    }
done:
    return status;
}

bm_status bm_equalizer_finish(bm_equalizer *e, bm_quantize_result *result, const bm_log *log, bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE];
    bm_status status = BM_OK;
    BM_TRY(bm_equalizer_fetch_energies(e, err));
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        bm_equalized_stage *s = &e->stages[stage];
        if (!s->is_quantized)
            continue;
        status = bm_activation_statistics_finish(e->emit->device, &s->watched, &s->statistics, err);
        if (status == BM_OK)
            status = bm_equalizer_finish_grams(e, stage, err);
        if (status == BM_OK)
            status = bm_equalizer_finish_sequences(e, stage, err);
        if (status != BM_OK)
            bm_error_prefix(err, "inputs of %s", name_of(e, stage, name));
        BM_TRY(status);
        BM_TRY(number_steps(e, s, err));
        BM_TRY(begin_record(e, stage, result, err));
        BM_TRY(bm_equalizer_choose(e, stage, log, err));
        if (e->emit->plan->input == BM_INPUT_STATIC && e->emit->arguments->act_quant_method == BM_ACT_MSE) {
            double largest;
            BM_TRY(measure(e, s, BM_ACTIVATION_ABS_MAX, &largest, err));
            s->share = 1; // one token says nothing
            s->record->share_skipped = s->watched.num_sample < 2;
            if (!s->record->share_skipped)
                BM_TRY(bm_equalizer_search_share(e, stage, largest, &s->share, err));
        }
        bm_search_loss_destroy(&s->loss);
        bm_equalizer_free_sequences(e, stage);
        if (!bm_plan_solves_by_float(e->emit->plan))
            bm_equalizer_free_grams(e, stage);
        BM_TRY(bm_phase_step(e->emit->phase, 0, err));
    }
    BM_TRY(fold(e, err));
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
        if (e->stages[stage].is_quantized)
            BM_TRY(finish_record(e, stage, err));
    BM_TRY(bm_emit_block(e->emit, &e->masters, err));
done:
    return status;
}
