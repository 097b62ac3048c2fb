// The benchmark of products of few rows with weights that stay packed codes of 4 bits, in groups of 128.
#include "base/half.h"
#include "bench/benchmark.h"
#include "ops/gemm_codes.h"

#include <math.h>
#include <string.h>

enum { BITS = 4, GROUP = 128, MAX_COPIES = 64 };
#define LEAST_BYTES (UINT64_C(256) << 20) // of all weights that a run reads: more than caches hold
static const float step = 0.015625f;      // a power of two

typedef struct codes_work {
    bm_code_weights *weights[MAX_COPIES]; // all the same
    uint32_t num_copies;
    bm_tensor x, y;
} codes_work;

static bm_status run(void *user, bm_device *device, bm_error *err)
{
    const codes_work *w = user;
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < w->num_copies && status == BM_OK; i++)
        status = bm_gemm_codes(device, &w->x, w->weights[i], NULL, false, &w->y, err);
    return status;
}

static uint32_t word_of(uint64_t row, uint64_t index)
{
    uint64_t h = (row * 65537 + index + 1) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return (uint32_t)(h >> 32);
}

static bm_status create(bm_device *device, codes_work *w, uint64_t m, uint64_t n, uint64_t k, bm_dtype dtype,
                        bm_error *err)
{
    const bool is_large = bm_device_kind_is_gpu(bm_device_get_info(device)->kind);
    const uint64_t bytes = bm_code_weights_bytes(n, k, BITS, GROUP, true), cols = bm_divide_up(k * BITS, 32);
    uint32_t bits_of_step;
    bm_status status = BM_OK;
    uint32_t *words = bm_alloc(n * cols, sizeof *words);
    BM_FAIL_IF(!words, err, BM_E_MEMORY, "out of memory");
    memcpy(&bits_of_step, &step, sizeof step);
    for (uint64_t i = 0; i < n * cols; i++)
        words[i] = word_of(i / cols, i % cols);
    w->num_copies = (uint32_t)bm_min_u64(MAX_COPIES, bm_divide_up(LEAST_BYTES / (is_large ? 1 : 4), bytes));
    for (uint32_t i = 0; i < w->num_copies; i++) {
        BM_TRY(bm_code_weights_create(device, n, k, BITS, GROUP, true, "codes", &w->weights[i], err));
        BM_TRY(bm_tensor_upload(device, &w->weights[i]->words, words, err));
        BM_TRY(bm_fill(device, w->weights[i]->step.view, bits_of_step, err));
    }
    BM_TRY(bm_tensor_create(device, dtype, m, k, "x", &w->x, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, m, n, "y", &w->y, err));
    BM_TRY(bm_benchmark_fill(device, &w->x, 1, 0, err));
    BM_TRY(bm_fill(device, w->y.view, 0xffffffffu, err)); // NaN: an output that is not written is seen
done:
    bm_free(words);
    return status;
}

// 256 outputs beside sums in double.
static bm_status check(bm_device *device, const codes_work *w, bm_error *err)
{
    enum { SAMPLES = 256 };
    const uint64_t n = w->y.cols, k = w->x.cols, outputs = w->y.rows * n;
    bm_status status = BM_OK;
    uint8_t *x = bm_alloc(w->x.rows * k, bm_dtype_size(w->x.dtype));
    float *y = bm_alloc(outputs, sizeof *y);
    BM_FAIL_IF(!x || !y, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_download(device, &w->x, x, err));
    BM_TRY(bm_tensor_download(device, &w->y, y, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint64_t s = 0; s < SAMPLES; s++) {
        const uint64_t at = s * (outputs - 1) / (SAMPLES - 1), row = at / n, j = at % n;
        double sum = 0, size = 0;
        for (uint64_t l = 0; l < k; l++) {
            const double code = (double)(word_of(j, l / 8) >> l % 8 * 4 & 15) - 8;
            const double term = bm_load_real(x, w->x.dtype, row * k + l) * code * (double)step;
            sum += term;
            size += fabs(term);
        }
        BM_FAIL_IF(!(fabs(y[at] - sum) <= (double)(k + 4) * 0x1p-24 * size), err, BM_E_NUMERIC,
                   "gemm_codes: y[%llu, %llu] = %g, expected %g", (unsigned long long)row, (unsigned long long)j,
                   (double)y[at], sum);
    }
done:
    bm_free(x);
    bm_free(y);
    return status;
}

bm_status bm_benchmark_gemm_codes(bm_device *device, uint64_t m, uint64_t n, uint64_t k, bm_dtype dtype,
                                  const bm_benchmark_limits *limits, bm_benchmark_stop stop, bm_benchmark_result *out,
                                  bm_error *err)
{
    codes_work w = {.num_copies = 0};
    bm_status status = BM_OK;
    *out = (bm_benchmark_result){.name = "gemm_codes", .shape = {m, n, k}, .num_shape = 3};
    BM_TRY(create(device, &w, m, n, k, dtype, err));
    BM_TRY(bm_benchmark_measure(device, run, &w, stop, &out->time, err));
    BM_TRY(check(device, &w, err));
    out->time.seconds /= w.num_copies;
    out->time.fastest /= w.num_copies;
    out->time.slowest /= w.num_copies;
    bm_benchmark_fill_rates(out, bm_gemm_operations(m, n, k),
                            (double)bm_code_weights_bytes(n, k, BITS, GROUP, true) +
                                (double)(m * k) * bm_dtype_size(dtype) + 4.0 * (double)(m * n),
                            limits);
done:
    for (uint32_t i = 0; i < w.num_copies; i++)
        bm_code_weights_destroy(&w.weights[i]);
    bm_tensor_destroy(&w.x);
    bm_tensor_destroy(&w.y);
    return status;
}
