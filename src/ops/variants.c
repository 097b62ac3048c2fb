// Variants of kernels by name.
#include "ops/variants.h"

#include "ops/attention.h"
#include "ops/gemm.h"

#include <string.h>

static const char *gemm_chosen(const bm_device *device)
{
    return bm_gemm_choose(device).name;
}

const bm_variant_set bm_variant_sets[BM_NUM_VARIANT_SETS] = {
    {"gemm", bm_gemm_variant, gemm_chosen},
    {"attention", bm_attention_variant, bm_attention_chosen},
};

static bm_status check_one(const bm_device *device, const char *word, size_t length, bm_error *err)
{
    bm_string names = BM_STRING_INIT;
    bm_status status = BM_OK;
    const char *equals = memchr(word, '=', length);
    const bm_variant_set *set = NULL;
    for (uint32_t i = 0; i < BM_NUM_VARIANT_SETS && equals; i++)
        if (strlen(bm_variant_sets[i].kernel) == (size_t)(equals - word) &&
            strncmp(bm_variant_sets[i].kernel, word, (size_t)(equals - word)) == 0)
            set = &bm_variant_sets[i];
    BM_FAIL_IF(!set, err, BM_E_ARGUMENT, "variant \"%.*s\": expected gemm=NAME or attention=NAME", (int)length, word);
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

bm_status bm_variants_check(const bm_device *device, bm_error *err)
{
    bm_status status = BM_OK;
    for (const char *word = bm_device_variants(device); *word && status == BM_OK;) {
        const size_t length = strcspn(word, ",");
        status = check_one(device, word, length, err);
        word += length + (word[length] == ',');
    }
    return status;
}

bm_status bm_variants_settle(bm_device *device, bool given, bm_error *err)
{
    bm_error problem = {0};
    const bm_status status = bm_variants_check(device, given ? err : &problem);
    if (status != BM_E_ARGUMENT || given)
        return status;
    bm_log_write(bm_device_log(device), BM_LOG_WARNING, "tuning left aside: %s", problem.message);
    return bm_device_set_variants(device, "", err);
}
