// Opening the device that a spec names.
#include "base/process.h"
#include "base/str.h"
#include "device/profile.h"

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

// The same for a word: not part of a longer one, so that "1" is not found in "avx512".
static bool contains_word(const char *text, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
        if ((at == text || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[length]))
            return true;
    return false;
}

// A spec taken apart: FAMILY, FAMILY:NUMBER or FAMILY:PART OF A NAME.
typedef struct device_spec {
    char family[16];
    const char *which; // behind the colon; NULL: none
    bool by_number;
    uint64_t number;
} device_spec;

static bool parse_spec(const char *text, device_spec *out)
{
    static const struct {
        const char *family;
        bool has_number, has_name;
    } families[] = {{"auto", false, false}, {"host", false, false}, {"cpu", false, false},
                    {"gpu", true, false},   {"vulkan", true, true}, {"opencl", true, true}};
    const char *colon = strchr(text, ':');
    const size_t length = colon ? (size_t)(colon - text) : strlen(text);
    *out = (device_spec){.which = colon ? colon + 1 : NULL};
    if (length >= sizeof out->family)
        return false;
    memcpy(out->family, text, length); // NOLINT(bugprone-not-null-terminated-result): zeros follow
    out->by_number = colon && bm_parse_u64(out->which, &out->number);
    for (size_t i = 0; i < BM_COUNT(families); i++)
        if (bm_equal_ignore_case(out->family, families[i].family))
            return !colon || (out->by_number ? families[i].has_number : families[i].has_name && out->which[0] != '\0');
    return false;
}

bool bm_device_spec_is_valid(const char *spec)
{
    device_spec parsed;
    return parse_spec(spec, &parsed);
}

static bool is_host(const char *family)
{
    return bm_equal_ignore_case(family, "host") || bm_equal_ignore_case(family, "cpu");
}

// Whether the family, the spec's first word, means this device.
static bool family_matches(const char *family, const bm_device_info *info)
{
    if (bm_equal_ignore_case(family, "auto"))
        return true;
    if (bm_equal_ignore_case(family, "gpu"))
        return bm_device_kind_is_gpu(info->kind);
    if (is_host(family))
        return info->kind == BM_DEVICE_HOST;
    return bm_equal_ignore_case(family, info->backend);
}

static void describe_devices(const bm_device_list *list, bm_string *out)
{
    for (uint32_t i = 0; i < list->num_devices; i++)
        (void)bm_string_append_format(out, "%s%s (%s)", i ? ", " : "", list->devices[i].spec, list->devices[i].name);
}

// Whether the device is the one with the spec's number. vulkan:N and opencl:N are the numbers that `bitmill devices`
// prints; gpu:N counts GPUs in its order, of which this one is number seen.
static bool number_matches(const device_spec *spec, const bm_device_info *info, uint64_t seen)
{
    uint64_t number = seen;
    const char *colon = strchr(info->spec, ':');
    if (!bm_equal_ignore_case(spec->family, "gpu") && (!colon || !bm_parse_u64(colon + 1, &number)))
        return false;
    return number == spec->number;
}

// Index of the first device that the spec means; num_devices: none.
static uint32_t find(const bm_device_list *list, const device_spec *spec)
{
    uint64_t seen = 0;
    for (uint32_t i = 0; i < list->num_devices; i++) {
        const bm_device_info *info = &list->devices[i];
        if (family_matches(spec->family, info) && (spec->by_number ? number_matches(spec, info, seen++)
                                                   : spec->which   ? contains_ignore_case(info->name, spec->which)
                                                                   : info->usable))
            return i;
    }
    // "opencl:4090": no such number, but perhaps one that stands in a name.
    for (uint32_t i = 0; spec->by_number && !bm_equal_ignore_case(spec->family, "gpu") && i < list->num_devices; i++)
        if (family_matches(spec->family, &list->devices[i]) && contains_word(list->devices[i].name, spec->which))
            return i;
    return list->num_devices;
}

bm_status bm_device_list_find(const bm_device_list *list, const char *spec, uint32_t *out, bm_error *err)
{
    device_spec parsed;
    bm_string here = BM_STRING_INIT;
    bm_status status = BM_OK;
    BM_FAIL_IF(!parse_spec(spec, &parsed), err, BM_E_ARGUMENT, "device \"%s\": expected " BM_DEVICE_SPEC_WORDS, spec);
    const uint32_t found = find(list, &parsed);
    if (found < list->num_devices) {
        const bm_device_info *info = &list->devices[found];
        BM_FAIL_IF(!info->usable, err, BM_E_DEVICE, "device \"%s\": %s cannot be used: %s", spec, info->name,
                   info->problem);
        *out = found;
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

// A driver that shows no device is not passed over in silence where the choice was ours and fell on the CPU: PoCL does so where
// its cache cannot be written.
static void say_what_auto_lacks(const bm_device *device, const char *spec, const bm_device_list *list)
{
    if ((spec && !bm_equal_ignore_case(spec, "auto")) || bm_device_kind_is_gpu(device->info.kind))
        return;
    for (uint32_t i = 0; i < list->num_missing; i++)
        if (strcmp(list->missing[i].component, BM_MISSING_OPENCL_DEVICE) == 0)
            bm_log_write(device->log, BM_LOG_WARNING, "device auto is %s: %s", device->info.spec,
                         list->missing[i].words);
}

// No driver is loaded for it then, so that it is there where one is broken.
static bool means_host(const char *spec)
{
    device_spec parsed;
    return spec && parse_spec(spec, &parsed) && is_host(parsed.family);
}

static bm_status open_device(bm_device **out, const bm_device_params *params, bm_error *err)
{
    bm_status status = BM_OK;
    bm_device *device = NULL;
    bm_device_list list = {0};
    uint32_t chosen = 0;
    if (means_host(params->spec))
        BM_TRY(bm_backend_host.enumerate(params, &list, err));
    else
        BM_TRY(bm_device_list_create(params, &list, err));
    BM_TRY(bm_device_list_find(&list, params->spec ? params->spec : "auto", &chosen, err));

    device = bm_alloc_zero(1, sizeof *device);
    BM_FAIL_IF(!device, err, BM_E_MEMORY, "out of memory");
    device->info = list.devices[chosen];
    device->backend = backend_named(device->info.backend);
    device->log = params->log;
    device->separate_allocations = params->separate_allocations;
    device->auto_submit = BM_FIRST_SUBMIT;
    device->compile_only = params->compile_only;
    device->subjects = bm_alloc_zero(BM_MAX_SUBJECTS, sizeof device->subjects[0]);
    device->cache_folder = bm_string_copy(params->cache_folder);
    BM_FAIL_IF(!device->subjects || (params->cache_folder && !device->cache_folder), err, BM_E_MEMORY, "out of memory");
    uint64_t index = 0;
    const char *colon = strchr(device->info.spec, ':');
    if (colon)
        (void)bm_parse_u64(colon + 1, &index); // we wrote it
    if (params->variants)
        BM_TRY(bm_device_set_variants(device, params->variants, err));
    bm_tuning_read(device);
    say_what_auto_lacks(device, params->spec, &list);
    bm_cache_folder_check(device);
    if (params->profile)
        BM_TRY(bm_profile_begin(device, err));
    BM_TRY(device->backend->open(device, (uint32_t)index, err));
    if (device->info.limits.available_bytes > 0) // others have the rest
        device->info.limits.memory_bytes =
            bm_min_u64(device->info.limits.memory_bytes, device->info.limits.available_bytes);
    if (params->memory > 0)
        bm_device_limit_memory(device, params->memory, "--device-memory");
    *out = device;
    device = NULL;
done:
    if (device) {
        bm_free(device->profile);
        bm_free(device->subjects);
        bm_free(device->cache_folder);
        bm_free(device->variants);
        bm_free(device->tuning);
        bm_free(device->verdicts);
        bm_free(device);
    }
    bm_device_list_free(&list);
    return status;
}

bm_status bm_device_open(bm_device **out, const bm_device_params *params, bm_error *err)
{
    bm_process_handlers *handlers = bm_process_keep_handlers();
    const bm_status status = open_device(out, params, err);
    bm_process_restore_handlers(&handlers);
    return status;
}
