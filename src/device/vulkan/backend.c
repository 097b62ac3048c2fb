// The Vulkan backend: finding devices, opening and closing one, and the table of functions.
#include "device/vulkan/vulkan.h"

#include <string.h>

#define MAX_PHYSICAL 16

static uint32_t list_physical(const vk_instance *instance, VkPhysicalDevice out[MAX_PHYSICAL])
{
    uint32_t count = MAX_PHYSICAL;
    return instance->api.vkEnumeratePhysicalDevices(instance->handle, &count, out) >= 0 ? count : 0;
}

static bm_status vk_enumerate(const bm_device_params *params, bm_device_list *list, bm_error *err)
{
    vk_instance instance = {0};
    VkPhysicalDevice physical[MAX_PHYSICAL];
    bm_error absent = {0};
    bm_status status = BM_OK;
    if (!vk_load(&absent))
        return bm_device_list_miss(
            list, "Vulkan loader",
            "install libvulkan1, and the driver of your GPU's maker or mesa-vulkan-drivers (Debian, "
            "Ubuntu)",
            err);
    if (vk_instance_create(&instance, params->log, &absent) != BM_OK)
        return bm_device_list_miss(list, "Vulkan driver", absent.message, err);
    const uint32_t count = list_physical(&instance, physical);
    for (uint32_t i = 0; i < count && status == BM_OK; i++) {
        bm_device_info info;
        vk_device_describe(&instance, physical[i], i, &info);
        status = bm_device_list_append(list, &info, err);
    }
    if (status == BM_OK && count == 0)
        status = bm_device_list_miss(list, "Vulkan device", "the drivers show no device", err);
    vk_instance_destroy(&instance);
    return status;
}

// Creates the device with the features that a kernel may use, optional ones by their extension.
static bm_status create_device(bm_device *device, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    const vk_features *has = &state->features;
    const char *extensions[7];
    uint32_t num_extensions = 0;
    VkPhysicalDeviceShaderBfloat16FeaturesKHR bfloat16 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR,
        .shaderBFloat16Type = VK_TRUE,
        .shaderBFloat16CooperativeMatrix = VK_TRUE};
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR,
        .pNext = has->bfloat16_matrix ? &bfloat16 : NULL,
        .cooperativeMatrix = VK_TRUE};
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executables = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
        .pNext = has->cooperative_matrix ? &matrix : NULL,
        .pipelineExecutableInfo = VK_TRUE};
    VkPhysicalDeviceShaderIntegerDotProductFeatures dot = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES,
        .shaderIntegerDotProduct = VK_TRUE};
    const bool has_statistics = has->pipeline_statistics && device->compile_only;
    VkPhysicalDeviceVulkan12Features v12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                            .pNext = has_statistics ? (void *)&executables : executables.pNext,
                                            .bufferDeviceAddress = VK_TRUE,
                                            .timelineSemaphore = VK_TRUE,
                                            .shaderFloat16 = has->cooperative_matrix,
                                            .shaderInt8 = has->int8_matrix,
                                            .vulkanMemoryModel = has->cooperative_matrix};
    if (has->int8_dot) {
        dot.pNext = v12.pNext;
        v12.pNext = &dot;
        extensions[num_extensions++] = VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME;
    }
    VkPhysicalDeviceSubgroupSizeControlFeatures sizes = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES,
        .pNext = v12.pNext,
        .subgroupSizeControl = VK_TRUE,
        .computeFullSubgroups = VK_TRUE};
    if (has->subgroup_sizes) {
        v12.pNext = &sizes;
        extensions[num_extensions++] = VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME;
    }
    const VkPhysicalDeviceVulkan11Features v11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
                                                  .pNext = &v12,
                                                  .storageBuffer16BitAccess = has->cooperative_matrix};
    if (has->cooperative_matrix)
        extensions[num_extensions++] = VK_COOPERATIVE_MATRIX_EXTENSION;
    if (has->bfloat16_matrix)
        extensions[num_extensions++] = VK_BFLOAT16_EXTENSION;
    if (has->creation_feedback)
        extensions[num_extensions++] = VK_EXT_PIPELINE_CREATION_FEEDBACK_EXTENSION_NAME;
    if (has_statistics)
        extensions[num_extensions++] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
    if (has->portability_subset)
        extensions[num_extensions++] = VK_PORTABILITY_SUBSET_EXTENSION;
    const float priority = 1;
    const VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                           .queueFamilyIndex = state->queue_family,
                                           .queueCount = 1,
                                           .pQueuePriorities = &priority};
    const VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                     .pNext = &v11,
                                     .queueCreateInfoCount = 1,
                                     .pQueueCreateInfos = &queue,
                                     .enabledExtensionCount = num_extensions,
                                     .ppEnabledExtensionNames = extensions};
    const VkResult result = state->instance.api.vkCreateDevice(state->physical, &info, NULL, &state->device);
    if (result != VK_SUCCESS)
        return vk_fail(device, result, err, "vkCreateDevice");
    device->live_handles++;
    vk_device_api_load(&state->instance, state->device, &state->api);
    state->api.vkGetDeviceQueue(state->device, state->queue_family, 0, &state->queue);
    return BM_OK;
}

static bm_status create_commands(bm_device *device, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    const VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                          .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                          .queueFamilyIndex = state->queue_family};
    VkResult result = state->api.vkCreateCommandPool(state->device, &pool, NULL, &state->pool);
    if (result != VK_SUCCESS)
        return vk_fail(device, result, err, "vkCreateCommandPool");
    device->live_handles++;
    for (uint32_t i = 0; i < VK_NUM_BATCHES; i++) {
        const VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                                  .commandPool = state->pool,
                                                  .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                                  .commandBufferCount = 1};
        result = state->api.vkAllocateCommandBuffers(state->device, &info, &state->commands[i].handle);
        if (result != VK_SUCCESS)
            return vk_fail(device, result, err, "vkAllocateCommandBuffers");
    }
    const VkSemaphoreTypeCreateInfo type = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                            .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    const VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
    result = state->api.vkCreateSemaphore(state->device, &semaphore, NULL, &state->timeline);
    if (result != VK_SUCCESS)
        return vk_fail(device, result, err, "vkCreateSemaphore");
    device->live_handles++;
    if (state->timestamp_bits == 0)
        return BM_OK;
    const VkQueryPoolCreateInfo queries = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                           .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                           .queryCount = BM_ALL_TIMESTAMPS};
    result = state->api.vkCreateQueryPool(state->device, &queries, NULL, &state->queries);
    if (result != VK_SUCCESS)
        return vk_fail(device, result, err, "vkCreateQueryPool");
    device->live_handles++;
    return BM_OK;
}

static bm_status create_status_word(bm_device *device, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    VkCommandBuffer command = VK_NULL_HANDLE;
    bm_status status = BM_OK;
    BM_TRY(vk_raw_buffer_create(device, 16, "status word", &state->status_word, err));
    BM_TRY(vk_staging_create(device, 16, true, &state->status_readback, err));
    BM_TRY(vk_record(device, &command, err));
    state->api.vkCmdFillBuffer(command, state->status_word.handle, 0, 16, 0);
    vk_record_barrier(state, command);
done:
    return status;
}

// Destroys in the order opposite to creation; everything may be missing.
static void vk_close(bm_device *device)
{
    vk_state *state = vk_state_of(device);
    if (!state)
        return;
    if (state->device) {
        if (!device->compile_only) // nothing was submitted, and RADV's null device crashes when it is asked
            (void)state->api.vkDeviceWaitIdle(state->device);
        vk_pipelines_close(device);
        vk_raw_buffer_destroy(device, &state->status_word);
        vk_staging_destroy(device, &state->status_readback);
        vk_staging_destroy(device, &state->upload[0]);
        vk_staging_destroy(device, &state->upload[1]);
        vk_staging_destroy(device, &state->download);
        vk_memory_close(device);
        if (state->queries) {
            state->api.vkDestroyQueryPool(state->device, state->queries, NULL);
            device->live_handles--;
        }
        if (state->timeline) {
            state->api.vkDestroySemaphore(state->device, state->timeline, NULL);
            device->live_handles--;
        }
        if (state->pool) {
            state->api.vkDestroyCommandPool(state->device, state->pool, NULL);
            device->live_handles--;
        }
        state->api.vkDestroyDevice(state->device, NULL);
        device->live_handles--;
    }
    if (state->instance.handle)
        device->live_handles--;
    vk_instance_destroy(&state->instance);
    bm_free(state->pending);
    bm_free(state);
    device->state = NULL;
}

static bm_status vk_open(bm_device *device, uint32_t index, bm_error *err)
{
    VkPhysicalDevice physical[MAX_PHYSICAL];
    bm_status status = BM_OK;
    vk_state *state = bm_alloc_zero(1, sizeof *state);
    BM_FAIL_IF(!state, err, BM_E_MEMORY, "out of memory");
    device->state = state;
    BM_TRY(vk_instance_create(&state->instance, device->log, err));
    device->live_handles++;
    BM_FAIL_IF(index >= list_physical(&state->instance, physical), err, BM_E_DEVICE, "vulkan:%u is gone", index);
    state->physical = physical[index];
    vk_features_read(&state->instance, state->physical, &state->features);
    state->instance.api.vkGetPhysicalDeviceMemoryProperties(state->physical, &state->memory);
    (void)vk_find_queue_family(&state->instance, state->physical, &state->queue_family, &state->timestamp_bits);
    BM_TRY(create_device(device, err));
    if (!device->compile_only)
        BM_TRY(create_commands(device, err));
    BM_TRY(vk_pipelines_open(device, err));
    if (!device->compile_only)
        BM_TRY(create_status_word(device, err));
done:
    if (status != BM_OK)
        vk_close(device);
    return status;
}

const bm_backend bm_backend_vulkan = {
    .name = "vulkan",
    .keeps_memory = true,
    .enumerate = vk_enumerate,
    .open = vk_open,
    .close = vk_close,
    .buffer_create = vk_buffer_create,
    .buffer_destroy = vk_buffer_destroy,
    .upload_rows = vk_upload_rows,
    .download_rows = vk_download_rows,
    .copy = vk_copy,
    .fill = vk_fill,
    .has_variant = vk_has_variant,
    .compile = vk_compile,
    .dispatch = vk_dispatch,
    .barrier = vk_barrier,
    .submit = vk_submit,
    .wait = vk_wait,
    .idle = vk_idle,
    .timestamp_record = vk_timestamp_record,
    .timestamp_read = vk_timestamp_read,
};
