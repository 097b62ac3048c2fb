// What the driver tells about a pipeline: VK_KHR_pipeline_executable_properties.
#include "device/vulkan/vulkan.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define MAX_EXECUTABLES 4

typedef struct statistic_name {
    const char *name;
    size_t field; // of bm_compile_report
} statistic_name;

// The names that drivers give to what a report wants to know. Several of one field add up.
static const statistic_name names[] = {
    // RADV; what of its scalar registers spills goes to lanes of vector registers first, and counts all the same
    {"VGPRs", offsetof(bm_compile_report, registers)},
    {"Spilled VGPRs", offsetof(bm_compile_report, spills)},
    {"Spilled SGPRs", offsetof(bm_compile_report, spills)},
    {"LDS size", offsetof(bm_compile_report, shared_bytes)},
    // NVIDIA; local memory is where its spills go, and arrays that are indexed by a variable
    {"Register Count", offsetof(bm_compile_report, registers)},
    {"Local Memory Size", offsetof(bm_compile_report, spills)},
    {"Shared Memory Size", offsetof(bm_compile_report, shared_bytes)},
    // Intel (ANV)
    {"Max live registers", offsetof(bm_compile_report, registers)},
    {"Spill Count", offsetof(bm_compile_report, spills)},
    {"Workgroup Memory Size", offsetof(bm_compile_report, shared_bytes)},
};

static double value_of(const VkPipelineExecutableStatisticKHR *statistic)
{
    switch (statistic->format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR:
        return statistic->value.b32 ? 1 : 0;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
        return (double)statistic->value.i64;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR:
        return statistic->value.f64;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR:
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_MAX_ENUM_KHR:
        break;
    }
    return (double)statistic->value.u64;
}

static void keep_statistic(const VkPipelineExecutableStatisticKHR *statistic, bm_compile_report *out)
{
    if (out->num_statistics < BM_COMPILE_MAX_STATISTICS) {
        struct bm_compile_statistic *kept = &out->statistics[out->num_statistics++];
        snprintf(kept->name, sizeof kept->name, "%.63s", statistic->name);
        kept->value = value_of(statistic);
    }
    for (uint32_t i = 0; i < BM_COUNT(names); i++)
        if (strcmp(statistic->name, names[i].name) == 0) {
            uint64_t *field = (uint64_t *)((char *)out + names[i].field);
            // 32 bits: above them NVIDIA's driver (580.159) leaves something else in the local memory's size.
            *field = (*field == BM_COMPILE_UNKNOWN ? 0 : *field) + (uint32_t)(uint64_t)value_of(statistic);
        }
}

bm_status vk_compile(bm_device *device, const bm_call *call, bm_compile_report *out, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    VkPipelineInfoKHR pipeline = {.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR};
    VkPipelineExecutablePropertiesKHR executables[MAX_EXECUTABLES];
    uint32_t count = MAX_EXECUTABLES;
    bm_status status = vk_pipeline_find(device, call, &pipeline.pipeline, err);
    if (status != BM_OK || !device->compile_only || !state->features.pipeline_statistics)
        return status;
    for (uint32_t i = 0; i < MAX_EXECUTABLES; i++)
        executables[i] =
            (VkPipelineExecutablePropertiesKHR){.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR};
    if (state->api.vkGetPipelineExecutablePropertiesKHR(state->device, &pipeline, &count, executables) < 0)
        return BM_OK; // it compiles; the driver tells no more
    for (uint32_t e = 0; e < count; e++) {
        VkPipelineExecutableStatisticKHR statistics[BM_COMPILE_MAX_STATISTICS];
        const VkPipelineExecutableInfoKHR executable = {.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
                                                        .pipeline = pipeline.pipeline,
                                                        .executableIndex = e};
        uint32_t num_statistics = BM_COMPILE_MAX_STATISTICS;
        for (uint32_t i = 0; i < num_statistics; i++)
            statistics[i] =
                (VkPipelineExecutableStatisticKHR){.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR};
        if (executables[e].subgroupSize > 0)
            out->subgroup_size = executables[e].subgroupSize;
        if (state->api.vkGetPipelineExecutableStatisticsKHR(state->device, &executable, &num_statistics, statistics) <
            0)
            continue;
        for (uint32_t i = 0; i < num_statistics; i++)
            keep_statistic(&statistics[i], out);
    }
    return BM_OK;
}
