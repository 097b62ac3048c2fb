// Variants of kernels by name.
#include "ops/variants.h"

#include "ops/attention.h"
#include "ops/gemm_int8.h"

#include <string.h>

static const char *gemm_chosen(bm_device *device)
{
    return bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16).name; // the most that a device has
}

static const char *gemm_int8_chosen(bm_device *device)
{
    return bm_gemm_int8_choose(device).name;
}

const bm_variant_set bm_variant_sets[BM_NUM_VARIANT_SETS] = {
    {"gemm", bm_gemm_variant, gemm_chosen},
    {"attention", bm_attention_variant, bm_attention_chosen},
    {"gemm_int8", bm_gemm_int8_variant, gemm_int8_chosen},
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

bm_status bm_variants_resolve(bm_device *device, bm_error *err)
{
    bm_error problem = {0};
    if (check(device, bm_device_tuning(device), &problem) == BM_E_ARGUMENT) {
        bm_log_write(bm_device_log(device), BM_LOG_WARNING, "tuning ignored: %s", problem.message);
        bm_device_discard_tuning(device);
    }
    return check(device, bm_device_variants(device), err);
}
