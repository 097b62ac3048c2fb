// Compiling what equalizing needs before it is needed: on a few tokens and rows of no meaning.
#include "ops/elementwise.h"
#include "ops/gemm_int8.h"
#include "quant/gram_rough.h"
#include "quant/normalized_columns.h"
#include "quant/search_loss.h"
#include "schedule/equalize.h"

enum { TOKENS = 64, CHANNELS = 256, ROWS = 64 };

static bm_status make_numbers(bm_device *device, bm_dtype dtype, uint64_t rows, bm_tensor *out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor numbers = {0};
    float *host = bm_alloc(rows * CHANNELS, sizeof *host);
    BM_FAIL_IF(!host, err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < rows * CHANNELS; i++)
        host[i] = (float)(i % 7) - 3;
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, rows, CHANNELS, "numbers", &numbers, err));
    BM_TRY(bm_tensor_create(device, dtype, rows, CHANNELS, "numbers", out, err));
    BM_TRY(bm_tensor_upload(device, &numbers, host, err));
    BM_TRY(bm_convert(device, &numbers, out, "numbers", err));
    BM_TRY(bm_device_wait(device, err));
done:
    bm_tensor_destroy(&numbers);
    bm_free(host);
    return status;
}

static bm_status watch(bm_device *device, bm_dtype dtype, bool magnitudes, const bm_tensor *inputs, bm_error *err)
{
    static const uint32_t tokens = TOKENS;
    const bm_activation_statistics_params params = {.channels = CHANNELS,
                                                    .tokens = &tokens,
                                                    .num_sequences = 1,
                                                    .num_sampled = 1,
                                                    .search_tokens = TOKENS / 2,
                                                    .magnitudes = magnitudes,
                                                    .sample_dtype = dtype};
    bm_status status = BM_OK;
    bm_activation_statistics statistics = {0};
    BM_TRY(bm_activation_statistics_begin(device, &params, &statistics, err));
    BM_TRY(bm_activation_statistics_watch(device, &statistics, inputs, 0, 1, err));
    BM_TRY(bm_device_wait(device, err));
done:
    bm_activation_statistics_destroy(&statistics);
    return status;
}

static bm_status search(const bm_emit_context *emit, const bm_tensor *inputs, const bm_weights *weights,
                        const bm_grid_params *grid, bm_error *err)
{
    bm_status status = BM_OK;
    bm_search_loss *loss = NULL;
    float scales[CHANNELS];
    double losses[1];
    for (uint32_t c = 0; c < CHANNELS; c++)
        scales[c] = 1;
    const bm_search_loss_params params = {
        .inputs = inputs, .linears = &weights, .num_linears = 1, .grids = grid, .input = emit->plan->input};
    const bm_smooth_batch batch = {.count = 1, .scales = scales, .act_amax = (const double[]){3}, .token_share = 1};
    BM_TRY(bm_search_loss_create(emit->device, &params, &loss, err));
    BM_TRY(bm_search_loss_run(loss, &batch, losses, err));
done:
    bm_search_loss_destroy(&loss);
    return status;
}

// Sums of products, what candidates lose by them, and where candidates come from.
static bm_status search_awq(const bm_emit_context *emit, const bm_tensor *inputs, const bm_weights *weights,
                            const bm_grid_params *grid, bm_error *err)
{
    bm_status status = BM_OK;
    bm_gram gram = {0};
    bm_rough_gram rough = {0};
    bm_multiplier multiplier;
    float scales[CHANNELS];
    double means[CHANNELS], loss;
    for (uint32_t c = 0; c < CHANNELS; c++)
        scales[c] = 1;
    bm_multiplier_init(&multiplier, emit->device);
    BM_TRY(bm_gram_create(emit->device, CHANNELS, false, &gram, err));
    BM_TRY(bm_gram_add(&multiplier, &gram, inputs, NULL, err));
    BM_TRY(bm_gram_finish(emit->device, &gram, NULL, err));
    const bm_gram_loss_params params = {.gram = &gram.hessian, .linears = &weights, .num_linears = 1, .grids = grid};
    BM_TRY(bm_gram_losses(&multiplier, &params, scales, 1, &loss, err));
    if (multiplier.split.choice.gflops > 0) {
        BM_TRY(bm_rough_gram_create(emit->device, &gram.hessian, &rough, err));
        BM_TRY(bm_rough_losses(&multiplier, &rough, &params, scales, 1, &loss, err));
    }
    BM_TRY(bm_normalized_columns(emit->device, &weights, 1, grid, means, err));
done:
    bm_rough_gram_destroy(&rough);
    bm_gram_destroy(&gram);
    bm_multiplier_free(&multiplier);
    return status;
}

// What searches of linears of one grid need.
static bm_status search_on(const bm_emit_context *emit, const bm_plan_linear *linear, const bm_tensor *inputs,
                           const bm_weights *weights, bm_error *err)
{
    const bm_arguments *a = emit->arguments;
    const bool searches_steps = emit->plan->input == BM_INPUT_STATIC && a->act_quant_method == BM_ACT_MSE;
    bm_grid_params grid = linear->grid;
    bm_status status = BM_OK;
    if (linear->per_channel || CHANNELS % grid.group_size != 0)
        grid.group_size = CHANNELS;
    if ((a->smooth && a->smooth_piecewise_search) || searches_steps)
        BM_TRY(search(emit, inputs, weights, &grid, err));
    if (bm_job_scales_by_awq(a))
        BM_TRY(search_awq(emit, inputs, weights, &grid, err));
done:
    return status;
}

bm_status bm_equalizer_warm_up(const bm_emit_context *emit, bm_dtype dtype, const bm_progress *progress, bm_error *err)
{
    const bm_arguments *a = emit->arguments;
    const bm_progress_report steps[] = {
        {.phase = "compile kernels", .done = 0, .total = 1, .unit = "steps", .seconds_left = -1},
        {.phase = "compile kernels", .done = 1, .total = 1, .unit = "steps", .seconds_left = -1}};
    bm_status status = BM_OK;
    bm_tensor inputs = {0}, rows = {0};
    bm_weights *weights = NULL;
    if (bm_device_is_host(emit->device))
        return BM_OK; // nothing to compile
    BM_TRY(bm_progress_tell(progress, &steps[0], err));
    BM_TRY(make_numbers(emit->device, dtype, TOKENS, &inputs, err));
    BM_TRY(watch(emit->device, dtype, bm_job_scales_by_awq(a), &inputs, err));
    BM_TRY(make_numbers(emit->device, BM_DTYPE_F32, ROWS, &rows, err));
    BM_TRY(bm_weights_create(emit->device, ROWS, CHANNELS, BM_DTYPE_F32, "warm up", &bm_masters_choice, &weights, err));
    BM_TRY(bm_weights_set_rows(emit->device, weights, 0, &rows, err));
    for (uint32_t i = 0; i < emit->plan->num_linears; i++)
        if (bm_plan_begins_grid(emit->plan, i))
            BM_TRY(search_on(emit, &emit->plan->linears[i], &inputs, weights, err));
    BM_TRY(bm_progress_tell(progress, &steps[1], err));
done:
    bm_weights_destroy(&weights);
    bm_tensor_destroy(&inputs);
    bm_tensor_destroy(&rows);
    return status;
}
