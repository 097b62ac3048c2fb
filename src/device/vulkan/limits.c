// What a Vulkan device can do, as limits and features.
//
// Extensions are looked for by name also where a later core version has taken them in: the instance asks for Vulkan 1.2,
// and drivers of 1.3 go on listing them.
#include "device/vulkan/vulkan.h"

#include <stdio.h>
#include <string.h>

// Mesa's llvmpipe (lavapipe) counts the rounds of all loops of a work-item, inner and outer ones together, and ends them at
// this number without a word. No query tells it; found by trial with Mesa 22.3.
#define LLVMPIPE_LOOP_ROUNDS 65535

// Smaller is better: a queue that the desktop does not draw on, then one with timestamps.
static int rank_of_family(const VkQueueFamilyProperties *family)
{
    return (family->queueFlags & VK_QUEUE_GRAPHICS_BIT ? 2 : 0) + (family->timestampValidBits == 0);
}

bool vk_find_queue_family(const vk_instance *instance, VkPhysicalDevice physical, uint32_t *family,
                          uint32_t *timestamp_bits)
{
    VkQueueFamilyProperties families[32];
    uint32_t count = BM_COUNT(families);
    instance->api.vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families);
    const VkQueueFamilyProperties *best = NULL;
    for (uint32_t i = 0; i < count; i++)
        if ((families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) &&
            (!best || rank_of_family(&families[i]) < rank_of_family(best)))
            best = &families[i];
    if (!best)
        return false;
    *family = (uint32_t)(best - families);
    *timestamp_bits = best->timestampValidBits;
    return true;
}

static bool has_extension(const vk_instance *instance, VkPhysicalDevice physical, const char *name)
{
    uint32_t count = 0;
    bool found = false;
    (void)instance->api.vkEnumerateDeviceExtensionProperties(physical, NULL, &count, NULL);
    VkExtensionProperties *extensions = bm_alloc_zero(count, sizeof *extensions);
    if (extensions && instance->api.vkEnumerateDeviceExtensionProperties(physical, NULL, &count, extensions) >= 0)
        for (uint32_t i = 0; i < count; i++)
            found = found || strcmp(extensions[i].extensionName, name) == 0;
    bm_free(extensions);
    return found;
}

static bm_device_kind kind_of(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return BM_DEVICE_DISCRETE_GPU;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return BM_DEVICE_INTEGRATED_GPU;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return BM_DEVICE_CPU;
    case VK_PHYSICAL_DEVICE_TYPE_OTHER:
    case VK_PHYSICAL_DEVICE_TYPE_MAX_ENUM:
        break;
    }
    return BM_DEVICE_OTHER;
}

// The largest heap of the device, and what the driver would give this process of it now; 0: it does not say.
static uint64_t largest_local_heap(const vk_instance *instance, VkPhysicalDevice physical, uint64_t *available)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 memory = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    const bool has_budget = has_extension(instance, physical, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    const VkPhysicalDeviceMemoryProperties *heaps = &memory.memoryProperties;
    uint64_t largest = 0;
    memory.pNext = has_budget ? &budget : NULL;
    instance->api.vkGetPhysicalDeviceMemoryProperties2(physical, &memory);
    *available = 0;
    for (uint32_t i = 0; i < heaps->memoryHeapCount; i++)
        if (heaps->memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT && heaps->memoryHeaps[i].size > largest) {
            largest = heaps->memoryHeaps[i].size;
            *available = has_budget ? budget.heapBudget[i] : 0;
        }
    return largest;
}

// The reason why a device cannot be used, or NULL.
static const char *problem_of(const vk_instance *instance, VkPhysicalDevice physical, uint32_t version)
{
    uint32_t family, bits;
    VkPhysicalDeviceVulkan12Features features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
    VkPhysicalDeviceFeatures2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &features};
    if (version < VK_API_VERSION_1_2)
        return "its driver is older than Vulkan 1.2";
    instance->api.vkGetPhysicalDeviceFeatures2(physical, &all);
    if (!features.bufferDeviceAddress)
        return "its driver has no buffer device addresses";
    if (!features.timelineSemaphore)
        return "its driver has no timeline semaphores";
    return vk_find_queue_family(instance, physical, &family, &bits) ? NULL : "it has no compute queue";
}

// BM_DTYPE_NONE: a type that no kernel of ours multiplies.
static bm_dtype dtype_of(VkComponentTypeKHR type)
{
    switch ((int)type) {
    case VK_COMPONENT_TYPE_FLOAT16_KHR:
        return BM_DTYPE_F16;
    case VK_COMPONENT_TYPE_FLOAT32_KHR:
        return BM_DTYPE_F32;
    case VK_COMPONENT_TYPE_SINT8_KHR:
        return BM_DTYPE_I8;
    case VK_COMPONENT_TYPE_SINT32_KHR:
        return BM_DTYPE_I32;
    case VK_COMPONENT_TYPE_BFLOAT16_KHR:
        return BM_DTYPE_BF16;
    default:
        return BM_DTYPE_NONE;
    }
}

// The shapes of a subgroup's matrices of types that modules can name.
static void read_matrix_shapes(const vk_instance *instance, VkPhysicalDevice physical, const vk_features *features,
                               bm_device_limits *out)
{
    uint32_t count = 0;
    if (!instance->api.vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR ||
        instance->api.vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(physical, &count, NULL) < 0 || count == 0)
        return;
    VkCooperativeMatrixPropertiesKHR *shapes = bm_alloc_zero(count, sizeof *shapes);
    for (uint32_t i = 0; i < count && shapes; i++)
        shapes[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    if (!shapes || instance->api.vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(physical, &count, shapes) < 0)
        count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const VkCooperativeMatrixPropertiesKHR *s = &shapes[i];
        const bm_dtype component = dtype_of(s->AType), sum = dtype_of(s->CType);
        if (s->scope != VK_SCOPE_SUBGROUP_KHR || s->AType != s->BType || s->CType != s->ResultType ||
            s->saturatingAccumulation || component == BM_DTYPE_NONE || sum == BM_DTYPE_NONE ||
            (component == BM_DTYPE_BF16 && !features->bfloat16_matrix) ||
            (component == BM_DTYPE_I8 && !features->int8_matrix))
            continue;
        if (out->num_matrix_shapes < BM_MAX_MATRIX_SHAPES)
            out->matrix_shapes[out->num_matrix_shapes++] =
                (bm_matrix_shape){s->MSize, s->NSize, s->KSize, component, sum};
        else
            out->num_more_shapes++;
    }
    bm_free(shapes);
}

void vk_features_read(const vk_instance *instance, VkPhysicalDevice physical, vk_features *out)
{
    VkPhysicalDeviceShaderBfloat16FeaturesKHR bfloat16 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR};
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR};
    VkPhysicalDeviceSubgroupSizeControlFeatures sizes = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES};
    VkPhysicalDeviceShaderIntegerDotProductFeatures dot = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES};
    VkPhysicalDeviceVulkan12Features v12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
    VkPhysicalDeviceVulkan11Features v11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
                                            .pNext = &v12};
    VkPhysicalDeviceFeatures2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &v11};
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executables = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR};
    void **last = &v12.pNext; // only structures that the driver knows are chained
    if (has_extension(instance, physical, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME)) {
        *last = &dot;
        last = &dot.pNext;
    }
    if (has_extension(instance, physical, VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME)) {
        *last = &executables;
        last = &executables.pNext;
    }
    if (has_extension(instance, physical, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME)) {
        *last = &sizes;
        last = &sizes.pNext;
    }
    if (has_extension(instance, physical, VK_COOPERATIVE_MATRIX_EXTENSION)) {
        *last = &matrix;
        last = &matrix.pNext;
    }
    if (has_extension(instance, physical, VK_BFLOAT16_EXTENSION))
        *last = &bfloat16;
    instance->api.vkGetPhysicalDeviceFeatures2(physical, &all);
    VkPhysicalDeviceFloatControlsProperties floats = {.sType =
                                                          VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FLOAT_CONTROLS_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                              .pNext = &floats};
    instance->api.vkGetPhysicalDeviceProperties2(physical, &properties);
    const bool has_matrices =
        matrix.cooperativeMatrix && v12.vulkanMemoryModel && v12.shaderFloat16 && v11.storageBuffer16BitAccess;
    *out = (vk_features){
        .fp16 = v12.shaderFloat16,
        .int8_dot = dot.shaderIntegerDotProduct,
        .creation_feedback = has_extension(instance, physical, VK_EXT_PIPELINE_CREATION_FEEDBACK_EXTENSION_NAME),
        .subgroup_sizes = sizes.subgroupSizeControl && sizes.computeFullSubgroups,
        .cooperative_matrix = has_matrices,
        .bfloat16_matrix = has_matrices && bfloat16.shaderBFloat16Type && bfloat16.shaderBFloat16CooperativeMatrix,
        .int8_matrix = has_matrices && v12.shaderInt8,
        .pipeline_statistics = executables.pipelineExecutableInfo,
        // Where only 32 bits are independent, 64 bits need the mode of 16: no kernel has 64-bit floats.
        .denormals_16bit = floats.shaderDenormPreserveFloat16 &&
                           floats.denormBehaviorIndependence != VK_SHADER_FLOAT_CONTROLS_INDEPENDENCE_NONE,
        .portability_subset = has_extension(instance, physical, VK_PORTABILITY_SUBSET_EXTENSION),
    };
}

// Multiprocessors or compute units, which core Vulkan does not tell; 0: unknown.
static uint32_t count_units(const vk_instance *instance, VkPhysicalDevice physical)
{
    VkPhysicalDeviceShaderSMBuiltinsPropertiesNV nvidia = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV};
    VkPhysicalDeviceShaderCorePropertiesAMD amd = {.sType =
                                                       VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_AMD};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    if (has_extension(instance, physical, VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME))
        all.pNext = &nvidia;
    else if (has_extension(instance, physical, VK_AMD_SHADER_CORE_PROPERTIES_EXTENSION_NAME))
        all.pNext = &amd;
    else
        return 0;
    instance->api.vkGetPhysicalDeviceProperties2(physical, &all);
    return nvidia.shaderSMCount +
           amd.shaderEngineCount * amd.shaderArraysPerEngineCount * amd.computeUnitsPerShaderArray;
}

static void read_limits(const vk_instance *instance, VkPhysicalDevice physical, bm_device_info *out)
{
    VkPhysicalDeviceMaintenance4Properties buffers = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES, .maxBufferSize = UINT64_MAX};
    VkPhysicalDeviceSubgroupProperties subgroup = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
    VkPhysicalDeviceSubgroupSizeControlProperties sizes = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES};
    VkPhysicalDeviceMaintenance3Properties memory = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, .pNext = &subgroup};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                              .pNext = &memory};
    vk_features features;
    uint32_t family = 0, timestamp_bits = 0;
    vk_features_read(instance, physical, &features);
    if (features.subgroup_sizes)
        subgroup.pNext = &sizes;
    if (has_extension(instance, physical, VK_KHR_MAINTENANCE_4_EXTENSION_NAME)) {
        buffers.pNext = subgroup.pNext;
        subgroup.pNext = &buffers;
    }
    instance->api.vkGetPhysicalDeviceProperties2(physical, &properties);
    // Kernels that require a size have up to 8 subgroups.
    const bool can_require =
        sizes.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT && sizes.maxComputeWorkgroupSubgroups >= 8;
    (void)vk_find_queue_family(instance, physical, &family, &timestamp_bits);
    const VkPhysicalDeviceLimits *l = &properties.properties.limits;
    uint64_t available = 0;
    const uint64_t memory_bytes = largest_local_heap(instance, physical, &available);
    out->limits = (bm_device_limits){
        .memory_bytes = memory_bytes,
        .available_bytes = available,
        .max_allocation_bytes = bm_min_u64(memory.maxMemoryAllocationSize, buffers.maxBufferSize),
        .max_group_invocations = l->maxComputeWorkGroupInvocations,
        .max_groups = {l->maxComputeWorkGroupCount[0], l->maxComputeWorkGroupCount[1], l->maxComputeWorkGroupCount[2]},
        .shared_memory_bytes = l->maxComputeSharedMemorySize,
        .compute_units = count_units(instance, physical),
        .subgroup_size = subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT ? subgroup.subgroupSize : 0,
        .min_subgroup_size = can_require ? sizes.minSubgroupSize : 0,
        .max_subgroup_size = can_require ? sizes.maxSubgroupSize : 0,
        .timestamp_period_ns = timestamp_bits > 0 ? (double)l->timestampPeriod : 0,
        .fp16_arithmetic = features.fp16,
        .int8_dot = features.int8_dot,
        // Vulkan does not say whether a screen hangs on a GPU, nor whether the system ends long work: so it may.
        .display_attached = out->kind != BM_DEVICE_CPU,
    };
    if (out->limits.max_group_invocations > l->maxComputeWorkGroupSize[0])
        out->limits.max_group_invocations = l->maxComputeWorkGroupSize[0];
    if (out->limits.memory_bytes > 0 && out->limits.max_allocation_bytes > out->limits.memory_bytes)
        out->limits.max_allocation_bytes = out->limits.memory_bytes;
    if (features.cooperative_matrix)
        read_matrix_shapes(instance, physical, &features, &out->limits);
}

void vk_device_describe(const vk_instance *instance, VkPhysicalDevice physical, uint32_t index, bm_device_info *out)
{
    VkPhysicalDeviceProperties properties;
    *out = (bm_device_info){.backend = "vulkan"};
    instance->api.vkGetPhysicalDeviceProperties(physical, &properties);
    snprintf(out->spec, sizeof out->spec, "vulkan:%u", index);
    snprintf(out->name, sizeof out->name, "%.255s", properties.deviceName);
    out->kind = kind_of(properties.deviceType);
    const char *problem = problem_of(instance, physical, properties.apiVersion);
    out->usable = problem == NULL;
    if (problem) {
        snprintf(out->problem, sizeof out->problem, "%s", problem);
        snprintf(out->driver, sizeof out->driver, "Vulkan %u.%u", VK_API_VERSION_MAJOR(properties.apiVersion),
                 VK_API_VERSION_MINOR(properties.apiVersion));
        return;
    }
    VkPhysicalDeviceDriverProperties driver = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &driver};
    instance->api.vkGetPhysicalDeviceProperties2(physical, &all);
    snprintf(out->driver, sizeof out->driver, "%.100s %.100s, Vulkan %u.%u", driver.driverName, driver.driverInfo,
             VK_API_VERSION_MAJOR(properties.apiVersion), VK_API_VERSION_MINOR(properties.apiVersion));
    read_limits(instance, physical, out);
    if (driver.driverID == VK_DRIVER_ID_MESA_LLVMPIPE)
        out->limits.max_loop_rounds = LLVMPIPE_LOOP_ROUNDS;
}
