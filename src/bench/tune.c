// Tuning.
#include "bench/tune.h"

#include "device/kernels.h"
#include "ops/attention.h"
#include "ops/gemm.h"
#include "ops/variants.h"

#include <string.h>

enum { GPU_TOKENS = 2048, CPU_TOKENS = 64 };
static const bm_benchmark_shape block_shapes[] = {{"q_proj", GPU_TOKENS, 4096, 4096},
                                                  {"k_proj", GPU_TOKENS, 1024, 4096},
                                                  {"gate_proj", GPU_TOKENS, 14336, 4096},
                                                  {"down_proj", GPU_TOKENS, 4096, 14336}};

// Rates do not matter here, times do.
static const bm_benchmark_limits no_limits = {1, 1};

static bm_status measure_gemm(bm_device *device, const bm_tune_params *p, bool integers, double *seconds, bm_error *err)
{
    const bool is_gpu = bm_device_kind_is_gpu(bm_device_get_info(device)->kind);
    const bm_benchmark_shape *shapes = p->shapes ? p->shapes : block_shapes;
    const uint32_t count = p->shapes ? p->num_shapes : (uint32_t)BM_COUNT(block_shapes);
    bm_benchmark_result result = {0};
    bm_status status = BM_OK;
    *seconds = 0;
    for (uint32_t i = 0; i < count && status == BM_OK; i++) {
        const uint32_t tokens = p->shapes || is_gpu ? shapes[i].m : CPU_TOKENS;
        status = integers ? bm_benchmark_gemm_int8(device, tokens, shapes[i].n, shapes[i].k, false, &no_limits, p->stop,
                                                   &result, err)
                          : bm_benchmark_gemm(device, tokens, shapes[i].n, shapes[i].k, p->dtype, NULL, &no_limits,
                                              p->stop, &result, err);
        *seconds += result.time.seconds;
    }
    return status;
}

static bm_status measure_attention(bm_device *device, const bm_tune_params *p, double *seconds, bm_error *err)
{
    bm_benchmark_result result = {0};
    const bm_status status = bm_benchmark_operation(device, bm_benchmark_find_operation("attention"), p->dtype,
                                                    &no_limits, p->stop, &result, err);
    *seconds = result.time.seconds;
    return status;
}

// Whether the words of a device ask for matrix units, which nobody gets without naming them, or for a variant of other types.
static bool is_by_name_only(bm_device *device, const bm_tune_params *p, const char *kernel)
{
    bm_kernel_id id = BM_KERNEL_GEMM;
    uint32_t variant = 0;
    char asked[32];
    if (strcmp(kernel, "gemm") == 0) {
        const bm_gemm_choice choice = bm_gemm_choose_for(device, p->dtype, p->dtype);
        variant = choice.variant;
        if (bm_device_variant(device, kernel, asked, sizeof asked) && strcmp(asked, choice.name) != 0)
            return true;
    } else if (strcmp(kernel, "attention") == 0) {
        id = BM_KERNEL_ATTENTION;
        variant = strncmp(bm_attention_chosen(device), "matrix", 6) == 0 ? BM_VARIANT_ATTENTION_CM
                  : strncmp(bm_attention_chosen(device), "mma", 3) == 0  ? BM_VARIANT_ATTENTION_MMA // or _mma_wide
                                                                         : 0;
    }
    return bm_kernel_is_on_matrix_units(id, variant);
}

// The fastest variant of a kernel: a name of static storage.
static bm_status tune_kernel(bm_device *device, const bm_tune_params *p, const bm_variant_set *set, const char **best,
                             bm_error *err)
{
    double best_seconds = 0;
    bm_status status = BM_OK, last = BM_OK;
    bm_string words = BM_STRING_INIT;
    bm_error problem = {0};
    *best = NULL;
    for (uint32_t i = 0; set->name(device, i); i++) {
        const char *name = set->name(device, i);
        double seconds = 0;
        bm_string_clear(&words);
        BM_FAIL_IF(!bm_string_append_format(&words, "%s=%s", set->kernel, name), err, BM_E_MEMORY, "out of memory");
        BM_TRY(bm_device_set_variants(device, words.data, err));
        if (is_by_name_only(device, p, set->kernel))
            continue;
        last = strcmp(set->kernel, "attention") == 0
                   ? measure_attention(device, p, &seconds, &problem)
                   : measure_gemm(device, p, strcmp(set->kernel, "gemm_int8") == 0, &seconds, &problem);
        const bool is_lost = last != BM_OK && bm_device_wait(device, NULL) == BM_E_DEVICE;
        BM_FAIL_IF(last == BM_E_CANCELLED || last == BM_E_MEMORY || is_lost, err, last, "%s", problem.message);
        p->report(p->user, set->kernel, name, last == BM_OK ? seconds : -1, last == BM_OK ? NULL : problem.message);
        if (last == BM_OK && (!*best || seconds < best_seconds)) {
            *best = name;
            best_seconds = seconds;
        }
    }
    BM_FAIL_IF(!*best, err, last == BM_OK ? BM_E_DEVICE : last, "%s: %s", set->kernel, problem.message);
done:
    bm_string_free(&words);
    return status;
}

bm_status bm_tune(bm_device *device, const bm_tune_params *params, bm_string *out, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t k = 0; k < BM_NUM_VARIANT_SETS; k++) {
        const char *best = NULL;
        BM_TRY(tune_kernel(device, params, &bm_variant_sets[k], &best, err));
        BM_FAIL_IF(!bm_string_append_format(out, "%s%s=%s", out->length ? "," : "", bm_variant_sets[k].kernel, best),
                   err, BM_E_MEMORY, "out of memory");
    }
    BM_TRY(bm_device_set_variants(device, bm_string_text(out), err));
done:
    return status;
}
