#include "support/support.h"
#include "base/file.h"
#include "device/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_message(void *user, bm_log_level level, const char *message)
{
    support_log *log = user;
    if (level == BM_LOG_ERROR || (level == BM_LOG_WARNING && strstr(message, "alidation"))) {
        log->num_complaints++;
        fprintf(stderr, "log: %s\n", message);
    } else if (log->log.level == BM_LOG_DEBUG) {
        fprintf(stderr, "%s\n", message);
    }
}

// LeakSanitizer cannot name allocations of a driver that the Vulkan loader has unloaded by the end, so its suppressions
// (LLVM's own allocations inside lavapipe) would miss: in sanitized builds the driver is kept loaded.
#if defined(__SANITIZE_ADDRESS__) && defined(__linux__)
#include <dlfcn.h>
__attribute__((constructor)) static void keep_driver_loaded(void)
{
    (void)dlopen("libvulkan_lvp.so", RTLD_NOW | RTLD_NODELETE); // absent: nothing to keep
}
#endif

void support_log_init(support_log *log)
{
    const bm_log_level level = getenv("BITMILL_TEST_LOG") ? BM_LOG_DEBUG : BM_LOG_WARNING;
    *log = (support_log){.log = {.level = level, .write = write_message, .user = log}};
}

// True when a device that spec may name is in the list. A spec is BACKEND, BACKEND:NUMBER, BACKEND:NAME or a kind of
// choice ("auto", "cpu", "gpu", "host") that the list cannot answer.
static bool is_listed(const bm_device_list *list, const char *spec)
{
    const size_t length = strcspn(spec, ":");
    if (strncmp(spec, "vulkan", length) != 0 && strncmp(spec, "opencl", length) != 0)
        return true;
    for (uint32_t i = 0; i < list->num_devices; i++)
        if (list->devices[i].usable && strlen(list->devices[i].backend) == length &&
            strncmp(list->devices[i].backend, spec, length) == 0)
            return true;
    return false;
}

bm_status support_device_open(const char *spec, support_log *log, bm_device **out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_device_list list = {0};
    bm_device_params params;
    *out = NULL;
    bm_device_params_init(&params);
    params.spec = spec;
    params.log = &log->log;
    params.separate_allocations = true;
    BM_TRY(bm_device_list_create(&params, &list, err));
    if (!is_listed(&list, spec)) {
        printf("skip: no usable device for \"%s\"\n", spec);
        for (uint32_t i = 0; i < list.num_missing; i++)
            printf("skip: %s: %s\n", list.missing[i].component, list.missing[i].words);
        goto done;
    }
    BM_TRY(bm_device_open(out, &params, err));
    // OpenCL's kernels of packed dot products have a form without the instruction: it is tested where that is missing.
    (*out)->info.limits.int8_dot |= strcmp((*out)->info.backend, "opencl") == 0;
done:
    bm_device_list_free(&list);
    return status;
}

bool support_is_interpreted(void)
{
    return getenv("BITMILL_SMALL_CASES") != NULL;
}

bool support_is_instrumented(void)
{
    const char *enables = getenv("VK_LAYER_ENABLES");
    return enables && strstr(enables, "GPU_ASSISTED");
}

bool support_keeps_freed_memory(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return true;
#else
    return false;
#endif
}

void support_shorten_loops(bm_device *device)
{
    bm_error err;
    if (support_is_instrumented() && bm_device_set_variants(device, "gemm=generic,gemm_int8=generic", &err) != BM_OK)
        printf("loops stay as long as they are: %s\n", err.message);
}

char *support_data_path(const char *name)
{
    const char *folder = getenv("BITMILL_DATA");
    char *path = folder ? bm_path_join(folder, name) : NULL;
    if (path && bm_path_kind_of(path) == BM_PATH_ABSENT) {
        bm_free(path);
        path = NULL;
    }
    return path;
}
