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

static bool is_quantized(const bm_equalizer *e, bm_linear_id linear)
{
    const bm_plan *plan = e->emit->plan;
    for (uint32_t i = e->block * plan->linears_per_block; i < (e->block + 1) * plan->linears_per_block; i++) {
        bm_linear_id parts[BM_MAX_LINEAR_PARTS];
        const uint32_t count = bm_linear_parts(plan->linears[i].linear, parts);
        for (uint32_t p = 0; p < count; p++)
            if (parts[p] == linear)
                return plan->linears[i].quantized;
    }
    return false;
}

uint32_t bm_equalizer_members(const bm_equalizer *e, bm_stage stage, bool quantized,
                              const bm_weights *out[BM_NUM_LINEARS])
{
    uint32_t count = 0;
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++)
        if (e->masters.linears[linear] && bm_linear_stage(linear) == stage && (!quantized || is_quantized(e, linear)))
            out[count++] = e->masters.linears[linear];
    return count;
}

bm_activation_observer bm_equalizer_observer(const bm_arguments *a)
{
    return a->act_quant_method == BM_ACT_ABS_MAX     ? BM_ACTIVATION_ABS_MAX
           : a->act_quant_method == BM_ACT_PER_TOKEN ? BM_ACTIVATION_PER_TOKEN
                                                     : BM_ACTIVATION_AVG;
}

// ---- shift

static bm_status find_shift(bm_equalizer *e, bm_stage stage, bm_error *err)
{
    const bm_arguments *a = e->emit->arguments;
    bm_equalized_stage *s = &e->stages[stage];
    const bm_shift_params params = {
        .sampler = a->shift_sampler == BM_SAMPLER_EMA ? BM_SHIFT_SAMPLER_EMA : BM_SHIFT_SAMPLER_NONE,
        .statistic = a->shift_statistic == BM_SHIFT_MEAN ? BM_CENTER_MEAN : BM_CENTER_MIDRANGE,
        .shift_step = a->shift_step,
        .ptq_step = a->ptq_step,
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

// ---- largest weights

static float largest_magnitude(float least, float largest)
{
    return fmaxf(fabsf(least), fabsf(largest));
}

// w[c] = max(w[c], largest |weight| of column c).
static bm_status add_column_amax(bm_device *device, const bm_weights *weights, float *w, bm_error *err)
{
    const uint64_t cols = weights->in_features;
    bm_status status = BM_OK;
    bm_tensor range[3] = {{0}};
    float *host = bm_alloc(2 * cols, sizeof *host);
    BM_FAIL_IF(!host, err, BM_E_MEMORY, "out of memory");
    for (size_t i = 0; i < BM_COUNT(range); i++)
        BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, cols, "range of columns", &range[i], err));
    for (uint32_t p = 0; p < weights->num_parts; p++) {
        const uint32_t rows = (uint32_t)weights->parts[p].rows;
        BM_TRY(bm_column_range(device, &weights->parts[p], &rows, 1, &range[0], &range[1], &range[2], NULL, err));
        BM_TRY(bm_tensor_download(device, &range[0], host, err));
        BM_TRY(bm_tensor_download(device, &range[1], host + cols, err));
        BM_TRY(bm_device_wait(device, err));
        for (uint64_t c = 0; c < cols; c++)
            w[c] = fmaxf(w[c], largest_magnitude(host[c], host[cols + c]));
    }
done:
    for (size_t i = 0; i < BM_COUNT(range); i++)
        bm_tensor_destroy(&range[i]);
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

// What the search is told of a stage. a [channels], w [channels], magnitudes [num_sequences, channels] are its memory.
static bm_status describe_problem(bm_equalizer *e, bm_stage stage, double *a, float *w, double *magnitudes,
                                  bm_smooth_problem *out, bm_error *err)
{
    const bm_arguments *arguments = e->emit->arguments;
    const bm_equalized_stage *s = &e->stages[stage];
    const bm_weights *members[BM_NUM_LINEARS];
    const uint32_t count = bm_equalizer_members(e, stage, false, members);
    bm_status status = BM_OK;
    const bool compat = arguments->compat == BM_COMPAT_PADDLESLIM;
    const uint64_t batch = s->statistics.batch,
                   end = bm_channel_statistics_first(&s->statistics, arguments->smooth_step);
    const uint64_t last = end > batch ? end - batch : 0; // where its last step begins
    bm_channel_statistics_amax(&s->statistics, compat ? bm_min_u64(batch, last) : 0, end, a);
    for (uint32_t c = 0; c < s->channels; c++)
        w[c] = 0;
    for (uint32_t i = compat ? count - 1 : 0; i < count; i++) // the last linear alone decides there
        BM_TRY(add_column_amax(e->emit->device, members[i], w, err));
    bm_join_heads_max(w, s->channels, e->emit->model->config.head_dim, heads_that_share(e, stage));
    *out = (bm_smooth_problem){.channels = s->channels,
                               .a = a,
                               .w = w,
                               .magnitudes = magnitudes,
                               .num_sequences = bm_channel_statistics_first(&s->statistics, arguments->ptq_step),
                               .observer = bm_equalizer_observer(arguments)};
    if (compat && arguments->smooth_piecewise_search) // its search observes what it multiplies
        out->num_sequences = end - last;
    bm_channel_statistics_magnitudes(&s->statistics, compat && arguments->smooth_piecewise_search ? last : 0,
                                     compat && arguments->smooth_piecewise_search ? end : out->num_sequences,
                                     magnitudes);
done:
    return status;
}

static bm_status find_scales(bm_equalizer *e, bm_stage stage, const bm_log *log, bm_error *err)
{
    const bm_arguments *arguments = e->emit->arguments;
    bm_equalized_stage *s = &e->stages[stage];
    const uint32_t channels = s->channels;
    bm_status status = BM_OK;
    bm_smooth_problem problem;
    double *a = bm_alloc(channels, sizeof *a);
    double *magnitudes = bm_alloc((uint64_t)channels * s->statistics.num_sequences, sizeof *magnitudes);
    float *w = bm_alloc(3 * (uint64_t)channels, sizeof *w), *divided = w + channels, *scales = divided + channels;
    s->scale = bm_alloc(channels, sizeof *s->scale);
    BM_FAIL_IF(!a || !magnitudes || !w || !s->scale, err, BM_E_MEMORY, "out of memory");
    BM_TRY(describe_problem(e, stage, a, w, magnitudes, &problem, err));
    if (arguments->smooth_piecewise_search)
        BM_TRY(bm_equalizer_search(e, stage, &problem, log, scales, err));
    for (uint32_t c = 0; c < channels && !arguments->smooth_piecewise_search; c++)
        scales[c] = bm_channel_is_dead(a[c], (double)w[c]) ? 1.0f
                    : arguments->compat == BM_COMPAT_PADDLESLIM
                        ? bm_paddleslim_smooth_scale(a[c], (double)w[c], arguments->smooth_alpha)
                        : bm_smooth_scale(a[c], (double)w[c], arguments->smooth_alpha);
    if (arguments->compat == BM_COMPAT_PADDLESLIM)
        goto chosen;
    if (!s->wanted.as_operations)
        BM_TRY(find_divided(e, stage, divided, err));
    const bm_smooth_limits limits = {.pow2 = arguments->smooth_pow2,
                                     .divided = s->wanted.as_operations ? NULL : divided,
                                     .divided_max = largest_of(e->folds.stages[stage].scale_dtype),
                                     .multiplied = w,
                                     .multiplied_max = largest_of(e->folds.stages[stage].scale_dtype)};
    bm_smooth_scales_finish(&limits, channels, scales, &s->record->finish);
chosen:
    for (uint32_t c = 0; c < channels; c++)
        s->scale[c] = (double)scales[c];
done:
    bm_free(a);
    bm_free(magnitudes);
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
