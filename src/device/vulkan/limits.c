// What a Vulkan device can do, as limits and features.
#include "device/vulkan/vulkan.h"

#include <stdio.h>
#include <string.h>

bool vk_find_queue_family(VkPhysicalDevice physical, uint32_t *family, uint32_t *timestamp_bits)
{
    VkQueueFamilyProperties families[32];
    uint32_t count = BM_COUNT(families);
    vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families);
    for (uint32_t i = 0; i < count; i++)
        if (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) {
            *family = i;
            *timestamp_bits = families[i].timestampValidBits;
            return true;
        }
    return false;
}

static bool has_extension(VkPhysicalDevice physical, const char *name)
{
    uint32_t count = 0;
    bool found = false;
    (void)vkEnumerateDeviceExtensionProperties(physical, NULL, &count, NULL);
    VkExtensionProperties *extensions = bm_alloc_zero(count, sizeof *extensions);
    if (extensions && vkEnumerateDeviceExtensionProperties(physical, NULL, &count, extensions) >= 0)
        for (uint32_t i = 0; i < count; i++)
            found = found || strcmp(extensions[i].extensionName, name) == 0;
    bm_free(extensions);
    return found;
}

static bm_device_kind kind_of(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return BM_DEVICE_DISCRETE_GPU;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return BM_DEVICE_INTEGRATED_GPU;
    case VK_PHYSICAL_DEVICE_TYPE_CPU: return BM_DEVICE_CPU;
    case VK_PHYSICAL_DEVICE_TYPE_OTHER:
    case VK_PHYSICAL_DEVICE_TYPE_MAX_ENUM: break;
    }
    return BM_DEVICE_OTHER;
}

static uint64_t largest_local_heap(VkPhysicalDevice physical)
{
    VkPhysicalDeviceMemoryProperties memory;
    uint64_t largest = 0;
    vkGetPhysicalDeviceMemoryProperties(physical, &memory);
    for (uint32_t i = 0; i < memory.memoryHeapCount; i++)
        if (memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
            largest = bm_max_u64(largest, memory.memoryHeaps[i].size);
    return largest;
}

// The reason why a device cannot be used, or NULL.
static const char *problem_of(VkPhysicalDevice physical, const VkPhysicalDeviceProperties *properties)
{
    uint32_t family, bits;
    VkPhysicalDeviceVulkan12Features features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
    VkPhysicalDeviceFeatures2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &features};
    if (properties->apiVersion < VK_API_VERSION_1_2)
        return "its driver is older than Vulkan 1.2";
    vkGetPhysicalDeviceFeatures2(physical, &all);
    if (!features.bufferDeviceAddress)
        return "its driver has no buffer device addresses";
    if (!features.timelineSemaphore)
        return "its driver has no timeline semaphores";
    return vk_find_queue_family(physical, &family, &bits) ? NULL : "it has no compute queue";
}

static void read_limits(VkPhysicalDevice physical, bm_device_info *out)
{
    VkPhysicalDeviceSubgroupProperties subgroup = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
    VkPhysicalDeviceMaintenance3Properties maintenance = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, .pNext = &subgroup};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &maintenance};
    VkPhysicalDeviceVulkan12Features features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
    VkPhysicalDeviceFeatures2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &features};
    uint32_t family = 0, timestamp_bits = 0;
    vkGetPhysicalDeviceProperties2(physical, &properties);
    vkGetPhysicalDeviceFeatures2(physical, &all);
    (void)vk_find_queue_family(physical, &family, &timestamp_bits);
    const VkPhysicalDeviceLimits *l = &properties.properties.limits;
    out->limits = (bm_device_limits){
        .memory_bytes = largest_local_heap(physical),
        .max_allocation_bytes = maintenance.maxMemoryAllocationSize,
        .max_group_invocations = l->maxComputeWorkGroupInvocations,
        .max_groups = {l->maxComputeWorkGroupCount[0], l->maxComputeWorkGroupCount[1], l->maxComputeWorkGroupCount[2]},
        .shared_memory_bytes = l->maxComputeSharedMemorySize,
        .compute_units = 0, // Vulkan does not tell
        .subgroup_size = subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT ? subgroup.subgroupSize : 0,
        .timestamp_period_ns = timestamp_bits > 0 ? (double)l->timestampPeriod : 0,
        .fp16_arithmetic = features.shaderFloat16,
        .int8_dot = properties.properties.apiVersion >= VK_API_VERSION_1_3 ||
                    has_extension(physical, "VK_KHR_shader_integer_dot_product"),
        .cooperative_matrix = has_extension(physical, "VK_KHR_cooperative_matrix"),
    };
    if (out->limits.max_group_invocations > l->maxComputeWorkGroupSize[0])
        out->limits.max_group_invocations = l->maxComputeWorkGroupSize[0];
    if (out->limits.memory_bytes > 0 && out->limits.max_allocation_bytes > out->limits.memory_bytes)
        out->limits.max_allocation_bytes = out->limits.memory_bytes;
}

void vk_device_describe(VkPhysicalDevice physical, uint32_t index, bm_device_info *out)
{
    VkPhysicalDeviceProperties properties;
    *out = (bm_device_info){.backend = "vulkan"};
    vkGetPhysicalDeviceProperties(physical, &properties);
    snprintf(out->spec, sizeof out->spec, "vulkan:%u", index);
    snprintf(out->name, sizeof out->name, "%.255s", properties.deviceName);
    out->kind = kind_of(properties.deviceType);
    const char *problem = problem_of(physical, &properties);
    out->usable = problem == NULL;
    if (problem) {
        snprintf(out->problem, sizeof out->problem, "%s", problem);
        snprintf(out->driver, sizeof out->driver, "Vulkan %u.%u", VK_API_VERSION_MAJOR(properties.apiVersion),
                 VK_API_VERSION_MINOR(properties.apiVersion));
        return;
    }
    VkPhysicalDeviceDriverProperties driver = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &driver};
    vkGetPhysicalDeviceProperties2(physical, &all);
    snprintf(out->driver, sizeof out->driver, "%.100s %.100s, Vulkan %u.%u", driver.driverName, driver.driverInfo,
             VK_API_VERSION_MAJOR(properties.apiVersion), VK_API_VERSION_MINOR(properties.apiVersion));
    read_limits(physical, out);
}
