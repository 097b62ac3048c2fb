// Measuring: warm-up, medians between timestamps, the device's limits, and the hot kernels.
#include "bench/each_variant.h"
#include "device/kernels.h"
#include "base/clock.h"
#include "base/half.h"
#include "base/str.h"
#include "ops/settle.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WARM_UP_NS 100000000u
#define STAYS_WARM_NS 200000000u // behind the last measurement: clocks do not fall so soon
#define LEAST_NS 2000000.0       // of work between two timestamps: 100 times the cost of a launch
#define LONG_NS 50000000.0       // of one run: such ones are waited for
#define NUM_RUNS 9
#define NUM_RUNS_SLOW 5 // of more than half a second each

static bool is_gpu(const bm_device *device)
{
    return bm_device_kind_is_gpu(bm_device_get_info(device)->kind);
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bm_status bm_benchmark_check_stop(bm_benchmark_stop stop, bm_error *err)
{
    return stop && stop() ? bm_fail(err, BM_E_CANCELLED, "interrupted") : BM_OK;
}

// The device that was measured last, and when. Measuring is one thread's: two at once would measure each other.
static const bm_device *last_device;
static uint64_t last_ns;

static bool is_warm(const bm_device *device)
{
    return !is_gpu(device) || (device == last_device && bm_clock_ns() - last_ns < STAYS_WARM_NS);
}

bm_status bm_benchmark_measure(bm_device *device, bm_benchmark_work work, void *user, bm_benchmark_stop stop,
                               bm_benchmark_time *out, bm_error *err)
{
    bm_settling settling = {.least = 0};
    bm_status status = BM_OK;
    double times[NUM_RUNS] = {0}, one = 0;
    uint32_t warm_runs = 0;
    BM_TRY(work(user, device, err)); // compiles
    BM_TRY(bm_device_wait(device, err));
    const bool has_settled = is_warm(device); // behind compiling, in which clocks fall
    const uint64_t start = bm_clock_ns();
    uint64_t now = start;
    for (bool goes_on = true; goes_on;) {
        const uint64_t before = now;
        BM_TRY(bm_benchmark_check_stop(stop, err));
        BM_TRY(work(user, device, err));
        BM_TRY(bm_device_wait(device, err));
        warm_runs++;
        now = bm_clock_ns();
        goes_on = has_settled ? now - start < WARM_UP_NS
                              : bm_settling_goes_on(&settling, now, (double)bm_max_u64(1, now - before) * 1e-9);
    }
    one = has_settled ? (double)(now - start) / warm_runs : 1e9 * settling.least;
    const uint32_t repeats = one >= LEAST_NS ? 1 : (uint32_t)(LEAST_NS / one) + 1;
    const uint32_t runs = one > 5e8 ? NUM_RUNS_SLOW : NUM_RUNS;
    for (uint32_t i = 0; i < runs; i++) {
        BM_TRY(bm_timestamp_record(device, 2 * i, err));
        for (uint32_t r = 0; r < repeats; r++)
            BM_TRY(work(user, device, err));
        BM_TRY(bm_timestamp_record(device, 2 * i + 1, err));
        if (one >= LONG_NS) { // so that a stop is seen; the wait lies between two runs
            BM_TRY(bm_device_wait(device, err));
            BM_TRY(bm_benchmark_check_stop(stop, err));
        }
    }
    BM_TRY(bm_device_wait(device, err));
    for (uint32_t i = 0; i < runs; i++) {
        BM_TRY(bm_timestamp_elapsed_ns(device, 2 * i, 2 * i + 1, &times[i], err));
        times[i] *= 1e-9 / repeats;
    }
    qsort(times, runs, sizeof times[0], compare_doubles);
    *out = (bm_benchmark_time){times[runs / 2], times[0], times[runs - 1], runs};
    last_device = device;
    last_ns = bm_clock_ns();
done:
    return status;
}

// ---- limits ----

typedef struct fma_work {
    bm_tensor y;
    bm_call call;
    bm_fma_chain_scalars scalars;
} fma_work;

static bm_status fma_run(void *user, bm_device *device, bm_error *err)
{
    fma_work *w = user;
    w->call.scalars = &w->scalars;
    return bm_dispatch(device, &w->call, err);
}

// Chains as wide and as many as hide the latency: 12 vectors of 16 on a CPU with such vectors, 32 numbers elsewhere.
static bm_status measure_fma(bm_device *device, bm_benchmark_stop stop, double *gflops, bm_error *err)
{
    bm_status status = BM_OK;
    const bm_device_info *info = bm_device_get_info(device);
    const bool cpu_vectors = info->limits.vector_width > 0 && info->kind == BM_DEVICE_CPU;
    const uint32_t group = cpu_vectors ? 1 : 64, quads = cpu_vectors ? 48 : 8;
    const uint32_t items = is_gpu(device) ? 64 * 16384 : bm_device_is_host(device) ? 1 : 512;
    const uint32_t rounds = is_gpu(device) ? 2048 : bm_device_is_host(device) ? 20000 : 8192;
    bm_benchmark_time time;
    fma_work w = {.scalars = {items, rounds, 0.9999f, 0.001f}};
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, items, 4, "fma chains", &w.y, err));
    w.call = (bm_call){.kernel = BM_KERNEL_FMA_CHAIN,
                       .buffers = {w.y.view},
                       .tunables = {group, quads},
                       .groups = {(uint32_t)bm_divide_up(items, group), 1, 1}};
    BM_TRY(bm_benchmark_measure(device, fma_run, &w, stop, &time, err));
    *gflops = 8.0 * quads * rounds * items / time.fastest * 1e-9; // a limit is the best that was seen
done:
    bm_tensor_destroy(&w.y);
    return status;
}

typedef struct copy_work {
    bm_tensor x, y;
    bm_call call;
    bm_stream_copy_scalars scalars;
} copy_work;

static bm_status copy_run(void *user, bm_device *device, bm_error *err)
{
    copy_work *w = user;
    w->call.scalars = &w->scalars;
    return bm_dispatch(device, &w->call, err);
}

static bm_status measure_copy(bm_device *device, bm_benchmark_stop stop, double *gbps, bm_error *err)
{
    bm_status status = BM_OK;
    // Far larger than any cache: 512 MiB each on a GPU, 128 MiB elsewhere.
    const uint64_t bytes = bm_min_u64(is_gpu(device) ? UINT64_C(512) << 20 : UINT64_C(128) << 20,
                                      bm_device_get_info(device)->limits.max_allocation_bytes / 16 * 16);
    bm_benchmark_time time;
    copy_work w = {.scalars = {(uint32_t)(bytes / 16)}};
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, bytes / 16, 4, "copy from", &w.x, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, bytes / 16, 4, "copy to", &w.y, err));
    BM_TRY(bm_fill(device, w.x.view, 0x3f800000u, err));
    w.call = (bm_call){.kernel = BM_KERNEL_STREAM_COPY, .buffers = {w.x.view, w.y.view}, .groups = {1, 1, 1}};
    // One quad a work-item: on a CPU a work-item that walked on would leave its neighbours' cache lines behind.
    w.call.groups[0] = (uint32_t)bm_min_u64(bytes / 16 / 64, bm_device_get_info(device)->limits.max_groups[0]);
    BM_TRY(bm_benchmark_measure(device, copy_run, &w, stop, &time, err));
    *gbps = 2.0 * (double)bytes / time.fastest * 1e-9;
done:
    bm_tensor_destroy(&w.x);
    bm_tensor_destroy(&w.y);
    return status;
}

typedef struct matrix_work {
    bm_tensor y;
    bm_call call;
    bm_matrix_chain_scalars scalars;
} matrix_work;

static bm_status matrix_run(void *user, bm_device *device, bm_error *err)
{
    matrix_work *w = user;
    w->call.scalars = &w->scalars;
    return bm_dispatch(device, &w->call, err);
}

// y is rounds, in the first row and the last.
static bm_status check_matrix_chain(bm_device *device, const matrix_work *w, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t last = 0; last < 2; last++) {
        float got[4] = {0};
        const bm_tensor row = bm_tensor_rows(&w->y, last ? w->y.rows - 1 : 0, 1);
        BM_TRY(bm_tensor_download(device, &row, got, err));
        BM_TRY(bm_device_wait(device, err));
        for (uint32_t c = 0; c < 4; c++)
            BM_FAIL_IF(got[c] != (float)w->scalars.rounds, err, BM_E_NUMERIC, "matrix_chain: %g rounds, expected %u",
                       (double)got[c], w->scalars.rounds);
    }
done:
    return status;
}

// The faster of two variants for one type; 0: neither is there. operations: of a round of a work-group.
typedef struct matrix_variant {
    uint32_t variant, chains;
    double operations;
} matrix_variant;

static bm_status measure_matrices(bm_device *device, const matrix_variant variants[2], bm_benchmark_stop stop,
                                  double *gflops, bm_error *err)
{
    enum { GROUP = 128, GROUPS = 4096 };
    bm_status status = BM_OK;
    matrix_work w = {.scalars = {GROUPS * GROUP, 512}};
    *gflops = 0;
    for (uint32_t i = 0; i < 2; i++) {
        bm_benchmark_time time;
        if (!bm_kernel_has_variant(device, BM_KERNEL_MATRIX_CHAIN, variants[i].variant))
            continue;
        if (!w.y.rows)
            BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, w.scalars.items, 4, "matrix chains", &w.y, err));
        w.call = (bm_call){.kernel = BM_KERNEL_MATRIX_CHAIN,
                           .variant = variants[i].variant,
                           .buffers = {w.y.view},
                           .tunables = {GROUP, variants[i].chains},
                           .groups = {GROUPS, 1, 1}};
        BM_TRY(bm_benchmark_measure(device, matrix_run, &w, stop, &time, err));
        BM_TRY(check_matrix_chain(device, &w, err));
        *gflops = fmax(*gflops, variants[i].operations * w.scalars.rounds * GROUPS / time.fastest * 1e-9);
    }
done:
    bm_tensor_destroy(&w.y);
    return status;
}

bm_status bm_benchmark_measure_limits(bm_device *device, bm_benchmark_stop stop, bm_benchmark_limits *out,
                                      bm_error *err)
{
    enum { CHAINS = 16, SUBGROUPS = 4 };
    // Products of 16 x 8 x 16 or 32 a chain; of 128 x 128 x 64 or 128 by a warpgroup.
    const matrix_variant halves[2] = {
        {BM_VARIANT_MATRIX_CHAIN_CM, CHAINS, 2.0 * 16 * 8 * 16 * CHAINS * SUBGROUPS},
        {BM_VARIANT_MATRIX_CHAIN_WGMMA, CHAINS, 2.0 * 128 * 128 * 64},
    };
    const matrix_variant bytes[2] = {
        {BM_VARIANT_MATRIX_CHAIN_CM_I8, CHAINS, 2.0 * 16 * 8 * 32 * CHAINS * SUBGROUPS},
        {BM_VARIANT_MATRIX_CHAIN_WGMMA_I8, CHAINS, 2.0 * 128 * 128 * 128},
    };
    bm_status status = BM_OK;
    BM_TRY(measure_fma(device, stop, &out->gflops, err));
    BM_TRY(measure_matrices(device, halves, stop, &out->matrix_gflops, err));
    BM_TRY(measure_matrices(device, bytes, stop, &out->matrix_gops, err));
    BM_TRY(measure_copy(device, stop, &out->gbps, err));
done:
    return status;
}

bm_benchmark_limits bm_benchmark_limits_of(const bm_benchmark_limits *limits, bm_kernel_id kernel, uint32_t variant)
{
    const bm_kernel_variant *needs = &bm_kernel_table[kernel].variants[variant];
    bm_benchmark_limits out = *limits;
    const double of_matrices = kernel == BM_KERNEL_GEMM_INT8 ? limits->matrix_gops : limits->matrix_gflops;
    if ((needs->matrix.m > 0 || needs->wgmma) && of_matrices > 0)
        out.gflops = of_matrices;
    if (needs->int8_dot)
        out.gflops *= 4; // an instruction has four products where an fma has one
    return out;
}

void bm_benchmark_fill_rates(bm_benchmark_result *out, double operations, double bytes,
                             const bm_benchmark_limits *limits)
{
    out->gflops = operations / out->time.seconds * 1e-9;
    out->gbps = bytes / out->time.seconds * 1e-9;
    out->limit_share = fmax(out->gflops / limits->gflops, out->gbps / limits->gbps);
}

const char *bm_benchmark_share_words(double share, char out[BM_BENCHMARK_SHARE_SIZE])
{
    if (share < 1.1) // a tenth is noise
        snprintf(out, BM_BENCHMARK_SHARE_SIZE, "%3.0f %% of the limit", 100 * share);
    else
        snprintf(out, BM_BENCHMARK_SHARE_SIZE, "above the limit as measured");
    return out;
}

// ---- data: element i of matrix number seed, a hash in [-1, 1) in steps of 1/64, which every storage type holds exactly ----

static float element(uint32_t seed, uint64_t i)
{
    uint64_t h = (i + 1) * UINT64_C(0x9e3779b97f4a7c15) + seed;
    h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    h ^= h >> 27;
    return (float)((int)(h >> 32 & 127) - 64) / 64.0f;
}

// Fills rows first .. of a whole matrix into a tensor of that many rows.
bm_status bm_benchmark_fill(bm_device *device, const bm_tensor *tensor, uint32_t seed, uint64_t first, bm_error *err)
{
    uint8_t *bytes = bm_alloc(tensor->rows * tensor->cols, bm_dtype_size(tensor->dtype));
    if (!bytes)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < tensor->rows * tensor->cols; i++)
        bm_store_real(bytes, tensor->dtype, i, element(seed, first * tensor->cols + i));
    const bm_status status = bm_tensor_upload(device, tensor, bytes, err);
    bm_free(bytes);
    return status;
}

// ---- products ----

typedef struct gemm_work {
    bm_tensor rows, x, y; // rows: of w, from which weights are made
    bm_weights *weights;
    bm_benchmark_stop stop;
} gemm_work;

// A product may take a slow CPU half a minute: there each of its dispatches is waited for, half a second by the estimate.
// On a GPU the waits would show in the times.
static bm_status gemm_run(void *user, bm_device *device, bm_error *err)
{
    const gemm_work *w = user;
    bm_status status = BM_OK;
    const uint64_t n = w->y.cols;
    uint64_t rows = w->x.rows, cols = n;
    bm_gemm_piece(device, w->weights, w->x.dtype, w->x.rows, n, &rows, &cols);
    if (is_gpu(device) || (rows >= w->x.rows && cols >= n))
        return bm_gemm(device, &w->x, w->weights, NULL, &w->y, err);
    for (uint64_t r = 0; r < w->x.rows; r += rows)
        for (uint64_t c = 0; c < n; c += cols) {
            const bm_tensor x = bm_tensor_rows(&w->x, r, bm_min_u64(rows, w->x.rows - r));
            const bm_tensor some_y = bm_tensor_rows(&w->y, r, x.rows);
            const bm_tensor y = bm_tensor_columns(&some_y, c, bm_min_u64(cols, n - c));
            BM_TRY(bm_gemm_rows(device, &x, w->weights, c, y.cols, NULL, &y, err));
            BM_TRY(bm_device_wait(device, err));
            BM_TRY(bm_benchmark_check_stop(w->stop, err));
        }
done:
    return status;
}

// 256 outputs spread over y, the corners among them, against sums in double.
static bm_status check_gemm(bm_device *device, const gemm_work *w, bm_error *err)
{
    bm_status status = BM_OK;
    const uint64_t k = w->x.cols, n = w->y.cols, count = w->y.rows * n;
    const double unit = w->y.dtype == BM_DTYPE_F32 ? 0x1p-24 : w->y.dtype == BM_DTYPE_F16 ? 0x1p-11 : 0x1p-8;
    uint8_t *bytes = bm_alloc(count, bm_dtype_size(w->y.dtype));
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_download(device, &w->y, bytes, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint64_t s = 0; s < 256; s++) {
        const uint64_t at = s == 255 ? count - 1 : s * (count / 256) + s * 7919 % bm_max_u64(1, count / 256);
        double sum = 0, magnitude = 0;
        for (uint64_t l = 0; l < k; l++) {
            const double product = (double)element(1, at / n * k + l) * (double)element(2, at % n * k + l);
            sum += product;
            magnitude += fabs(product);
        }
        const double got = (double)bm_load_real(bytes, w->y.dtype, at),
                     bound = (double)k * 0x1p-24 * magnitude + unit * fabs(sum) + 1e-30;
        BM_FAIL_IF(!(fabs(got - sum) <= bound), err, BM_E_NUMERIC,
                   "gemm [%llu, %llu, %llu]: y[%llu, %llu] = %g, expected %g within %g", (unsigned long long)w->y.rows,
                   (unsigned long long)n, (unsigned long long)k, (unsigned long long)(at / n),
                   (unsigned long long)(at % n), got, sum, bound);
    }
done:
    bm_free(bytes);
    return status;
}

bm_status bm_benchmark_fill_rows(bm_device *device, const bm_tensor *rows, uint64_t first, bm_benchmark_filler fill,
                                 bm_benchmark_stop stop, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint64_t r = 0; r < rows->rows; r += 1024) {
        const bm_tensor some = bm_tensor_rows(rows, r, bm_min_u64(1024, rows->rows - r));
        BM_TRY(bm_benchmark_check_stop(stop, err));
        BM_TRY(fill(device, &some, 2, first + r, err));
    }
done:
    return status;
}

// Rows of w, x and y of a product. Rows are at most so many; where they are all, they are filled here.
static bm_status create_operands(bm_device *device, const bm_benchmark_shape *s, bm_dtype dtype, uint64_t max_rows,
                                 gemm_work *w, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_tensor_create(device, dtype, bm_min_u64(s->n, max_rows), s->k, "rows", &w->rows, err));
    BM_TRY(bm_tensor_create(device, dtype, s->m, s->k, "x", &w->x, err));
    BM_TRY(bm_tensor_create(device, dtype, s->m, s->n, "y", &w->y, err));
    if (w->rows.rows == s->n)
        BM_TRY(bm_benchmark_fill_rows(device, &w->rows, 0, bm_benchmark_fill, w->stop, err));
    BM_TRY(bm_benchmark_fill(device, &w->x, 1, 0, err));
done:
    return status;
}

static void destroy_operands(gemm_work *w)
{
    bm_tensor_destroy(&w->rows);
    bm_tensor_destroy(&w->x);
    bm_tensor_destroy(&w->y);
}

// choice NULL: as the device's words ask. variant: the name of what ran; NULL: nobody asks.
static bm_status measure_gemm(bm_device *device, gemm_work *w, const bm_gemm_choice *choice,
                              const bm_benchmark_limits *limits, bm_benchmark_result *out, const char **variant,
                              bm_error *err)
{
    const bm_tensor *rows = &w->rows;
    const uint64_t m = w->x.rows, n = w->y.cols, k = rows->cols;
    const bm_dtype dtype = rows->dtype;
    bm_status status = BM_OK;
    *out = (bm_benchmark_result){.name = "gemm", .shape = {m, n, k}, .num_shape = 3};
    BM_TRY(bm_weights_create(device, n, k, dtype, "benchmark", choice, &w->weights, err));
    if (variant)
        *variant = bm_weights_choice(w->weights, dtype, m)->name;
    for (uint64_t first = 0; first < n; first += rows->rows) {
        const bm_tensor some = bm_tensor_rows(rows, 0, bm_min_u64(rows->rows, n - first));
        if (rows->rows < n)
            BM_TRY(bm_benchmark_fill_rows(device, &some, first, bm_benchmark_fill, w->stop, err));
        BM_TRY(bm_weights_set_rows(device, w->weights, first, &some, err));
    }
    BM_TRY(bm_fill(device, w->y.view, 0xffffffffu, err)); // NaN: an output that is not written is seen
    BM_TRY(bm_benchmark_measure(device, gemm_run, w, w->stop, &out->time, err));
    BM_TRY(check_gemm(device, w, err));
    const bm_benchmark_limits own =
        bm_benchmark_limits_of(limits, BM_KERNEL_GEMM, bm_weights_choice(w->weights, dtype, m)->variant);
    bm_benchmark_fill_rates(out, bm_gemm_operations(m, n, k), bm_gemm_bytes(m, n, k, dtype, dtype, dtype), &own);
done:
    bm_weights_destroy(&w->weights);
    return status;
}

bm_status bm_benchmark_gemm(bm_device *device, uint64_t m, uint64_t n, uint64_t k, bm_dtype dtype,
                            const bm_gemm_choice *choice, const bm_benchmark_limits *limits, bm_benchmark_stop stop,
                            bm_benchmark_result *out, bm_error *err)
{
    const bm_benchmark_shape shape = {NULL, (uint32_t)m, (uint32_t)n, (uint32_t)k};
    gemm_work w = {.stop = stop};
    bm_benchmark_result result;
    bm_status status = create_operands(device, &shape, dtype, 1024, &w, err);
    if (status == BM_OK)
        status = measure_gemm(device, &w, choice, limits, &result, NULL, err);
    if (status == BM_OK)
        *out = result;
    destroy_operands(&w);
    return status;
}

static bool gemm_takes(const void *work, bm_device *device, const char *variant)
{
    const gemm_work *w = work;
    return strcmp(bm_gemm_choose_for(device, w->x.dtype, w->x.dtype, BM_USE_MANY_TILES).name, variant) == 0;
}

static bm_status measure_gemm_variant(void *work, bm_device *device, const bm_benchmark_limits *limits,
                                      const char **variant, bm_benchmark_result *out, bm_error *err)
{
    return measure_gemm(device, work, NULL, limits, out, variant, err); // gemm=auto: by the shape too
}

bm_status bm_benchmark_gemm_variants(bm_device *device, const bm_benchmark_shape *shape, bm_dtype dtype,
                                     const bm_variant_list *list, const bm_benchmark_limits *limits,
                                     bm_benchmark_stop stop, bm_benchmark_report report, void *user, bm_error *err)
{
    static const bm_variant_benchmark benchmark = {"gemm", bm_gemm_variant, gemm_takes, measure_gemm_variant};
    bm_status status = BM_OK;
    gemm_work w = {.stop = stop};
    char asked[32];
    const uint64_t row_bytes = bm_tensor_stride(dtype, shape->k) * bm_dtype_size(dtype);
    const uint64_t most = bm_device_get_info(device)->limits.max_allocation_bytes / row_bytes / 1024 * 1024;
    const bool is_asked =
        bm_device_variant(device, "gemm", asked, sizeof asked) && bm_device_is_named(device, "gemm", asked);
    BM_FAIL_IF(is_asked && !list && strcmp(asked, "auto") != 0 &&
                   strcmp(bm_gemm_choose_for(device, dtype, dtype, BM_USE_MANY_TILES).name, asked) != 0,
               err, BM_E_ARGUMENT, "gemm=%s: not for products of %s by %s", asked, bm_dtype_name(dtype),
               bm_dtype_name(dtype));
    BM_TRY(create_operands(device, shape, dtype, bm_max_u64(1024, most), &w, err));
    BM_TRY(bm_benchmark_variants(device, &benchmark, &w, list, limits, report, user, err));
done:
    destroy_operands(&w);
    return status;
}

// ---- shapes ----

// Llama-3-8B: hidden 4096, intermediate 14336, 8 key/value heads of 128; a batch of 2048 tokens, and one token.
static const bm_benchmark_shape llama3_8b[] = {
    {"q_proj, o_proj", 2048, 4096, 4096},      {"k_proj, v_proj", 2048, 1024, 4096},
    {"gate_proj, up_proj", 2048, 14336, 4096}, {"down_proj", 2048, 4096, 14336},
    {"q_proj, one token", 1, 4096, 4096},      {"gate_proj, one token", 1, 14336, 4096},
    {"down_proj, one token", 1, 4096, 14336},
};
static const bm_benchmark_shape targets[] = {
    {"2048 x 2048 x 4096", 2048, 2048, 4096},   {"4096^3", 4096, 4096, 4096},
    {"1024 x 4096 x 14336", 1024, 4096, 14336}, {"1024^3", 1024, 1024, 1024},
    {"512 x 1536 x 576", 512, 1536, 576},
};
static const bm_benchmark_shape small[] = {
    {"256^3", 256, 256, 256},
    {"512 x 1536 x 576", 512, 1536, 576},
    {"one token", 1, 576, 576},
};
// Whole multiples of any tile and others, and sizes that no tile divides.
static const bm_benchmark_shape large[] = {
    {"8192^3", 8192, 8192, 8192},
    {"4096^3", 4096, 4096, 4096},
    {"4096 x 14336 x 4096", 4096, 14336, 4096},
    {"14336 x 4096 x 4096", 14336, 4096, 4096},
    {"2048 x 1024 x 4096", 2048, 1024, 4096},
    {"4095 x 4097 x 4093", 4095, 4097, 4093},
    {"1000 x 3001 x 777", 1000, 3001, 777},
};
static const bm_benchmark_shape cube[] = {{"2048^3", 2048, 2048, 2048}};

const char *const bm_benchmark_shape_names = "llama3-8b, targets, large, 2048, small";

const bm_benchmark_shape *bm_benchmark_shapes(const char *name, uint32_t *count)
{
    static const struct {
        const char *name;
        const bm_benchmark_shape *shapes;
        uint32_t count;
    } sets[] = {{"llama3-8b", llama3_8b, BM_COUNT(llama3_8b)},
                {"targets", targets, BM_COUNT(targets)},
                {"large", large, BM_COUNT(large)},
                {"2048", cube, BM_COUNT(cube)},
                {"small", small, BM_COUNT(small)}};
    for (uint32_t i = 0; i < BM_COUNT(sets); i++)
        if (strcmp(name, sets[i].name) == 0) {
            *count = sets[i].count;
            return sets[i].shapes;
        }
    return NULL;
}
