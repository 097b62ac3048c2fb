#include "ops/first_use_fixture.h"

#include <stdio.h>
#include <string.h>

said heard;
uint32_t trials_made;
static bm_trial_kind counted_kind, plain_kind;

static void hear(void *user, bm_log_level level, const char *message)
{
    said *all = user;
    all->infos += level == BM_LOG_INFO;
    if (level != BM_LOG_WARNING)
        return;
    all->warnings++;
    snprintf(all->last, sizeof all->last, "%s", message);
}

bm_device *open_again(const char *cache_folder, const char *variants)
{
    bm_device *device = NULL;
    bm_device_params params;
    heard = (said){.log = {BM_LOG_INFO, hear, &heard}};
    bm_device_params_init(&params);
    params.spec = bm_device_get_info(test_device)->spec;
    params.cache_folder = cache_folder;
    params.variants = variants;
    params.log = &heard.log;
    MUST(bm_device_open(&device, &params, &failure));
    return device;
}

// The name of the last variant of a set: where there are several, not the generic one.
static const char *last_name(bm_device *device, const bm_variant_set *set)
{
    uint32_t count = 0;
    while (set->name(device, count + 1))
        count++;
    return set->name(device, count);
}

static bm_dtype type_of(const bm_variant_set *set)
{
    return strcmp(set->kernel, "gemm_int8") == 0 ? BM_DTYPE_I8 : BM_DTYPE_F16;
}

bm_comparison comparison_of(bm_device *device, const bm_variant_set *set)
{
    return (bm_comparison){
        .set = set, .variant = last_name(device, set), .instead = set->name(device, 0), .type = type_of(set)};
}

bm_verdict verdict_on(bm_device *device, const bm_comparison *c)
{
    return bm_device_verdict(device, c->set->kernel, c->variant, c->type, c->use);
}

bm_status create_counted(bm_trial *trial, bm_error *err)
{
    trials_made++;
    return plain_kind.create(trial, err);
}

void count_trials(bm_variant_set *set, bm_status (*create)(bm_trial *trial, bm_error *err))
{
    plain_kind = *set->trial;
    counted_kind = plain_kind;
    counted_kind.create = create;
    set->trial = &counted_kind;
    trials_made = 0;
}
