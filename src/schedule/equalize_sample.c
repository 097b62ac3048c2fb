// The sample of inputs: how many tokens of it there are, and whether a device has room for them.
#include "schedule/calibrate.h"
#include "schedule/equalize.h"

#include "quant/candidate_losses.h"
#include "quant/normalized_columns.h"
#include "quant/search_loss.h"
#include "schedule/memory_plan.h"

#include <stdio.h>

bm_linear_id bm_equalizer_first(const bm_family *family, bm_stage stage)
{
    bm_linear_id linear = 0;
    while (bm_linear_stage(linear) != stage || !bm_family_has_linear(family, linear))
        linear++;
    return linear;
}

uint32_t bm_equalizer_channels(const bm_model *model, bm_stage stage)
{
    uint32_t rows, cols;
    bm_linear_shape(&model->config, bm_equalizer_first(model->family, stage), &rows, &cols);
    return cols;
}

bm_activation_statistics_params bm_equalizer_statistics(const bm_emit_context *emit, uint32_t channels)
{
    const bm_arguments *a = emit->arguments;
    const bm_calibration_data *data = &emit->plan->calibration;
    const bool searches = a->smooth && a->smooth_piecewise_search, compat = a->compat == BM_COMPAT_PADDLESLIM;
    const uint32_t num = bm_calibration_data_first(data, searches ? a->smooth_step : -1);
    const uint32_t first = compat && num > data->step_sequences ? num - data->step_sequences : 0; // its last step
    return (bm_activation_statistics_params){.channels = channels,
                                             .num_sequences = data->num_segments,
                                             .first_sampled = first,
                                             .num_sampled = num - first,
                                             .search_tokens =
                                                 searches && (compat || a->smooth_sampler == BM_SAMPLER_MULTI_STEP)
                                                     ? UINT32_MAX
                                                     : (uint32_t)a->search_tokens,
                                             .seed = (uint64_t)a->seed,
                                             .magnitudes = bm_job_scales_by_awq(a),
                                             .sample_dtype = bm_calibrate_dtype(a, emit->model, emit->device)};
}

static uint64_t count_tokens(const bm_calibration_data *data, const bm_activation_statistics_params *params)
{
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < params->num_sampled; i++)
        tokens += data->segments[params->first_sampled + i].count;
    return bm_min_u64(tokens, params->search_tokens);
}

// Output features of all linears of a stage.
static uint64_t rows_of(const bm_model *model, bm_stage stage)
{
    uint64_t all = 0;
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
        uint32_t rows, cols;
        bm_linear_shape(&model->config, linear, &rows, &cols);
        if (bm_family_has_linear(model->family, linear) && bm_linear_stage(linear) == stage)
            all += rows;
    }
    return all;
}

static uint64_t sample_bytes(const bm_activation_statistics_params *params, uint64_t tokens)
{
    return tokens * bm_tensor_stride(params->sample_dtype, params->channels) * bm_dtype_size(params->sample_dtype);
}

// The most output features of a linear of a stage.
static uint64_t most_rows_of(const bm_model *model, bm_stage stage)
{
    uint64_t most = 0;
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
        uint32_t rows, cols;
        bm_linear_shape(&model->config, linear, &rows, &cols);
        if (bm_family_has_linear(model->family, linear) && bm_linear_stage(linear) == stage)
            most = bm_max_u64(most, rows);
    }
    return most;
}

// The grids of a block's quantized linears of a stage. Returns their number.
static uint32_t grids_of(const bm_plan *plan, uint32_t block, bm_stage stage, bm_grid_params grids[BM_NUM_LINEARS])
{
    uint32_t count = 0;
    for (uint32_t i = block * plan->linears_per_block; i < (block + 1) * plan->linears_per_block; i++)
        if (plan->linears[i].quantized && bm_linear_stage(plan->linears[i].linear) == stage)
            grids[count++] = plan->linears[i].grid;
    return count;
}

// What a stage's search takes at most, of any block: by the sample, where it has one, and to set weights beside their groups.
static uint64_t search_bytes(const bm_emit_context *emit, bm_stage stage, uint64_t sample, bool by_sample,
                             bool by_columns)
{
    const uint32_t channels = bm_equalizer_channels(emit->model, stage);
    const uint64_t rows = rows_of(emit->model, stage);
    uint64_t most = 0;
    for (uint32_t block = 0; block < emit->model->config.num_hidden_layers; block++) {
        bm_grid_params grids[BM_NUM_LINEARS];
        const uint32_t count = grids_of(emit->plan, block, stage, grids);
        if (by_sample && count > 0)
            most = bm_max_u64(
                most, bm_search_loss_bytes(emit->device, sample, channels, rows, grids, count, emit->plan->input));
        for (uint32_t i = 0; i < count && by_columns; i++)
            most = bm_max_u64(most, bm_normalized_columns_bytes(rows, channels, grids[i].group_size));
    }
    return most;
}

// Of the host, while a stage is worked on: statistics on their way there, or magnitudes, twice, with candidates of a search, and what
// compat's search computes with, which no kernel has.
static uint64_t host_search_bytes(const bm_emit_context *emit, bm_stage stage, uint64_t sample, uint64_t statistics)
{
    const bm_arguments *a = emit->arguments;
    const uint64_t channels = bm_equalizer_channels(emit->model, stage), rows = rows_of(emit->model, stage);
    const bool searches = a->smooth && a->smooth_piecewise_search;
    uint64_t bytes = 2 * sizeof(double) * emit->plan->calibration.num_segments * channels;
    if (searches)
        bytes += 2 * bm_equalizer_most_candidates(a) * (a->search_crosswise ? 2 : 1) * channels * sizeof(float);
    if (searches && a->compat == BM_COMPAT_PADDLESLIM)
        bytes += sample * (rows * sizeof(double) + channels) + rows * channels +
                 (sample + rows + bm_max_u64(sample, rows)) * channels * sizeof(float);
    return bm_max_u64(statistics, bytes);
}

bm_equalizer_memory bm_equalizer_claim(const bm_emit_context *emit, uint32_t batch_tokens)
{
    const bm_arguments *a = emit->arguments;
    const bool searches_steps = emit->plan->input == BM_INPUT_STATIC && a->act_quant_method == BM_ACT_MSE;
    const bool by_grams = bm_job_scales_by_awq(a) && a->awq_inspect != BM_INSPECT_BLOCK && !searches_steps;
    bm_equalizer_memory m = {.kept = bm_block_bytes(emit->model, emit->device, 0, BM_DTYPE_F32)};
    uint64_t most_rows = 0;
    uint32_t widest = 0; // of the stages whose sums are kept
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        const uint32_t channels = bm_equalizer_channels(emit->model, stage);
        const bm_activation_statistics_params params = bm_equalizer_statistics(emit, channels);
        const uint64_t sample = count_tokens(&emit->plan->calibration, &params), rows = rows_of(emit->model, stage);
        const uint64_t one_rows = most_rows_of(emit->model, stage), measured = bm_min_u64(sample, BM_MEASURED_TOKENS);
        m.search = bm_max_u64(m.search, search_bytes(emit, stage, sample, !by_grams, params.magnitudes));
        m.measured = bm_max_u64(m.measured, measured * (4 * rows + 4 * one_rows + 12 * (uint64_t)channels + 32));
        m.multiplied = bm_max_u64(m.multiplied, bm_max_u64(sample, one_rows) * channels);
        m.kept += bm_activation_statistics_bytes(&params, sample);
        const uint64_t statistics =
            (uint64_t)params.num_sequences * channels * sizeof(float) * (params.magnitudes ? 4 : 3);
        m.host_kept += statistics;
        m.host_search = bm_max_u64(m.host_search, host_search_bytes(emit, stage, sample, statistics));
        const uint64_t grams = bm_equalizer_gram_bytes(emit, stage);
        m.grams += grams;
        if (grams > 0) {
            m.search =
                bm_max_u64(m.search, bm_gram_loss_bytes(emit->device, channels, one_rows, BM_CANDIDATES_AT_ONCE) +
                                         bm_gram_bytes(channels, false));
            m.multiplied = bm_max_u64(
                m.multiplied, channels * bm_gram_loss_rows(emit->device, channels, one_rows, BM_CANDIDATES_AT_ONCE));
            widest = (uint32_t)bm_max_u64(widest, channels);
            most_rows =
                bm_max_u64(most_rows, bm_gram_loss_rows(emit->device, channels, one_rows, BM_CANDIDATES_AT_ONCE));
        }
    }
    if (widest > 0 && !bm_plan_method_watches(emit->plan)) // else counted with the method's own sums
        m.kept += bm_memory_multiplier_bytes(emit->device, widest, most_rows, batch_tokens, false);
    // Energies of the residual stream: of the sample, twice, and of a batch, which is fewer than all tokens.
    m.kept += 32 * bm_min_u64((uint64_t)emit->arguments->search_tokens, emit->plan->calibration.num_tokens) +
              16 * emit->plan->calibration.num_tokens;
    m.search += bm_equalizer_block_bytes(emit);
    return m;
}

uint64_t bm_equalizer_bytes(const bm_emit_context *emit, uint32_t batch_tokens)
{
    const bm_equalizer_memory m = bm_equalizer_claim(emit, batch_tokens);
    return m.kept + m.grams + bm_max_u64(m.search, m.measured);
}

// The key that says how many tokens there are.
static void describe_key(const bm_arguments *a, char *out, size_t capacity)
{
    const bool searches = a->smooth && a->smooth_piecewise_search;
    if (searches && a->compat == BM_COMPAT_PADDLESLIM)
        snprintf(out, capacity, "\"per_device_train_batch_size\": %lld", (long long)a->per_device_train_batch_size);
    else if (searches && a->smooth_sampler == BM_SAMPLER_MULTI_STEP)
        snprintf(out, capacity, "\"smooth_sampler\": \"multi_step\"");
    else
        snprintf(out, capacity, "\"search_tokens\": %lld", (long long)a->search_tokens);
}

// One of the quantized linears of a stage; NULL: there is none.
static const bm_plan_linear *find_quantized(const bm_plan *plan, bm_stage stage)
{
    for (uint32_t i = 0; i < plan->num_linears; i++)
        if (plan->linears[i].quantized && bm_linear_stage(plan->linears[i].linear) == stage)
            return &plan->linears[i];
    return NULL;
}

bm_status bm_equalizer_check_sample(const bm_emit_context *emit, bm_error *err)
{
    const bm_arguments *a = emit->arguments;
    const bm_device_info *info = bm_device_get_info(emit->device);
    const bool searches = a->smooth && a->smooth_piecewise_search;
    const bool searches_steps = emit->plan->input == BM_INPUT_STATIC && a->act_quant_method == BM_ACT_MSE;
    const bool copies = a->compat != BM_COMPAT_PADDLESLIM && (searches || searches_steps);
    uint64_t all = 0, most = 0,
             tokens = 0; // samples are there together; a search copies one, beside the outputs it wants
    char key[96], name[BM_TENSOR_NAME_SIZE];
    describe_key(a, key, sizeof key);
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        const bm_plan_linear *found = find_quantized(emit->plan, stage);
        if (!found)
            continue;
        const bm_activation_statistics_params params = bm_equalizer_statistics(emit, found->in_features);
        tokens = count_tokens(&emit->plan->calibration, &params);
        const uint64_t bytes = sample_bytes(&params, tokens);
        if (bytes > info->limits.max_allocation_bytes)
            return bm_arguments_reject(
                a, err,
                "%s: %llu tokens of inputs of %s take %.1f MB, expected at most %.1f MB, the largest buffer of %s", key,
                (unsigned long long)tokens,
                bm_linear_tensor_name(emit->model->family, found->block, found->linear, "", name), (double)bytes / 1e6,
                (double)info->limits.max_allocation_bytes / 1e6, info->spec);
        all += bytes;
        if (copies)
            most = bm_max_u64(
                most, 4 * tokens * (bm_tensor_stride(BM_DTYPE_F32, params.channels) + rows_of(emit->model, stage)));
    }
    if (all + most > bm_device_memory_bytes(emit->device))
        return bm_arguments_reject(
            a, err, "%s: a sample of %llu tokens takes %.1f MB, expected at most %.1f MB, the memory of %s", key,
            (unsigned long long)tokens, (double)(all + most) / 1e6, (double)bm_device_memory_bytes(emit->device) / 1e6,
            info->spec);
    return bm_equalizer_check_sequences(emit, err);
}
