// The benchmark of piecewise search: a candidate of a group of linears with static 8-bit inputs. gemm_int8 of the same sizes is
// its product alone.
#include "bench/benchmark.h"
#include "ops/gemm_int8.h"
#include "quant/search_loss.h"

#include <math.h>
#include <stdio.h>

enum { CANDIDATES = 16 }; // a run: what is once a batch counts as it does in a search

typedef struct search_work {
    bm_weights *weights;
    bm_search_loss *loss;
    bm_smooth_batch batch;
    double losses[CANDIDATES];
} search_work;

static bm_status run(void *user, bm_device *device, bm_error *err)
{
    search_work *w = user;
    (void)device;
    return bm_search_loss_run(w->loss, &w->batch, w->losses, err);
}

static bm_status prepare(bm_device *device, search_work *w, uint64_t m, uint64_t n, uint64_t k, bm_benchmark_stop stop,
                         bm_error *err)
{
    static const bm_gemm_choice plain = {.name = "masters", .form = BM_GEMM_ROWS, .group = 64, .slice = 8, .gflops = 1};
    bm_status status = BM_OK;
    bm_tensor inputs = {0};
    BM_TRY(bm_weights_create(device, n, k, BM_DTYPE_F32, "benchmark", &plain, &w->weights, err));
    for (uint32_t p = 0; p < w->weights->num_parts; p++)
        for (uint64_t r = 0; r < w->weights->parts[p].rows; r += 1024) { // in pieces: little staging is enough
            const bm_tensor *part = &w->weights->parts[p];
            const bm_tensor rows = bm_tensor_rows(part, r, bm_min_u64(1024, part->rows - r));
            BM_TRY(bm_benchmark_check_stop(stop, err));
            BM_TRY(bm_benchmark_fill(device, &rows, 2, p * w->weights->rows_per_part + r, err));
        }
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, m, k, "inputs", &inputs, err));
    BM_TRY(bm_benchmark_fill(device, &inputs, 1, 0, err));
    const bm_weights *const linears[] = {w->weights};
    const bm_grid_params grid = {8, (uint32_t)k, true, BM_DTYPE_F32, false, false, false, 0, 0};
    const bm_search_loss_params params = {
        .inputs = &inputs, .linears = linears, .num_linears = 1, .grids = &grid, .input = BM_INPUT_STATIC};
    BM_TRY(bm_search_loss_create(device, &params, &w->loss, err));
done:
    bm_tensor_destroy(&inputs);
    return status;
}

// Values are uniform in [-1, 1), of variance 1 / 3, and steps about 1 / 127: each rounding adds the variance step^2 / 12.
static bm_status check(const search_work *w, uint64_t m, uint64_t n, uint64_t k, bm_error *err)
{
    const double expected = (double)k * 2 / (3 * 12.0 * 127 * 127);
    const double bound = 0.1 + 8 / sqrt((double)m * (double)n) + 4.0 / (double)k;
    for (uint32_t i = 0; i < w->batch.count; i++)
        if (!(fabs(w->losses[i] / expected - 1) <= bound))
            return bm_fail(err, BM_E_NUMERIC, "search_loss: candidate %u loses %g, expected about %g", i, w->losses[i],
                           expected);
    return BM_OK;
}

bm_status bm_benchmark_search_loss(bm_device *device, uint64_t m, uint64_t n, uint64_t k,
                                   const bm_benchmark_limits *limits, bm_benchmark_stop stop, bm_benchmark_result *out,
                                   bm_error *err)
{
    bm_status status = BM_OK;
    double peaks[CANDIDATES];
    search_work w = {0};
    bm_benchmark_result result = {.shape = {m, n, k}, .num_shape = 3, .counts_integers = true};
    float *scales = bm_alloc(CANDIDATES, k * sizeof *scales);
    snprintf(result.name, sizeof result.name, "search_loss");
    BM_FAIL_IF(!scales, err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < CANDIDATES * k; i++)
        scales[i] = 1;
    for (uint32_t i = 0; i < CANDIDATES; i++)
        peaks[i] = 1;
    // On a CPU device one candidate may take long.
    const bool is_gpu = bm_device_kind_is_gpu(bm_device_get_info(device)->kind);
    w.batch = (bm_smooth_batch){is_gpu ? CANDIDATES : 1, scales, peaks, 1, BM_SMOOTH_WHOLE};
    BM_TRY(prepare(device, &w, m, n, k, stop, err));
    BM_TRY(bm_benchmark_measure(device, run, &w, stop, &result.time, err));
    BM_TRY(check(&w, m, n, k, err));
    result.time.seconds /= w.batch.count;
    result.time.fastest /= w.batch.count;
    result.time.slowest /= w.batch.count;
    const bm_benchmark_limits integers =
        bm_benchmark_limits_of(limits, BM_KERNEL_GEMM_INT8, bm_gemm_int8_choose(device).variant);
    bm_benchmark_fill_rates(&result, bm_gemm_operations(m, n, k),
                            4.0 * ((double)m * (double)k + (double)n * (double)k + (double)m * (double)n), &integers);
    *out = result;
done:
    bm_search_loss_destroy(&w.loss);
    bm_weights_destroy(&w.weights);
    bm_free(scales);
    return status;
}
