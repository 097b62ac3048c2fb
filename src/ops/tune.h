// Tuning: which variant of each kernel is fastest on this device. Done once on request, never during other work, so that a
// run on the same device gives the same bits until somebody tunes again.
#ifndef BM_OPS_TUNE_H
#define BM_OPS_TUNE_H

#include "base/str.h"
#include "ops/benchmark.h"

// Is told of each variant that was measured (seconds of all its shapes together); false: stop.
typedef bool (*bm_tune_report)(void *user, const char *kernel, const char *variant, double seconds);

// Measures every variant of every kernel in bm_variant_sets: products at the shapes of a Llama-3-8B block (2048 tokens on
// GPUs, 64 on CPU devices) and attention over as many tokens, all stored as dtype. The results of products are checked.
// The device is left with the fastest chosen; out gets their words, as bm_tuning_write takes them.
// Errors: BM_E_CANCELLED when report or stop said so, BM_E_NUMERIC for a wrong product, BM_E_DEVICE, BM_E_MEMORY.
bm_status bm_tune(bm_device *device, bm_dtype dtype, bm_benchmark_stop stop, bm_tune_report report, void *user,
                  bm_string *out, bm_error *err);

#endif
