// Tuning.
#include "ops/tune.h"

#include "ops/variants.h"

#include <string.h>

enum { GPU_TOKENS = 2048, CPU_TOKENS = 64 };

// Rates do not matter here, times do.
static const bm_benchmark_limits no_limits = {1, 1};

static bm_status measure_gemm(bm_device *device, bm_dtype dtype, bm_benchmark_stop stop, double *seconds, bm_error *err)
{
    static const uint32_t shapes[][2] = {{4096, 4096}, {1024, 4096}, {14336, 4096}, {4096, 14336}};
    const bm_device_kind kind = bm_device_get_info(device)->kind;
    const uint32_t tokens = kind == BM_DEVICE_CPU || kind == BM_DEVICE_HOST ? CPU_TOKENS : GPU_TOKENS;
    bm_benchmark_result result;
    bm_status status = BM_OK;
    *seconds = 0;
    for (size_t i = 0; i < BM_COUNT(shapes) && status == BM_OK; i++) {
        status =
            bm_benchmark_gemm(device, tokens, shapes[i][0], shapes[i][1], dtype, NULL, &no_limits, stop, &result, err);
        if (status == BM_OK)
            *seconds += result.time.seconds;
    }
    return status;
}

static bm_status measure_attention(bm_device *device, bm_dtype dtype, bm_benchmark_stop stop, double *seconds,
                                   bm_error *err)
{
    bm_benchmark_result result;
    const bm_status status =
        bm_benchmark_operation(device, bm_benchmark_find_operation("attention"), dtype, &no_limits, stop, &result, err);
    *seconds = status == BM_OK ? result.time.seconds : 0;
    return status;
}

static bm_status measure(bm_device *device, const char *kernel, bm_dtype dtype, bm_benchmark_stop stop, double *seconds,
                         bm_error *err)
{
    return strcmp(kernel, "gemm") == 0 ? measure_gemm(device, dtype, stop, seconds, err)
                                       : measure_attention(device, dtype, stop, seconds, err);
}

bm_status bm_tune(bm_device *device, bm_dtype dtype, bm_benchmark_stop stop, bm_tune_report report, void *user,
                  bm_string *out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_string words = BM_STRING_INIT;
    for (uint32_t k = 0; k < BM_NUM_VARIANT_SETS; k++) {
        const bm_variant_set *set = &bm_variant_sets[k];
        const char *best = NULL;
        double best_seconds = 0;
        for (uint32_t i = 0; set->name(device, i); i++) {
            const char *name = set->name(device, i);
            double seconds = 0;
            bm_string_clear(&words);
            BM_FAIL_IF(!bm_string_append_format(&words, "%s=%s", set->kernel, name), err, BM_E_MEMORY, "out of memory");
            BM_TRY(bm_device_set_variants(device, words.data, err));
            BM_TRY(measure(device, set->kernel, dtype, stop, &seconds, err));
            BM_FAIL_IF(!report(user, set->kernel, name, seconds), err, BM_E_CANCELLED, "interrupted");
            if (!best || seconds < best_seconds) {
                best = name;
                best_seconds = seconds;
            }
        }
        BM_FAIL_IF(!bm_string_append_format(out, "%s%s=%s", out->length ? "," : "", set->kernel, best), err,
                   BM_E_MEMORY, "out of memory");
    }
    BM_TRY(bm_device_set_variants(device, bm_string_text(out), err));
done:
    bm_string_free(&words);
    return status;
}
