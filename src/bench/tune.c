// Tuning.
#include "bench/tune.h"

#include "ops/attention.h"
#include "ops/first_use.h"
#include "ops/gemm_int8.h"
#include "ops/variants.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { GPU_TOKENS = 2048, CPU_TOKENS = 64 };
static const bm_benchmark_shape block_shapes[] = {{"q_proj", GPU_TOKENS, 4096, 4096},
                                                  {"k_proj", GPU_TOKENS, 1024, 4096},
                                                  {"gate_proj", GPU_TOKENS, 14336, 4096},
                                                  {"down_proj", GPU_TOKENS, 4096, 14336}};

// Rates do not matter here, times do.
static const bm_benchmark_limits no_limits = {.gflops = 1, .gbps = 1};

// Whether operands of dtype get the variant that the words of a device name: it may be for other types.
static bool is_for(bm_device *device, const bm_tune_params *p, const char *kernel, const char *name)
{
    if (strcmp(kernel, "gemm") == 0)
        return strcmp(bm_gemm_choose_for(device, p->dtype, p->dtype, BM_USE_MANY_TILES).name, name) == 0;
    return strcmp(kernel, "attention") != 0 ||
           strcmp(bm_attention_choose(device, p->dtype, GPU_TOKENS, 128).name, name) == 0;
}

// Whether the device by itself takes one variant or another by the shape of a product.
static bm_status mixes_variants(bm_device *device, const bm_tune_params *p, const char *kernel, bool *out,
                                bm_error *err)
{
    const bm_status status = bm_device_set_variants(device, "gemm=auto", err);
    *out = status == BM_OK && strcmp(kernel, "gemm") == 0 &&
           strcmp(bm_gemm_choose_for(device, p->dtype, p->dtype, BM_USE_MANY_TILES).name,
                  bm_gemm_choose_for(device, p->dtype, p->dtype, BM_USE_FEW_TILES).name) != 0;
    return status;
}

enum { MAX_VARIANTS = 32 };

// What was measured of a kernel's variants, by their number.
typedef struct measured {
    bm_device *device;
    const bm_tune_params *params;
    const char *kernel;
    const char *names[MAX_VARIANTS];
    double seconds[MAX_VARIANTS]; // of all shapes so far; below 0: not measured
    bool on_matrix_units[MAX_VARIANTS], is_wrong[MAX_VARIANTS];
    bool runs[MAX_VARIANTS]; // is measured with the next shape too
    uint32_t count;
    bool is_last;   // shape
    bm_status last; // of a variant that failed
    bm_error problem;
} measured;

static uint32_t find(const measured *m, const char *name)
{
    uint32_t i = 0;
    while (strcmp(m->names[i], name) != 0)
        i++;
    return i;
}

static void add_time(void *user, const char *variant, const bm_benchmark_result *result)
{
    measured *m = user;
    const uint32_t i = find(m, variant);
    m->seconds[i] = (m->seconds[i] < 0 ? 0 : m->seconds[i]) + result->time.seconds;
    if (m->is_last)
        m->params->report(m->params->user, m->kernel, variant, m->seconds[i], NULL);
}

// One that fails is left out, unless that is the end of them all.
static bool leave_out(void *user, const char *variant, bm_status status, const char *words)
{
    measured *m = user;
    const uint32_t i = find(m, variant);
    m->last = status;
    snprintf(m->problem.message, sizeof m->problem.message, "%s", words);
    if (status == BM_E_CANCELLED || status == BM_E_MEMORY || bm_device_wait(m->device, NULL) == BM_E_DEVICE)
        return false;
    m->seconds[i] = -1;
    m->is_wrong[i] = status == BM_E_NUMERIC;
    m->runs[i] = false;
    m->params->report(m->params->user, m->kernel, variant, -1, words);
    return true;
}

static double least_of(const measured *m)
{
    double least = INFINITY;
    for (uint32_t i = 0; i < m->count; i++)
        least = m->runs[i] ? fmin(least, m->seconds[i]) : least;
    return least;
}

// Those that take three times as long as the fastest so far are not measured any more. In the end they have taken the same share
// of the fastest one's time.
#define HOPELESS 3

static bm_status measure_products(measured *m, bm_error *err)
{
    const bm_tune_params *p = m->params;
    const bool integers = strcmp(m->kernel, "gemm_int8") == 0;
    const bool is_gpu = bm_device_kind_is_gpu(bm_device_get_info(m->device)->kind);
    const bm_benchmark_shape *shapes = p->shapes ? p->shapes : block_shapes;
    const uint32_t count = p->shapes ? p->num_shapes : (uint32_t)BM_COUNT(block_shapes);
    double share[MAX_VARIANTS] = {0}; // of the fastest one's time, when it was left behind
    bm_status status = BM_OK;
    for (uint32_t s = 0; s < count; s++) {
        const char *names[MAX_VARIANTS];
        bm_variant_list list = {.names = names, .failed = leave_out};
        bm_benchmark_shape shape = shapes[s];
        shape.m = p->shapes || is_gpu ? shape.m : CPU_TOKENS;
        m->is_last = s + 1 == count;
        for (uint32_t i = 0; i < m->count; i++)
            if (m->runs[i])
                names[list.count++] = m->names[i];
        BM_TRY(integers
                   ? bm_benchmark_gemm_int8_variants(m->device, &shape, &list, &no_limits, p->stop, add_time, m, err)
                   : bm_benchmark_gemm_variants(m->device, &shape, p->dtype, &list, &no_limits, p->stop, add_time, m,
                                                err));
        const double least = least_of(m);
        for (uint32_t i = 0; i < m->count; i++)
            if (m->runs[i] && !m->is_last && m->seconds[i] > HOPELESS * least) {
                m->runs[i] = false;
                share[i] = m->seconds[i] / least;
            }
    }
    for (uint32_t i = 0; i < m->count; i++)
        if (share[i] > 0) {
            m->seconds[i] = share[i] * least_of(m);
            p->report(p->user, m->kernel, m->names[i], m->seconds[i], NULL);
        }
done:
    return status;
}

static bm_status measure_attentions(measured *m, bm_error *err)
{
    bm_status status = BM_OK;
    char words[64];
    m->is_last = true;
    for (uint32_t i = 0; i < m->count; i++) {
        bm_error problem = {0};
        bm_benchmark_result result = {0};
        if (!m->runs[i])
            continue;
        snprintf(words, sizeof words, "%s=%s", m->kernel, m->names[i]);
        BM_TRY(bm_device_set_variants(m->device, words, err));
        const bm_status one = bm_benchmark_operation(m->device, bm_benchmark_find_operation("attention"),
                                                     m->params->dtype, &no_limits, m->params->stop, &result, &problem);
        if (one == BM_OK)
            add_time(m, m->names[i], &result);
        BM_FAIL_IF(one != BM_OK && !leave_out(m, m->names[i], one, problem.message), err, one, "%s", problem.message);
    }
done:
    return status;
}

static bm_status measure_all(const bm_variant_set *set, bm_dtype type, measured *m, bm_error *err)
{
    const bm_tune_params *p = m->params;
    bm_status status = BM_OK;
    bool mixes = false, has_any = false;
    char words[64];
    while (m->count + 1 < MAX_VARIANTS && set->name(m->device, m->count)) {
        m->names[m->count] = set->name(m->device, m->count);
        m->count++;
    }
    const uint32_t num_names = m->count;
    BM_TRY(mixes_variants(m->device, p, set->kernel, &mixes, err));
    if (mixes)
        m->names[m->count++] = "auto";
    for (uint32_t i = 0; i < m->count; i++) {
        const char *name = m->names[i];
        m->seconds[i] = -1;
        snprintf(words, sizeof words, "%s=%s", set->kernel, name);
        BM_TRY(bm_device_set_variants(m->device, words, err));
        if (i < num_names && !is_for(m->device, p, set->kernel, name))
            continue;
        (void)set->taken(m->device, type, BM_USE_MANY_TILES, &m->on_matrix_units[i]);
        m->runs[i] = bm_device_verdict(m->device, set->kernel, name, type, BM_USE_MANY_TILES) < BM_VERDICT_WRONG;
        if (!m->runs[i])
            p->report(p->user, set->kernel, name, -1, "wrong at the first use of this device");
    }
    BM_TRY(strcmp(set->kernel, "attention") == 0 ? measure_attentions(m, err) : measure_products(m, err));
    for (uint32_t i = 0; i < m->count; i++)
        has_any |= m->seconds[i] >= 0;
    BM_FAIL_IF(!has_any, err, m->last == BM_OK ? BM_E_DEVICE : m->last, "%s: %s", set->kernel, m->problem.message);
done:
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

// The fastest variant of a kernel, or "auto": a name of static storage. These times are better than those of the first use, which
// alone looks at all outputs: none is right by them.
static bm_status tune_kernel(bm_device *device, const bm_tune_params *p, const bm_variant_set *set, const char **best,
                             bm_error *err)
{
    const bm_dtype type = strcmp(set->kernel, "gemm_int8") == 0 ? BM_DTYPE_I8 : p->dtype;
    measured m = {.device = device, .params = p, .kernel = set->kernel};
    double seconds = 0, plain = 0;
    bm_status status = BM_OK;
    BM_TRY(measure_all(set, type, &m, err));
    *best = fastest(&m, true, true, &seconds);
    const bool has_plain = fastest(&m, false, true, &plain) != NULL;
    for (uint32_t i = 0; i < m.count; i++)
        if (m.on_matrix_units[i] && strcmp(m.names[i], "auto") != 0 &&
            (m.is_wrong[i] || (has_plain && m.seconds[i] >= 0 && bm_is_slower(m.seconds[i], plain))))
            BM_TRY(bm_device_set_verdict(device, set->kernel, m.names[i], type, BM_USE_MANY_TILES,
                                         m.is_wrong[i] ? BM_VERDICT_WRONG : BM_VERDICT_SLOWER, err));
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
