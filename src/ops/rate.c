// Rates: the table of devices, and a time of a product.
#include "ops/rate.h"
#include "base/clock.h"
#include "ops/trial.h"

#include <math.h>
#include <string.h>

enum {
    KIND_GPU = 1 << BM_DEVICE_INTEGRATED_GPU | 1 << BM_DEVICE_DISCRETE_GPU,
    KIND_ANY = 0xff,
};

// The first row that fits is taken. Rates are GFLOP/s by kind of work.
typedef struct rate_row {
    const char *backend; // NULL: any
    uint32_t kinds;
    const char *name; // part of the device's; NULL: any
    uint32_t min_vector_width;
    bool is_by_units; // of a compute unit, for devices that tell their number
    bool is_measured; // on such devices
    double gflops[BM_NUM_WORKS];
} rate_row;

// NVIDIA's GPUs have from 1 to 170 multiprocessors, each with a peak of 190 to 440 GFLOP/s and 8 to 25 GB/s: an H100 (132) reaches
// 35 TFLOP/s by tiles and 9.5 by the generic kernel. Their matrix units have 800 GFLOP/s or more, of which a sixth; by warpgroups
// an H200 (132) reaches 537 TFLOP/s, of which a sixth too. Others: integrated GPUs from 30 GFLOP/s and 4 GB/s on, and whatever calls
// itself another kind of device.
static const rate_row rows[] = {
    {NULL, KIND_GPU, "NVIDIA", 0, true, true, {10, 5, 20, 130, 650}},
    {"opencl", 1 << BM_DEVICE_CPU, NULL, 16, false, true, {2, 2, 100, 2, 2}},
    {"opencl", 1 << BM_DEVICE_CPU, NULL, 0, false, true, {2, 2, 30, 2, 2}},
    {NULL, 1 << BM_DEVICE_CPU, NULL, 0, false, true, {2, 1, 10, 1, 1}},
    {NULL, 1 << BM_DEVICE_HOST, NULL, 0, false, true, {2, 1, 1, 1, 1}},
    {NULL, 1 << BM_DEVICE_DISCRETE_GPU, NULL, 0, true, false, {10, 10, 10, 10, 10}},
    {NULL, KIND_GPU, NULL, 0, false, false, {20, 20, 20, 20, 20}},
    {NULL, KIND_ANY, NULL, 0, false, false, {2, 2, 2, 2, 2}},
};

// Of the rate of a product in float32 by tiles at its best: other shapes, types and kernels are up to four times slower (the generic
// kernel on an H100 3.7 times).
#define SLOWEST_SHARE 0.25

// What a file tells may be another machine's, or anybody's: a rate that is too high would let dispatches take seconds.
#define MOST_OFF 64

static const rate_row *find_row(const bm_device_info *info)
{
    const rate_row *row = rows;
    while ((row->backend && strcmp(row->backend, info->backend) != 0) || !(row->kinds >> info->kind & 1) ||
           (row->name && !strstr(info->name, row->name)) || info->limits.vector_width < row->min_vector_width ||
           (row->is_by_units && info->limits.compute_units == 0))
        row++; // the last one fits
    return row;
}

double bm_rate(const bm_device *device, bm_work work)
{
    const bm_device_info *info = bm_device_get_info(device);
    const rate_row *row = find_row(info);
    const double table = 1e9 * row->gflops[work] * (row->is_by_units ? info->limits.compute_units : 1);
    const double told = 1e9 * SLOWEST_SHARE * bm_device_measured_gflops(device);
    if (told == 0 || row->is_measured)
        return table;
    const double measured = fmin(told, table * MOST_OFF);
    return work == BM_WORK_PLAIN ? fmin(table, measured) : measured; // what moves memory is no faster for it
}

uint32_t bm_compute_units(const bm_device *device)
{
    static const uint32_t usual[] = {[BM_DEVICE_HOST] = 1,
                                     [BM_DEVICE_CPU] = 4,
                                     [BM_DEVICE_INTEGRATED_GPU] = 16,
                                     [BM_DEVICE_DISCRETE_GPU] = 64,
                                     [BM_DEVICE_OTHER] = 64};
    const bm_device_info *info = bm_device_get_info(device);
    return info->limits.compute_units > 0 ? info->limits.compute_units : usual[info->kind];
}

// ---- the first use ----

#define LONG_SECONDS 0.05 // a trial that takes so long by what is known is not begun
enum { NUM_RUNS = 4 };    // of which the first compiles

// The host's clock: it counts what submitting takes, and no driver can make it stand still.
static bm_status time_product(bm_device *device, bm_trial_size size, double *gflops, bm_error *err)
{
    bm_trial trial = {0};
    bm_status status = BM_OK;
    uint64_t least = UINT64_MAX;
    BM_TRY(bm_trial_create(device, &bm_trial_gemm, BM_DTYPE_F32, size, &trial, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint32_t run = 0; run < NUM_RUNS; run++) {
        const uint64_t start = bm_clock_ns();
        BM_TRY(bm_trial_gemm.run(&trial, err));
        BM_TRY(bm_device_wait(device, err));
        if (run > 0)
            least = bm_min_u64(least, bm_max_u64(1, bm_clock_ns() - start));
    }
    *gflops = bm_trial_operations(&trial) / (double)least;
done:
    bm_trial_destroy(&trial);
    return status;
}

// A larger product fills a larger device: it is taken where the smaller one says that it is short.
static bm_status measure(bm_device *device, bm_error *err)
{
    static const bm_trial_size sizes[] = {BM_TRIAL_FIRST, BM_TRIAL_LARGE};
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < BM_COUNT(sizes) && status == BM_OK; i++) {
        double gflops = 0;
        const double before = bm_device_measured_gflops(device);
        if (i > 0 && bm_trial_large_operations(device) > LONG_SECONDS * 1e9 * before)
            break;
        status = time_product(device, sizes[i], &gflops, err);
        if (status == BM_OK && gflops > before)
            status = bm_device_set_measured_gflops(device, gflops, err);
    }
    return status;
}

bm_status bm_measure_rate(bm_device *device, bm_error *err)
{
    bm_error problem = {0};
    if (find_row(bm_device_get_info(device))->is_measured || bm_device_measured_gflops(device) > 0)
        return BM_OK;
    char *words = bm_string_copy(bm_device_variants(device));
    if (!words)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    bm_status status = bm_device_set_variants(device, "gemm=auto", &problem);
    if (status == BM_OK)
        status = measure(device, &problem);
    const bm_status kept = bm_device_set_variants(device, words, err);
    bm_free(words);
    if (bm_device_discard_reports(device, NULL) != BM_OK)
        return bm_fail(err, BM_E_DEVICE, "the first product: %s", problem.message);
    bm_log_write(bm_device_log(device), BM_LOG_DEBUG, "products in float32: %g GFLOP/s at least%s%s",
                 bm_device_measured_gflops(device), status == BM_OK ? "" : ": ", problem.message);
    if (bm_device_measured_gflops(device) > 0)
        (void)bm_verdicts_write(device, NULL);
    return kept;
}
