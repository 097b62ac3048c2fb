// Tuning: which variant of each kernel is fastest on this device. Done once on request, never during other work, so
// that a run on the same device gives the same bits until somebody tunes again.
#ifndef BM_BENCH_TUNE_H
#define BM_BENCH_TUNE_H

#include "base/str.h"
#include "bench/benchmark.h"

typedef struct bm_tune_params {
    bm_dtype dtype; // storage of all operands
    const bm_benchmark_shape
        *shapes; // of products; NULL: those of a Llama-3-8B block, 2048 tokens on GPUs, 64 elsewhere
    uint32_t num_shapes;
    bm_benchmark_stop stop; // asked between measurements; NULL: never stops
    // Called for each variant that was measured. seconds: of all its shapes together; below 0: left out, and problem
    // says why.
    void (*report)(void *user, const char *kernel, const char *variant, double seconds, const char *problem);
    void *user;
} bm_tune_params;

// Measures every variant of every kernel in bm_variant_sets that takes dtype, and "auto" where a device takes one or another by
// the shape: products, whose results are checked, and attention at the size of bm_benchmark_operation. A variant that fails or gives a wrong product is left out, as is
// one that was wrong at the first use of the device.
// The device is left with the fastest chosen; their names are appended to out, as bm_tuning_write takes them.
// Errors: BM_E_CANCELLED, BM_E_MEMORY; the last variant's when none of a kernel worked, or when the device was lost.
bm_status bm_tune(bm_device *device, const bm_tune_params *params, bm_string *out, bm_error *err);

#endif
