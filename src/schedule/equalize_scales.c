// Which shift and which scales a stage gets.
#include "schedule/equalize.h"

#include "ops/rounding.h"
#include "ops/statistics.h"
#include "quant/equalize/paddleslim.h"

#include <float.h>
#include <math.h>

// Query heads that share a key and value head, where o's changes go into v: they share its channels.
static uint32_t heads_that_share(const bm_equalizer *e, bm_stage stage)
{
    const bm_hf_config *config = &e->emit->model->config;
    if (stage != BM_STAGE_O || e->stages[stage].wanted.as_operations)
        return 1;
    return config->num_attention_heads / config->num_key_value_heads;
}

void bm_equalizer_share_heads(const bm_equalizer *e, bm_stage stage, double *values)
{
    const uint32_t shared = heads_that_share(e, stage);
    if (shared > 1)
        bm_join_heads_mean(values, e->stages[stage].channels, e->emit->model->config.head_dim, shared);
}

// What is planned for a linear that the block computes with: a part of it, where the checkpoint has several in one.
static const bm_plan_linear *planned(const bm_equalizer *e, bm_linear_id linear)
{
    const bm_plan *plan = e->emit->plan;
    for (uint32_t i = e->block * plan->linears_per_block; i < (e->block + 1) * plan->linears_per_block; i++) {
        bm_linear_id parts[BM_MAX_LINEAR_PARTS];
        const uint32_t count = bm_linear_parts(plan->linears[i].linear, parts);
        for (uint32_t p = 0; p < count; p++)
            if (parts[p] == linear)
                return &plan->linears[i];
    }
    return NULL;
}

uint32_t bm_equalizer_members(const bm_equalizer *e, bm_stage stage, bool quantized,
                              const bm_weights *out[BM_NUM_LINEARS], bm_grid_params grids[BM_NUM_LINEARS])
{
    uint32_t count = 0;
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
        const bm_plan_linear *p = planned(e, linear);
        if (!e->masters.linears[linear] || bm_linear_stage(linear) != stage || (quantized && !p->quantized))
            continue;
        if (grids)
            grids[count] = p->grid;
        out[count++] = e->masters.linears[linear];
    }
    return count;
}

bm_activation_observer bm_equalizer_observer(const bm_arguments *a)
{
    return a->act_quant_method == BM_ACT_ABS_MAX     ? BM_ACTIVATION_ABS_MAX
           : a->act_quant_method == BM_ACT_PER_TOKEN ? BM_ACTIVATION_PER_TOKEN
                                                     : BM_ACTIVATION_AVG;
}

int64_t bm_equalizer_observed_steps(const bm_emit_context *emit, int64_t own)
{
    return emit->plan->input == BM_INPUT_FLOAT ? own : emit->arguments->ptq_step;
}

// ---- shift

static bm_status find_shift(bm_equalizer *e, bm_stage stage, bm_error *err)
{
    const bm_arguments *a = e->emit->arguments;
    bm_equalized_stage *s = &e->stages[stage];
    const bm_shift_params params = {.sampler = a->shift_sampler == BM_SAMPLER_EMA ? BM_SHIFT_SAMPLER_EMA
                                                                                  : BM_SHIFT_SAMPLER_NONE,
                                    .statistic = a->shift_statistic == BM_SHIFT_MEAN       ? BM_CENTER_MEAN
                                                 : a->shift_statistic == BM_SHIFT_MIDRANGE ? BM_CENTER_MIDRANGE
                                                                                           : BM_CENTER_AVERAGE,
                                    .shift_step = a->shift_step,
                                    .ptq_step = bm_equalizer_observed_steps(e->emit, a->shift_step),
                                    .observer = bm_equalizer_observer(a),
                                    .compat_paddleslim = a->compat == BM_COMPAT_PADDLESLIM,
                                    .calls_a_step = stage == BM_STAGE_QKV       ? 3
                                                    : stage == BM_STAGE_GATE_UP ? 2
                                                                                : 1};
    bm_status status = BM_OK;
    s->shift = bm_alloc(s->channels, sizeof *s->shift);
    BM_FAIL_IF(!s->shift, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_shift_find(&s->statistics, &params, s->shift, &s->record->shift, err));
    for (uint32_t c = 0; c < s->channels; c++)
        s->statistics.zero_point[c] = s->shift[c];
done:
    return status;
}

// ---- ranges and lengths of weights

static float largest_magnitude(float least, float largest)
{
    return fmaxf(fabsf(least), fabsf(largest));
}

// largest[c] = max(largest[c], largest |weight| of column c); squares[c] += their squares.
static bm_status add_columns(bm_device *device, const bm_weights *weights, float *largest, float *squares,
                             bm_error *err)
{
    const uint64_t cols = weights->in_features;
    enum { LEAST, MOST, SUM, SQUARES, NUM_OUTPUTS };
    bm_status status = BM_OK;
    bm_tensor outputs[NUM_OUTPUTS] = {{0}};
    float *host = bm_alloc(NUM_OUTPUTS, cols * sizeof *host);
    BM_FAIL_IF(!host, err, BM_E_MEMORY, "out of memory");
    for (size_t i = 0; i < NUM_OUTPUTS; i++)
        BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, cols, "ranges of columns", &outputs[i], err));
    for (uint32_t p = 0; p < weights->num_parts; p++) {
        const uint32_t rows = (uint32_t)weights->parts[p].rows;
        BM_TRY(bm_column_range(device, &weights->parts[p], &rows, 1, &outputs[LEAST], &outputs[MOST], &outputs[SUM],
                               BM_MOMENT_SQUARES, &outputs[SQUARES], err));
        for (size_t i = 0; i < NUM_OUTPUTS; i++)
            BM_TRY(bm_tensor_download(device, &outputs[i], host + i * cols, err));
        BM_TRY(bm_device_wait(device, err));
        for (uint64_t c = 0; c < cols; c++) {
            largest[c] = fmaxf(largest[c], largest_magnitude(host[LEAST * cols + c], host[MOST * cols + c]));
            squares[c] += host[SQUARES * cols + c];
        }
    }
done:
    for (size_t i = 0; i < NUM_OUTPUTS; i++)
        bm_tensor_destroy(&outputs[i]);
    bm_free(host);
    return status;
}

// out[r] = largest |weight| of row r.
static bm_status find_row_amax(bm_device *device, const bm_weights *weights, float *out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor range[2] = {{0}};
    float *host = bm_alloc(2 * weights->out_features, sizeof *host), *high = NULL;
    BM_FAIL_IF(!host, err, BM_E_MEMORY, "out of memory");
    high = host + weights->out_features;
    for (size_t i = 0; i < BM_COUNT(range); i++)
        BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, weights->out_features, 1, "range of rows", &range[i], err));
    for (uint32_t p = 0; p < weights->num_parts; p++) {
        const bm_tensor *part = &weights->parts[p];
        const bm_tensor least = bm_tensor_rows(&range[0], p * weights->rows_per_part, part->rows);
        const bm_tensor largest = bm_tensor_rows(&range[1], p * weights->rows_per_part, part->rows);
        BM_TRY(bm_group_range(device, part, (uint32_t)part->cols, &least, &largest, err));
    }
    BM_TRY(bm_tensor_download(device, &range[0], host, err));
    BM_TRY(bm_tensor_download(device, &range[1], high, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint64_t r = 0; r < weights->out_features; r++)
        out[r] = largest_magnitude(host[r], high[r]);
done:
    for (size_t i = 0; i < BM_COUNT(range); i++)
        bm_tensor_destroy(&range[i]);
    bm_free(host);
    return status;
}

// ---- limits

// Largest magnitudes [channels] of what a fold divides by the scales; nothing is divided where an operation does it.
static bm_status find_divided(const bm_equalizer *e, bm_stage stage, float *out, bm_error *err)
{
    const bm_hf_config *config = &e->emit->model->config;
    const uint32_t width = config->head_dim, shared = heads_that_share(e, stage), channels = e->stages[stage].channels;
    const bm_norm_id norm = bm_norm_of_stage(stage);
    bm_status status = BM_OK;
    float *rows = bm_alloc(channels, sizeof *rows);
    BM_FAIL_IF(!rows, err, BM_E_MEMORY, "out of memory");
    if (norm != BM_NUM_NORMS) {
        BM_TRY(bm_tensor_download(e->emit->device, &e->masters.norms[norm].weight, out, err));
        BM_TRY(bm_device_wait(e->emit->device, err));
        for (uint32_t c = 0; c < channels; c++)
            out[c] = fabsf(out[c]);
        goto done;
    }
    BM_TRY(find_row_amax(e->emit->device, e->masters.linears[stage == BM_STAGE_O ? BM_LINEAR_V : BM_LINEAR_UP], rows,
                         err));
    for (uint32_t c = 0; c < channels; c++)
        out[c] = stage == BM_STAGE_O ? rows[c / width / shared * width + c % width] : rows[c];
done:
    bm_free(rows);
    return status;
}

static double largest_of(bm_dtype dtype)
{
    return dtype == BM_DTYPE_F16 ? 65504.0 : dtype == BM_DTYPE_BF16 ? 0x1.fep127 : (double)FLT_MAX;
}

// ---- scales

// What smooth takes for the weights of each channel, w [channels], and their largest magnitudes [channels]. The root mean square,
// since what quantizing an input loses is its step times the length of the column: KL divergence with it is 0.90 and 0.94 of that
// with the largest magnitude, the paper's choice, on two small checkpoints.
static bm_status find_weights(const bm_equalizer *e, bm_stage stage, const bm_weights *const *linears, uint32_t count,
                              float *w, float *largest, bm_error *err)
{
    const bm_arguments *a = e->emit->arguments;
    const uint32_t channels = e->stages[stage].channels;
    const bool by_rms = a->compat == BM_COMPAT_NONE && a->smooth_weight_statistic == BM_SMOOTH_BY_RMS;
    const uint32_t width = e->emit->model->config.head_dim, shared = heads_that_share(e, stage);
    uint64_t rows = 0;
    bm_status status = BM_OK;
    for (uint32_t c = 0; c < channels; c++)
        w[c] = largest[c] = 0;
    for (uint32_t i = 0; i < count; i++) {
        BM_TRY(add_columns(e->emit->device, linears[i], largest, w, err));
        rows += linears[i]->out_features;
    }
    for (uint32_t c = 0; c < channels; c++) {
        const float rms = (float)sqrt((double)w[c] / (double)rows);
        w[c] = by_rms && rms > 0 && isfinite(rms) ? rms : largest[c]; // squares may leave the range of float32
    }
    bm_join_heads_max(w, channels, width, shared);
    bm_join_heads_max(largest, channels, width, shared);
done:
    return status;
}

// What the search is told of a stage: a [3, channels] is its memory, of all sequences and of the halves; w [channels],
// largest_weights [channels], magnitudes [num_sequences, channels] too.
static bm_status describe_problem(bm_equalizer *e, bm_stage stage, double *a, float *w, float *largest_weights,
                                  double *magnitudes, bm_smooth_problem *out, bm_error *err)
{
    const bm_arguments *arguments = e->emit->arguments;
    const bm_equalized_stage *s = &e->stages[stage];
    const bm_weights *members[BM_NUM_LINEARS];
    const uint32_t count = bm_equalizer_members(e, stage, false, members, NULL);
    bm_status status = BM_OK;
    const bool compat = arguments->compat == BM_COMPAT_PADDLESLIM;
    const uint64_t batch = s->statistics.batch,
                   end = bm_channel_statistics_first(&s->statistics, arguments->smooth_step);
    const uint64_t last = end > batch ? end - batch : 0; // where its last step begins
    bm_channel_statistics_amax(&s->statistics, compat ? bm_min_u64(batch, last) : 0, end, a);
    const uint32_t first = compat ? count - 1 : 0; // the last linear alone decides there
    BM_TRY(find_weights(e, stage, members + first, count - first, w, largest_weights, err));
    *out = (bm_smooth_problem){.channels = s->channels,
                               .a = a,
                               .w = w,
                               .magnitudes = magnitudes,
                               .num_sequences = bm_channel_statistics_first(
                                   &s->statistics, bm_equalizer_observed_steps(e->emit, arguments->smooth_step)),
                               .observer = bm_equalizer_observer(arguments)};
    const uint64_t both = bm_min_u64(end, out->num_sequences); // steps of smooth and of the observer may differ
    if (!compat && arguments->search_crosswise && both > 1) {
        out->split = both / 2;
        out->part_a = a + s->channels;
        bm_channel_statistics_amax(&s->statistics, out->split, end, a + s->channels);
        bm_channel_statistics_amax(&s->statistics, 0, out->split, a + 2 * (size_t)s->channels);
    }
    if (compat && arguments->smooth_piecewise_search) // its search observes what it multiplies
        out->num_sequences = end - last;
    bm_channel_statistics_magnitudes(&s->statistics, compat && arguments->smooth_piecewise_search ? last : 0,
                                     compat && arguments->smooth_piecewise_search ? end : out->num_sequences,
                                     magnitudes);
done:
    return status;
}

// By AWQ. What largest inputs and halves of the sequences say, which describe_problem finds, is nothing to it.
static bm_status find_awq_scales(bm_equalizer *e, bm_stage stage, float *w, float *largest_weights, const bm_log *log,
                                 float *scales, bm_error *err)
{
    const bm_weights *members[BM_NUM_LINEARS];
    const uint32_t count = bm_equalizer_members(e, stage, false, members, NULL);
    bm_status status = BM_OK;
    BM_TRY(find_weights(e, stage, members, count, w, largest_weights, err));
    BM_TRY(bm_equalizer_search_awq(e, stage, log, scales, err));
done:
    return status;
}

static bm_status find_smooth_scales(bm_equalizer *e, bm_stage stage, float *w, float *largest_weights,
                                    const bm_log *log, float *scales, bm_error *err)
{
    const bm_arguments *arguments = e->emit->arguments;
    const bm_equalized_stage *s = &e->stages[stage];
    const uint32_t channels = s->channels;
    bm_status status = BM_OK;
    bm_smooth_problem problem;
    double *a = bm_alloc(3 * (uint64_t)channels, sizeof *a);
    double *magnitudes = bm_alloc((uint64_t)channels * s->statistics.num_sequences, sizeof *magnitudes);
    BM_FAIL_IF(!a || !magnitudes, err, BM_E_MEMORY, "out of memory");
    BM_TRY(describe_problem(e, stage, a, w, largest_weights, magnitudes, &problem, err));
    if (arguments->smooth_piecewise_search)
        BM_TRY(bm_equalizer_search(e, stage, &problem, log, scales, err));
    for (uint32_t c = 0; c < channels && !arguments->smooth_piecewise_search; c++)
        scales[c] = bm_channel_is_dead(a[c], (double)w[c]) ? 1.0f
                    : arguments->compat == BM_COMPAT_PADDLESLIM
                        ? bm_paddleslim_smooth_scale(a[c], (double)w[c], arguments->smooth_alpha)
                        : bm_smooth_scale(a[c], (double)w[c], arguments->smooth_alpha);
done:
    bm_free(a);
    bm_free(magnitudes);
    return status;
}

static bm_status find_scales(bm_equalizer *e, bm_stage stage, const bm_log *log, bm_error *err)
{
    const bm_arguments *arguments = e->emit->arguments;
    bm_equalized_stage *s = &e->stages[stage];
    const uint32_t channels = s->channels;
    bm_status status = BM_OK;
    float *w = bm_alloc(4 * (uint64_t)channels, sizeof *w), *divided = w + channels, *scales = divided + channels;
    float *largest_weights = scales + channels;
    s->scale = bm_alloc(channels, sizeof *s->scale);
    BM_FAIL_IF(!w || !s->scale, err, BM_E_MEMORY, "out of memory");
    BM_TRY((bm_job_scales_by_awq(arguments) ? find_awq_scales : find_smooth_scales)(e, stage, w, largest_weights, log,
                                                                                    scales, err));
    if (arguments->compat == BM_COMPAT_PADDLESLIM)
        goto chosen;
    if (!s->wanted.as_operations)
        BM_TRY(find_divided(e, stage, divided, err));
    const bm_smooth_limits limits = {.pow2 = arguments->smooth_pow2,
                                     .divided = s->wanted.as_operations ? NULL : divided,
                                     .divided_max = largest_of(e->folds.stages[stage].scale_dtype),
                                     .multiplied = largest_weights,
                                     .multiplied_max = largest_of(e->folds.stages[stage].scale_dtype)};
    bm_smooth_scales_finish(&limits, channels, scales, &s->record->finish);
chosen:
    for (uint32_t c = 0; c < channels; c++)
        s->scale[c] = (double)scales[c];
done:
    bm_free(w);
    return status;
}

bm_status bm_equalizer_choose(bm_equalizer *e, bm_stage stage, const bm_log *log, bm_error *err)
{
    bm_equalized_stage *s = &e->stages[stage];
    bm_status status = BM_OK;
    if (heads_that_share(e, stage) > 1 && (s->wanted.shift || s->wanted.scale))
        bm_channel_statistics_join_heads(&s->statistics, e->emit->model->config.head_dim, heads_that_share(e, stage));
    if (s->wanted.shift)
        BM_TRY(find_shift(e, stage, err));
    if (s->wanted.scale)
        BM_TRY(find_scales(e, stage, log, err));
done:
    return status;
}
