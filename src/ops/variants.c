// Variants of kernels by name.
#include "ops/variants.h"

#include "ops/attention.h"
#include "ops/first_use.h"

#include <string.h>

static const char *gemm_taken(bm_device *device, bm_dtype type, bm_variant_use use, bool *on_matrix_units)
{
    const bm_gemm_choice choice = bm_gemm_choose_for(device, type, type, use);
    *on_matrix_units = bm_gemm_uses_matrix_units(BM_KERNEL_GEMM, &choice);
    return choice.name;
}

// The most that a device has: that of float16, or of bfloat16 where it has units of that alone.
static const char *gemm_chosen(bm_device *device)
{
    bool on_matrix_units = false;
    const char *halves = gemm_taken(device, BM_DTYPE_F16, BM_USE_MANY_TILES, &on_matrix_units);
    return on_matrix_units ? halves : gemm_taken(device, BM_DTYPE_BF16, BM_USE_MANY_TILES, &on_matrix_units);
}

// Of many tokens, with heads that every variant takes.
static const char *attention_taken(bm_device *device, bm_dtype type, bm_variant_use use, bool *on_matrix_units)
{
    const bm_attention_choice choice = bm_attention_choose(device, type, 2048, 128);
    (void)use;
    *on_matrix_units = bm_kernel_uses_matrix_units(BM_KERNEL_ATTENTION, choice.variant);
    return choice.name;
}

static const char *attention_chosen(bm_device *device)
{
    bool on_matrix_units = false;
    const char *halves = attention_taken(device, BM_DTYPE_F16, BM_USE_MANY_TILES, &on_matrix_units);
    return on_matrix_units ? halves : attention_taken(device, BM_DTYPE_BF16, BM_USE_MANY_TILES, &on_matrix_units);
}

static const char *gemm_int8_taken(bm_device *device, bm_dtype type, bm_variant_use use, bool *on_matrix_units)
{
    const bm_gemm_choice choice = bm_gemm_int8_choose(device);
    (void)use;
    *on_matrix_units = type == BM_DTYPE_I8 && bm_gemm_uses_matrix_units(BM_KERNEL_GEMM_INT8, &choice);
    return choice.name;
}

static const char *gemm_int8_chosen(bm_device *device)
{
    return bm_gemm_int8_choose(device).name;
}

const bm_variant_set bm_variant_sets[BM_NUM_VARIANT_SETS] = {
    {"gemm", bm_gemm_variant, gemm_chosen, gemm_taken, BM_NUM_VARIANT_USES, &bm_trial_gemm},
    {"attention", bm_attention_variant, attention_chosen, attention_taken, 1, &bm_trial_attention},
    {"gemm_int8", bm_gemm_int8_variant, gemm_int8_chosen, gemm_int8_taken, 1, &bm_trial_gemm_int8},
};

static bm_status check_one(bm_device *device, const char *word, size_t length, bm_error *err)
{
    bm_string names = BM_STRING_INIT;
    bm_status status = BM_OK;
    const char *equals = memchr(word, '=', length);
    const bm_variant_set *set = NULL;
    for (uint32_t i = 0; i < BM_NUM_VARIANT_SETS && equals; i++)
        if (strlen(bm_variant_sets[i].kernel) == (size_t)(equals - word) &&
            strncmp(bm_variant_sets[i].kernel, word, (size_t)(equals - word)) == 0)
            set = &bm_variant_sets[i];
    BM_FAIL_IF(!set, err, BM_E_ARGUMENT, "variant \"%.*s\": expected gemm=NAME, attention=NAME or gemm_int8=NAME",
               (int)length, word);
    if (length - (size_t)(equals + 1 - word) == 4 && strncmp(equals + 1, "auto", 4) == 0)
        goto done;
    for (uint32_t i = 0; set->name(device, i); i++) {
        const char *name = set->name(device, i);
        if (strlen(name) == length - (size_t)(equals + 1 - word) && strncmp(name, equals + 1, strlen(name)) == 0)
            goto done;
        (void)bm_string_append_format(&names, "%s%s", i ? ", " : "", name);
    }
    status = bm_fail(err, BM_E_ARGUMENT, "variant \"%.*s\": %s has %s of %s", (int)length, word,
                     bm_device_get_info(device)->spec, bm_string_text(&names), set->kernel);
done:
    bm_string_free(&names);
    return status;
}

static bm_status check(bm_device *device, const char *words, bm_error *err)
{
    bm_status status = BM_OK;
    while (*words && status == BM_OK) {
        const size_t length = strcspn(words, ",");
        status = check_one(device, words, length, err);
        words += length + (words[length] == ',');
    }
    return status;
}

bm_status bm_variants_check_tuning(bm_device *device, bm_error *err)
{
    bm_error problem = {0};
    const bm_status status = check(device, bm_device_tuning(device), &problem);
    if (status == BM_OK)
        return BM_OK;
    char *path = bm_tuning_path(device);
    (void)bm_fail(err, status,
                  "%s: %s; bitmill bench --tune writes another, and without the file the usual variants are taken",
                  path ? path : "no file", problem.message);
    bm_free(path);
    return status;
}

bm_status bm_variants_resolve(bm_device *device, bm_error *err)
{
    bm_error problem = {0};
    if (bm_variants_check_tuning(device, &problem) == BM_E_ARGUMENT) {
        bm_log_write(bm_device_log(device), BM_LOG_WARNING, "tuning ignored: %s", problem.message);
        bm_device_discard_tuning(device);
    }
    const bm_status status = check(device, bm_device_variants(device), err);
    return status == BM_OK ? bm_first_use(device, err) : status;
}
