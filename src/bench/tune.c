// Tuning.
#include "bench/tune.h"

#include "ops/attention.h"
#include "ops/first_use.h"
#include "ops/gemm_int8.h"
#include "ops/variants.h"

#include <string.h>

enum { GPU_TOKENS = 2048, CPU_TOKENS = 64 };
static const bm_benchmark_shape block_shapes[] = {{"q_proj", GPU_TOKENS, 4096, 4096},
                                                  {"k_proj", GPU_TOKENS, 1024, 4096},
                                                  {"gate_proj", GPU_TOKENS, 14336, 4096},
                                                  {"down_proj", GPU_TOKENS, 4096, 14336}};

// Rates do not matter here, times do.
static const bm_benchmark_limits no_limits = {.gflops = 1, .gbps = 1};

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

// Whether operands of dtype get the variant that the words of a device name: it may be for other types.
static bool is_for(bm_device *device, const bm_tune_params *p, const char *kernel, const char *name)
{
    if (strcmp(kernel, "gemm") == 0)
        return strcmp(bm_gemm_choose_for(device, p->dtype, p->dtype).name, name) == 0;
    return strcmp(kernel, "attention") != 0 ||
           strcmp(bm_attention_choose(device, p->dtype, GPU_TOKENS, 128).name, name) == 0;
}

// Whether the device by itself takes one variant or another by the shape of a product.
static bm_status mixes_variants(bm_device *device, const bm_tune_params *p, const char *kernel, bool *out,
                                bm_error *err)
{
    const bm_status status = bm_device_set_variants(device, "gemm=auto", err);
    *out = status == BM_OK && strcmp(kernel, "gemm") == 0 &&
           strcmp(bm_gemm_choose_for(device, p->dtype, p->dtype).name,
                  bm_gemm_choose_for_few(device, p->dtype, p->dtype).name) != 0;
    return status;
}

enum { MAX_VARIANTS = 32 };

// What was measured of a kernel's variants, by their number.
typedef struct measured {
    const char *names[MAX_VARIANTS];
    double seconds[MAX_VARIANTS]; // below 0: not measured
    bool on_matrix_units[MAX_VARIANTS], is_wrong[MAX_VARIANTS];
    uint32_t count;
} measured;

static bm_status measure_all(bm_device *device, const bm_tune_params *p, const bm_variant_set *set, bm_dtype type,
                             measured *m, bm_error *err)
{
    bm_status status = BM_OK, last = BM_OK;
    bm_string words = BM_STRING_INIT;
    bm_error problem = {0};
    bool mixes = false, has_any = false;
    while (m->count + 1 < MAX_VARIANTS && set->name(device, m->count)) {
        m->names[m->count] = set->name(device, m->count);
        m->count++;
    }
    const uint32_t num_names = m->count;
    BM_TRY(mixes_variants(device, p, set->kernel, &mixes, err));
    if (mixes)
        m->names[m->count++] = "auto";
    for (uint32_t i = 0; i < m->count; i++) {
        const char *name = m->names[i];
        m->seconds[i] = -1;
        bm_string_clear(&words);
        BM_FAIL_IF(!bm_string_append_format(&words, "%s=%s", set->kernel, name), err, BM_E_MEMORY, "out of memory");
        BM_TRY(bm_device_set_variants(device, words.data, err));
        if (i < num_names && !is_for(device, p, set->kernel, name))
            continue;
        (void)set->taken(device, type, BM_USE_MANY_TILES, &m->on_matrix_units[i]);
        if (bm_device_verdict(device, set->kernel, name, type) >= BM_VERDICT_WRONG) {
            p->report(p->user, set->kernel, name, -1, "wrong at the first use of this device");
            continue;
        }
        last = strcmp(set->kernel, "attention") == 0
                   ? measure_attention(device, p, &m->seconds[i], &problem)
                   : measure_gemm(device, p, strcmp(set->kernel, "gemm_int8") == 0, &m->seconds[i], &problem);
        const bool is_lost = last != BM_OK && bm_device_wait(device, NULL) == BM_E_DEVICE;
        BM_FAIL_IF(last == BM_E_CANCELLED || last == BM_E_MEMORY || is_lost, err, last, "%s", problem.message);
        m->seconds[i] = last == BM_OK ? m->seconds[i] : -1;
        m->is_wrong[i] = last == BM_E_NUMERIC;
        has_any |= last == BM_OK;
        p->report(p->user, set->kernel, name, m->seconds[i], last == BM_OK ? NULL : problem.message);
    }
    BM_FAIL_IF(!has_any, err, last == BM_OK ? BM_E_DEVICE : last, "%s: %s", set->kernel, problem.message);
done:
    bm_string_free(&words);
    return status;
}

// The fastest of those with matrix units or without them, or of both; NULL: none.
static const char *fastest(const measured *m, bool with, bool without, double *seconds)
{
    const char *best = NULL;
    for (uint32_t i = 0; i < m->count; i++)
        if (m->seconds[i] >= 0 && (m->on_matrix_units[i] ? with : without) && (!best || m->seconds[i] < *seconds)) {
            best = m->names[i];
            *seconds = m->seconds[i];
        }
    return best;
}

// The fastest variant of a kernel, or "auto": a name of static storage. These times are better than those of the first use.
static bm_status tune_kernel(bm_device *device, const bm_tune_params *p, const bm_variant_set *set, const char **best,
                             bm_error *err)
{
    const bm_dtype type = strcmp(set->kernel, "gemm_int8") == 0 ? BM_DTYPE_I8 : p->dtype;
    measured m = {.count = 0};
    double seconds = 0, plain = 0;
    bm_status status = BM_OK;
    BM_TRY(measure_all(device, p, set, type, &m, err));
    *best = fastest(&m, true, true, &seconds);
    const bool has_plain = fastest(&m, false, true, &plain) != NULL;
    for (uint32_t i = 0; i < m.count; i++)
        if (m.on_matrix_units[i] && strcmp(m.names[i], "auto") != 0 && (m.seconds[i] >= 0 || m.is_wrong[i]))
            BM_TRY(bm_device_set_verdict(device, set->kernel, m.names[i], type,
                                         m.is_wrong[i]                                    ? BM_VERDICT_WRONG
                                         : has_plain && bm_is_slower(m.seconds[i], plain) ? BM_VERDICT_SLOWER
                                                                                          : BM_VERDICT_RIGHT,
                                         err));
done:
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
