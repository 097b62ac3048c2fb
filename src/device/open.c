// Opening the device that a spec names.
#include "base/str.h"
#include "device/backend.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static bool contains_ignore_case(const char *text, const char *part)
{
    const size_t length = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < length && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (i == length)
            return true;
    }
    return length == 0;
}

static bool is_gpu(const bm_device_info *info)
{
    return info->kind == BM_DEVICE_INTEGRATED_GPU || info->kind == BM_DEVICE_DISCRETE_GPU;
}

// The devices of list that a spec's first word ("auto", "gpu", "vulkan", ...) means. false: not a word we know.
static bool family_matches(const char *family, const bm_device_info *info, bool *matches)
{
    if (bm_equal_ignore_case(family, "auto"))
        *matches = true;
    else if (bm_equal_ignore_case(family, "gpu"))
        *matches = is_gpu(info);
    else if (bm_equal_ignore_case(family, "host") || bm_equal_ignore_case(family, "cpu"))
        *matches = info->kind == BM_DEVICE_HOST;
    else if (bm_equal_ignore_case(family, "vulkan") || bm_equal_ignore_case(family, "opencl"))
        *matches = bm_equal_ignore_case(family, info->backend);
    else
        return false;
    return true;
}

static void describe_devices(const bm_device_list *list, bm_string *out)
{
    for (uint32_t i = 0; i < list->num_devices; i++)
        (void)bm_string_append_format(out, "%s%s (%s)", i ? ", " : "", list->devices[i].spec, list->devices[i].name);
}

// Finds the device of list that spec names; words otherwise.
static bm_status choose(const bm_device_list *list, const char *spec, uint32_t *out, bm_error *err)
{
    char family[16] = {0};
    const char *colon = strchr(spec, ':');
    const size_t length = colon ? (size_t)(colon - spec) : strlen(spec);
    bm_string here = BM_STRING_INIT;
    bm_status status = BM_OK;
    if (length < sizeof family)
        memcpy(family, spec, length); // NOLINT(bugprone-not-null-terminated-result): zeros follow
    bool matches = false;
    BM_FAIL_IF(
        length >= sizeof family || !family_matches(family, &list->devices[0], &matches) ||
            (colon && (colon[1] == '\0' || bm_equal_ignore_case(family, "auto"))),
        err, BM_E_ARGUMENT,
        "device \"%s\": expected auto, gpu, host, vulkan, opencl, one of these with :NUMBER, or vulkan: or opencl: "
        "with part of a device's name",
        spec);
    uint64_t number = 0;
    const bool by_number = colon && bm_parse_u64(colon + 1, &number);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < list->num_devices; i++) {
        const bm_device_info *info = &list->devices[i];
        (void)family_matches(family, info, &matches);
        if (!matches)
            continue;
        if (by_number) {
            // vulkan:N and opencl:N are the numbers that `bitmill devices` prints; gpu:N counts GPUs in its order.
            const bool found =
                bm_equal_ignore_case(family, "gpu") ? seen == number : bm_equal_ignore_case(info->spec, spec);
            seen++;
            if (!found)
                continue;
        } else if (colon ? !contains_ignore_case(info->name, colon + 1) : !info->usable) {
            continue;
        }
        BM_FAIL_IF(!info->usable, err, BM_E_DEVICE, "device \"%s\": %s cannot be used: %s", spec, info->name,
                   info->problem);
        *out = i;
        goto done;
    }
    describe_devices(list, &here);
    status = bm_fail(err, BM_E_DEVICE, "device \"%s\": none here; found: %s (`bitmill devices` says what is missing)",
                     spec, bm_string_text(&here));
done:
    bm_string_free(&here);
    return status;
}

static const bm_backend *backend_named(const char *name)
{
    if (strcmp(name, "vulkan") == 0)
        return &bm_backend_vulkan;
    return strcmp(name, "opencl") == 0 ? &bm_backend_opencl : &bm_backend_host;
}

bm_status bm_device_open(bm_device **out, const bm_device_params *params, bm_error *err)
{
    bm_status status = BM_OK;
    bm_device *device = NULL;
    bm_device_list list = {0};
    uint32_t chosen = 0;
    BM_TRY(bm_device_list_create(params, &list, err));
    BM_TRY(choose(&list, params->spec ? params->spec : "auto", &chosen, err));

    device = bm_alloc_zero(1, sizeof *device);
    BM_FAIL_IF(!device, err, BM_E_MEMORY, "out of memory");
    device->info = list.devices[chosen];
    device->backend = backend_named(device->info.backend);
    device->log = params->log;
    device->separate_allocations = params->separate_allocations;
    device->subjects = bm_alloc_zero(BM_MAX_SUBJECTS, sizeof device->subjects[0]);
    device->cache_folder = bm_string_copy(params->cache_folder);
    BM_FAIL_IF(!device->subjects || (params->cache_folder && !device->cache_folder), err, BM_E_MEMORY, "out of memory");
    uint64_t index = 0;
    const char *colon = strchr(device->info.spec, ':');
    if (colon)
        (void)bm_parse_u64(colon + 1, &index); // we wrote it
    if (params->variants)
        BM_TRY(bm_device_set_variants(device, params->variants, err));
    else
        bm_tuning_read(device);
    BM_TRY(device->backend->open(device, (uint32_t)index, err));
    *out = device;
    device = NULL;
done:
    if (device) {
        bm_free(device->subjects);
        bm_free(device->cache_folder);
        bm_free(device->variants);
        bm_free(device);
    }
    bm_device_list_free(&list);
    return status;
}
