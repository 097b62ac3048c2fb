// Benchmarks of what a method that watches its inputs does: the Hessian of a batch, its factor, and the rows of a linear; at the
// sizes of a Llama-3-8B block on GPUs, smaller ones elsewhere, so that a run takes seconds.
#include "bench/benchmark.h"

#include "ops/cholesky.h"
#include "ops/gram_search.h"
#include "quant/gptq_rows.h"

#include <stdio.h>

enum { GPU_TOKENS = 8192, CPU_TOKENS = 1024, GROUP_SIZE = 128 };

typedef struct quantization_work {
    bm_multiplier multiplier;
    uint64_t rows, channels; // tokens are rows of inputs
    bm_dtype dtype;          // of the inputs
    const bm_method_params *params;
    bm_tensor x, other, hessian, weights;
    bm_gram gram;
    bm_inverse_factor factor;
    bm_codes codes;
} quantization_work;

// Those of tools that do no more than the paper, and the program's own.
static const bm_method_params plain = {.grid = {4, GROUP_SIZE, true, BM_DTYPE_F16, false, false, 0, 0},
                                       .act_order = BM_COLUMN_ORDER_STATIC};
static const bm_method_params full = {.grid = {4, GROUP_SIZE, true, BM_DTYPE_F16, true, true, 0, 0},
                                      .scale_search = BM_SEARCH_WEIGHTED_MSE,
                                      .act_order = BM_COLUMN_ORDER_STATIC,
                                      .qep_alpha = 0.5,
                                      .code_sweeps = 2,
                                      .scale_refit = true};

static bm_status run_hessian(void *user, bm_device *device, bm_error *err)
{
    quantization_work *w = user;
    (void)device;
    return bm_hessian_add(&w->multiplier, &w->x, NULL, 1.0f, &w->hessian, err);
}

static bm_status run_factor(void *user, bm_device *device, bm_error *err)
{
    quantization_work *w = user;
    (void)device;
    bm_inverse_factor_destroy(&w->factor);
    return bm_inverse_factor_create(&w->multiplier, &w->gram, 0, true, &w->factor, err);
}

static bm_status run_gram_search(void *user, bm_device *device, bm_error *err)
{
    quantization_work *w = user;
    (void)device;
    return bm_gram_search(&w->multiplier, &w->weights, &w->gram.hessian, &w->params->grid, &w->codes.step,
                          &w->codes.zero_point, err);
}

static bm_status run_rows(void *user, bm_device *device, bm_error *err)
{
    quantization_work *w = user;
    (void)device;
    bm_row_errors *errors = bm_alloc_zero(w->weights.rows, sizeof *errors);
    if (!errors)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    const bm_method_rows rows = {.weights = &w->weights, .codes = &w->codes, .errors = errors};
    const bm_status status = bm_gptq_rows_solve(&w->multiplier, &w->gram, &w->factor, w->params, &rows, err);
    bm_free(errors);
    return status;
}

// rows: tokens, for the Hessian; 0: as many as channels. is_narrow: of inputs in 16 bits, as the caller says or float16; else of
// float32.
static const struct {
    const char *name;
    bm_benchmark_work run;
    const bm_method_params *params;
    uint32_t rows, channels, cpu_rows, cpu_channels;
    bool is_narrow;
} table[] = {
    {"hessian", run_hessian, &plain, GPU_TOKENS, 4096, CPU_TOKENS, 1024, false},
    {"hessian", run_hessian, &plain, GPU_TOKENS, 14336, CPU_TOKENS, 3584, false},
    {"hessian", run_hessian, &plain, GPU_TOKENS, 4096, CPU_TOKENS, 1024, true},
    {"hessian", run_hessian, &plain, GPU_TOKENS, 14336, CPU_TOKENS, 3584, true},
    {"inverse_factor", run_factor, &plain, 0, 4096, 0, 1024, false},
    {"inverse_factor", run_factor, &plain, 0, 14336, 0, 3584, false},
    {"gram_search", run_gram_search, &full, 6144, 4096, 64, 1024, false},
    {"gptq_rows_plain", run_rows, &plain, 6144, 4096, 256, 1024, false},
    {"gptq_rows_plain", run_rows, &plain, 4096, 14336, 256, 3584, false},
    {"gptq_rows", run_rows, &full, 6144, 4096, 256, 1024, false},
    {"gptq_rows", run_rows, &full, 4096, 14336, 256, 3584, false},
};

uint32_t bm_benchmark_num_quantization(void)
{
    return BM_COUNT(table);
}

const char *bm_benchmark_quantization_name(uint32_t index)
{
    return table[index].name;
}

static double operations_of(const quantization_work *w, uint32_t index)
{
    if (table[index].run == run_hessian)
        return bm_hessian_operations(w->rows, w->channels, false);
    if (table[index].run == run_factor)
        return bm_cholesky_operations(w->channels);
    if (table[index].run == run_gram_search)
        return bm_gram_search_operations(w->rows, w->channels, &w->params->grid);
    return bm_gptq_rows_operations(w->rows, w->channels, w->params);
}

// What is read and written at least: the matrices once.
static double bytes_of(const quantization_work *w, uint32_t index)
{
    const double square = 4.0 * (double)w->channels * (double)w->channels,
                 rows = 4.0 * (double)w->rows * (double)w->channels;
    if (table[index].run == run_hessian)
        return rows * bm_dtype_size(w->dtype) / sizeof(float) + square; // the lower half, twice
    return table[index].run == run_factor ? 2 * square : rows + square;
}

static bm_status prepare(bm_device *device, quantization_work *w, uint32_t index, uint32_t tokens, bm_error *err)
{
    bm_status status = BM_OK;
    const bm_benchmark_work run = table[index].run;
    BM_TRY(bm_tensor_create(device, w->dtype, tokens, w->channels, "inputs", &w->x, err));
    BM_TRY(bm_benchmark_fill(device, &w->x, 1, 0, err));
    if (run == run_hessian) {
        BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, w->channels, w->channels, "Hessian", &w->hessian, err));
        BM_TRY(bm_fill(device, w->hessian.view, 0, err));
        goto done;
    }
    const bool both = w->params->qep_alpha > 0;
    if (both) {
        BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, tokens, w->channels, "float inputs", &w->other, err));
        BM_TRY(bm_benchmark_fill(device, &w->other, 2, 0, err));
    }
    BM_TRY(bm_gram_create(device, (uint32_t)w->channels, both, &w->gram, err));
    BM_TRY(bm_gram_add(&w->multiplier, &w->gram, &w->x, both ? &w->other : NULL, err));
    BM_TRY(bm_gram_finish(device, &w->gram, NULL, err));
    if (run == run_factor)
        goto done;
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, w->rows, w->channels, "weights", &w->weights, err));
    BM_TRY(bm_benchmark_fill(device, &w->weights, 3, 0, err));
    BM_TRY(bm_codes_create(device, w->rows, w->channels, &w->params->grid, &w->codes, err));
    if (run == run_rows)
        BM_TRY(run_factor(w, device, err));
done:
    return status;
}

static void destroy(quantization_work *w)
{
    bm_tensor *const all[] = {&w->x, &w->other, &w->hessian, &w->weights};
    for (uint32_t i = 0; i < BM_COUNT(all); i++)
        bm_tensor_destroy(all[i]);
    bm_codes_destroy(&w->codes);
    bm_inverse_factor_destroy(&w->factor);
    bm_gram_destroy(&w->gram);
    bm_multiplier_free(&w->multiplier);
}

bm_status bm_benchmark_quantization(bm_device *device, uint32_t index, bm_dtype dtype,
                                    const bm_benchmark_limits *limits, bm_benchmark_stop stop, bm_benchmark_result *out,
                                    bm_error *err)
{
    bm_status status = BM_OK;
    const bool is_cpu = bm_device_get_info(device)->kind == BM_DEVICE_CPU || bm_device_is_host(device);
    const uint32_t channels = is_cpu ? table[index].cpu_channels : table[index].channels;
    const uint32_t rows = is_cpu ? table[index].cpu_rows : table[index].rows;
    const bm_dtype narrow = dtype == BM_DTYPE_BF16 ? dtype : BM_DTYPE_F16;
    quantization_work w = {.params = table[index].params,
                           .channels = channels,
                           .rows = rows > 0 ? rows : channels,
                           .dtype = table[index].is_narrow ? narrow : BM_DTYPE_F32};
    bm_benchmark_result result = {.shape = {w.rows, channels}, .num_shape = 2};
    snprintf(result.name, sizeof result.name, "%s%s", table[index].name,
             !table[index].is_narrow   ? ""
             : narrow == BM_DTYPE_BF16 ? "_bf16"
                                       : "_f16");
    bm_multiplier_init(&w.multiplier, device);
    BM_TRY(prepare(device, &w, index, is_cpu ? CPU_TOKENS : GPU_TOKENS, err));
    BM_TRY(bm_benchmark_measure(device, table[index].run, &w, stop, &result.time, err));
    bm_benchmark_fill_rates(&result, operations_of(&w, index), bytes_of(&w, index), limits);
    *out = result;
done:
    destroy(&w);
    return status;
}
