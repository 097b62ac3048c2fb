// The benchmark of products in 8-bit integers, and of their errors beside wanted outputs.
#include "bench/each_variant.h"
#include "ops/gemm_int8.h"

#include <stdio.h>
#include <string.h>

static const float x_step = 0.0078125f, w_step = 0.03125f; // powers of two

typedef struct int8_work {
    bm_int8_rows x;
    bm_int8_weights *weights;
    bm_tensor y, sums;
    bm_tensor rows, steps; // of w, from which weights are made
    bool compares;
    bm_benchmark_stop stop;
} int8_work;

static int8_t element(uint32_t seed, uint64_t i)
{
    uint64_t h = (i + 1) * UINT64_C(0x9e3779b97f4a7c15) + seed;
    h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return (int8_t)(h >> 40);
}

static bm_status fill(bm_device *device, const bm_tensor *codes, uint32_t seed, uint64_t first, bm_error *err)
{
    const uint64_t count = codes->rows * codes->cols;
    int8_t *bytes = bm_alloc(count, 1);
    if (!bytes)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < count; i++)
        bytes[i] = element(seed, first * codes->cols + i);
    const bm_status status = bm_tensor_upload(device, codes, bytes, err);
    bm_free(bytes);
    return status;
}

static bm_status fill_steps(bm_device *device, const bm_tensor *steps, float step, bm_error *err)
{
    uint32_t word = 0;
    memcpy(&word, &step, sizeof word);
    return bm_fill(device, steps->view, word, err);
}

// On a CPU device each dispatch is waited for where there are several: such a product may take long.
static bm_status run(void *user, bm_device *device, bm_error *err)
{
    const int8_work *w = user;
    const uint64_t m = w->y.rows, n = w->y.cols;
    uint64_t rows = m, cols = n;
    bm_status status = BM_OK;
    if (!bm_device_kind_is_gpu(bm_device_get_info(device)->kind))
        bm_gemm_piece(device, w->weights->codes, w->weights->codes->dtype, m, n, &rows, &cols);
    for (uint64_t r = 0; r < m; r += rows) {
        const uint64_t height = bm_min_u64(rows, m - r);
        const bm_int8_rows x = {bm_tensor_rows(&w->x.codes, r, height), bm_tensor_rows(&w->x.rows, r, height)};
        const bm_tensor y = bm_tensor_rows(&w->y, r, height), sums = bm_tensor_rows(&w->sums, r, height);
        BM_TRY(w->compares ? bm_gemm_int8_loss(device, &x, w->weights, NULL, &y, &sums, err)
                           : bm_gemm_int8(device, &x, w->weights, NULL, &y, err));
        if (rows < m) {
            BM_TRY(bm_device_wait(device, err));
            BM_TRY(bm_benchmark_check_stop(w->stop, err));
        }
    }
done:
    return status;
}

static float output(const int8_work *w, uint64_t i, uint64_t j)
{
    const uint64_t k = w->x.codes.cols;
    int64_t sum = 0;
    for (uint64_t l = 0; l < k; l++)
        sum += element(1, i * k + l) * element(2, j * k + l);
    return (float)sum * x_step * w_step;
}

// 256 outputs spread over y, the last among them, which are equal on every device; of errors, the last row, beside zeros.
static bm_status check(bm_device *device, const int8_work *w, bm_error *err)
{
    const uint64_t m = w->y.rows, n = w->y.cols;
    bm_status status = BM_OK;
    float sums[4] = {0}, *y = bm_alloc(m * n, sizeof *y);
    BM_FAIL_IF(!y, err, BM_E_MEMORY, "out of memory");
    if (w->compares) {
        const bm_tensor last = bm_tensor_rows(&w->sums, m - 1, 1);
        double loss = 0;
        BM_TRY(bm_tensor_download(device, &last, sums, err));
        BM_TRY(bm_device_wait(device, err));
        for (uint64_t j = 0; j < n; j++)
            loss += (double)output(w, m - 1, j) * (double)output(w, m - 1, j);
        BM_FAIL_IF(!((double)sums[0] >= loss * (1 - 1e-4) && (double)sums[0] <= loss * (1 + 1e-4)), err, BM_E_NUMERIC,
                   "gemm_int8_loss: row %llu has an error of %g, expected %g", (unsigned long long)(m - 1),
                   (double)sums[0], loss);
        goto done;
    }
    BM_TRY(bm_tensor_download(device, &w->y, y, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint64_t s = 0; s < 256; s++) {
        const uint64_t at = s == 255 ? m * n - 1 : s * (m * n / 256);
        BM_FAIL_IF(y[at] != output(w, at / n, at % n), err, BM_E_NUMERIC, "gemm_int8: y[%llu, %llu] = %g, expected %g",
                   (unsigned long long)(at / n), (unsigned long long)(at % n), (double)y[at],
                   (double)output(w, at / n, at % n));
    }
done:
    bm_free(y);
    return status;
}

// Rows of w are at most so many; where they are all, they are filled here.
static bm_status create_operands(bm_device *device, int8_work *w, const bm_benchmark_shape *s, uint64_t max_rows,
                                 bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_int8_rows_create(device, s->m, s->k, &w->x, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, s->m, s->n, "y", &w->y, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, s->m, 4, "sums", &w->sums, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I8, bm_min_u64(s->n, max_rows), s->k, "rows", &w->rows, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, w->rows.rows, 1, "steps", &w->steps, err));
    BM_TRY(fill(device, &w->x.codes, 1, 0, err));
    BM_TRY(fill_steps(device, &w->x.rows, x_step, err));
    BM_TRY(fill_steps(device, &w->steps, w_step, err));
    if (w->rows.rows == s->n)
        BM_TRY(bm_benchmark_fill_rows(device, &w->rows, 0, fill, w->stop, err));
done:
    return status;
}

static void destroy_operands(int8_work *w)
{
    bm_int8_rows_destroy(&w->x);
    bm_tensor_destroy(&w->y);
    bm_tensor_destroy(&w->sums);
    bm_tensor_destroy(&w->rows);
    bm_tensor_destroy(&w->steps);
}

// By the variant that the device's words ask for.
static bm_status measure(bm_device *device, int8_work *w, const bm_benchmark_limits *limits, bm_benchmark_result *out,
                         bm_error *err)
{
    const uint64_t m = w->y.rows, n = w->y.cols, k = w->rows.cols;
    bm_status status = BM_OK;
    *out = (bm_benchmark_result){.shape = {m, n, k}, .num_shape = 3, .counts_integers = true};
    snprintf(out->name, sizeof out->name, w->compares ? "gemm_int8_loss" : "gemm_int8");
    BM_TRY(bm_int8_weights_create(device, n, k, "benchmark", NULL, &w->weights, err));
    for (uint64_t first = 0; first < n; first += w->rows.rows) {
        const uint64_t count = bm_min_u64(w->rows.rows, n - first);
        const bm_tensor some = bm_tensor_rows(&w->rows, 0, count), steps = bm_tensor_rows(&w->steps, 0, count);
        if (w->rows.rows < n)
            BM_TRY(bm_benchmark_fill_rows(device, &some, first, fill, w->stop, err));
        BM_TRY(bm_int8_weights_set_rows(device, w->weights, first, &some, &steps, err));
    }
    BM_TRY(bm_fill(device, w->y.view, w->compares ? 0 : 0xffffffffu, err)); // NaN: what is not written is seen
    BM_TRY(bm_benchmark_measure(device, run, w, w->stop, &out->time, err));
    BM_TRY(check(device, w, err));
    const uint32_t variant = w->weights->codes->choice.variant;
    const bm_benchmark_limits integers = bm_benchmark_limits_of(limits, BM_KERNEL_GEMM_INT8, variant);
    bm_benchmark_fill_rates(out, bm_gemm_operations(m, n, k),
                            (double)m * (double)k + (double)n * (double)k + 4.0 * (double)m * (double)n, &integers);
done:
    bm_int8_weights_destroy(&w->weights);
    return status;
}

bm_status bm_benchmark_gemm_int8(bm_device *device, uint64_t m, uint64_t n, uint64_t k, bool compares,
                                 const bm_benchmark_limits *limits, bm_benchmark_stop stop, bm_benchmark_result *out,
                                 bm_error *err)
{
    const bm_benchmark_shape shape = {NULL, (uint32_t)m, (uint32_t)n, (uint32_t)k};
    int8_work w = {.compares = compares, .stop = stop};
    bm_benchmark_result result;
    bm_status status = create_operands(device, &w, &shape, 1024, err);
    if (status == BM_OK)
        status = measure(device, &w, limits, &result, err);
    if (status == BM_OK)
        *out = result;
    destroy_operands(&w);
    return status;
}

static bool takes(const void *work, bm_device *device, const char *variant)
{
    (void)work;
    return strcmp(bm_gemm_int8_choose(device).name, variant) == 0;
}

static bm_status measure_variant(void *work, bm_device *device, const bm_benchmark_limits *limits, const char **variant,
                                 bm_benchmark_result *out, bm_error *err)
{
    (void)variant;
    return measure(device, work, limits, out, err);
}

bm_status bm_benchmark_gemm_int8_variants(bm_device *device, const bm_benchmark_shape *shape,
                                          const bm_variant_list *list, const bm_benchmark_limits *limits,
                                          bm_benchmark_stop stop, bm_benchmark_report report, void *user, bm_error *err)
{
    static const bm_variant_benchmark benchmark = {"gemm_int8", bm_gemm_int8_variant, takes, measure_variant};
    int8_work w = {.stop = stop};
    const uint64_t most =
        bm_device_get_info(device)->limits.max_allocation_bytes / bm_tensor_stride(BM_DTYPE_I8, shape->k);
    bm_status status = create_operands(device, &w, shape, bm_max_u64(1024, most / 1024 * 1024), err);
    if (status == BM_OK)
        status = bm_benchmark_variants(device, &benchmark, &w, list, limits, report, user, err);
    destroy_operands(&w);
    return status;
}
