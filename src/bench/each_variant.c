// Measuring by each variant of a kernel in turn.
#include "bench/each_variant.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

static bm_status ask_for(bm_device *device, const char *kernel, const char *name, bm_error *err)
{
    char words[64];
    snprintf(words, sizeof words, "%s=%s", kernel, name);
    return bm_device_set_variants(device, words, err);
}

static bm_status measure_each(bm_device *device, const bm_variant_benchmark *b, void *work, bool is_asked,
                              const bm_benchmark_limits *limits, bm_benchmark_report report, void *user, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; b->variant(device, i); i++) {
        const char *name = b->variant(device, i);
        bm_benchmark_result result;
        if (!is_asked)
            BM_TRY(ask_for(device, b->kernel, name, err));
        if (!b->takes(work, device, name))
            continue; // another one is asked for, or this one is for other types
        BM_TRY(b->measure(work, device, limits, &name, &result, err));
        report(user, name, &result);
    }
done:
    return status;
}

static bm_status measure_list(bm_device *device, const bm_variant_benchmark *b, void *work, const bm_variant_list *list,
                              const bm_benchmark_limits *limits, bm_benchmark_report report, void *user, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < list->count; i++) {
        const char *what_ran = list->names[i];
        bm_benchmark_result result;
        bm_error problem = {0};
        BM_TRY(ask_for(device, b->kernel, list->names[i], err));
        const bm_status one = b->measure(work, device, limits, &what_ran, &result, &problem);
        if (one == BM_OK)
            report(user, list->names[i], &result);
        BM_FAIL_IF(one != BM_OK && !list->failed(user, list->names[i], one, problem.message), err, one, "%s",
                   problem.message);
    }
done:
    return status;
}

bm_status bm_benchmark_variants(bm_device *device, const bm_variant_benchmark *benchmark, void *work,
                                const bm_variant_list *list, const bm_benchmark_limits *limits,
                                bm_benchmark_report report, void *user, bm_error *err)
{
    char asked[32];
    char *before = bm_string_copy(bm_device_variants(device));
    if (!before)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    const bool is_asked = bm_device_variant(device, benchmark->kernel, asked, sizeof asked) &&
                          bm_device_is_named(device, benchmark->kernel, asked);
    const bm_status status = list ? measure_list(device, benchmark, work, list, limits, report, user, err)
                                  : measure_each(device, benchmark, work, is_asked, limits, report, user, err);
    (void)bm_device_set_variants(device, before, status == BM_OK ? err : NULL);
    bm_free(before);
    return status;
}
