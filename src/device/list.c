// The list of devices: every backend's, in the order in which "auto" prefers them.
#include "base/str.h"
#include "device/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bm_device_params_init(bm_device_params *params)
{
    *params = (bm_device_params){.size = sizeof *params, .spec = "auto"};
}

bool bm_device_kind_is_gpu(bm_device_kind kind)
{
    return kind == BM_DEVICE_INTEGRATED_GPU || kind == BM_DEVICE_DISCRETE_GPU;
}

const char *bm_device_kind_name(bm_device_kind kind)
{
    static const char *const names[] = {"host", "cpu", "integrated gpu", "discrete gpu", "other"};
    return (unsigned)kind < BM_COUNT(names) ? names[kind] : "other";
}

bm_status bm_device_list_append(bm_device_list *list, const bm_device_info *info, bm_error *err)
{
    bm_device_info *devices = bm_resize(list->devices, (uint64_t)list->num_devices + 1, sizeof *devices);
    if (!devices)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    list->devices = devices;
    list->devices[list->num_devices++] = *info;
    return BM_OK;
}

bm_status bm_device_list_miss(bm_device_list *list, const char *component, const char *words, bm_error *err)
{
    bm_missing_component *missing = bm_resize(list->missing, (uint64_t)list->num_missing + 1, sizeof *missing);
    if (!missing)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    list->missing = missing;
    snprintf(missing[list->num_missing].component, sizeof missing->component, "%s", component);
    snprintf(missing[list->num_missing].words, sizeof missing->words, "%s", words);
    list->num_missing++;
    return BM_OK;
}

// Smaller is preferred: real GPUs (discrete first; Vulkan first for a GPU that both loaders see), then CPU devices (PoCL
// before lavapipe: measured faster), then host; what is not usable comes last.
static int rank_of(const bm_device_info *info)
{
    static const int by_kind[] = {[BM_DEVICE_HOST] = 50,
                                  [BM_DEVICE_CPU] = 30,
                                  [BM_DEVICE_INTEGRATED_GPU] = 20,
                                  [BM_DEVICE_DISCRETE_GPU] = 10,
                                  [BM_DEVICE_OTHER] = 40};
    const bool prefers_opencl = info->kind == BM_DEVICE_CPU;
    const bool is_opencl = strcmp(info->backend, "opencl") == 0;
    return (info->usable ? 0 : 100) + by_kind[info->kind] + (is_opencl == prefers_opencl ? 0 : 1);
}

// Stable insertion sort: a backend's own order is kept among equals.
static void sort_devices(bm_device_list *list)
{
    for (uint32_t i = 1; i < list->num_devices; i++)
        for (uint32_t k = i; k > 0 && rank_of(&list->devices[k]) < rank_of(&list->devices[k - 1]); k--) {
            const bm_device_info swap = list->devices[k];
            list->devices[k] = list->devices[k - 1];
            list->devices[k - 1] = swap;
        }
}

bm_status bm_device_list_create(const bm_device_params *params, bm_device_list *out, bm_error *err)
{
    static const bm_backend *const backends[] = {&bm_backend_vulkan, &bm_backend_opencl, &bm_backend_host};
    bm_status status = BM_OK;
    *out = (bm_device_list){0};
    for (uint32_t i = 0; i < BM_COUNT(backends); i++) {
        bm_error problem = {0};
        status = backends[i]->enumerate(params, out, &problem);
        if (status != BM_OK)
            status = bm_device_list_miss(out, backends[i]->name, problem.message, err);
        BM_TRY(status);
    }
    sort_devices(out);
done:
    if (status != BM_OK)
        bm_device_list_free(out);
    return status;
}

void bm_device_list_free(bm_device_list *list)
{
    bm_free(list->devices);
    bm_free(list->missing);
    *list = (bm_device_list){0};
}
