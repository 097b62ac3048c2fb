// Measuring by each variant of a kernel in turn.
#ifndef BM_BENCH_EACH_VARIANT_H
#define BM_BENCH_EACH_VARIANT_H

#include "bench/benchmark.h"

typedef struct bm_variant_benchmark {
    const char *kernel; // "gemm"
    const char *(*variant)(bm_device *device,
                           uint32_t index); // name of the index-th that runs on this device; NULL: no more
    // Whether the device's words, as they are, give work this variant.
    bool (*takes)(const void *work, bm_device *device, const char *variant);
    // variant: its name, or where the shape has another one that of what ran.
    bm_status (*measure)(void *work, bm_device *device, const bm_benchmark_limits *limits, const char **variant,
                         bm_benchmark_result *out, bm_error *err);
} bm_variant_benchmark;

// Measures by every variant that takes the work, or by the one that the caller's words of the device name, or by those of a list;
// each is reported under its name. What was asked of the device is asked again in the end.
bm_status bm_benchmark_variants(bm_device *device, const bm_variant_benchmark *benchmark, void *work,
                                const bm_variant_list *list, const bm_benchmark_limits *limits,
                                bm_benchmark_report report, void *user, bm_error *err);

#endif
