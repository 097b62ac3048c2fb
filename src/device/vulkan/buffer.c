// Buffers, and staging memory.
#include "device/vulkan/vulkan.h"

static bm_status create_handle(bm_device *device, uint64_t size, VkBufferUsageFlags usage, VkBuffer *out, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    const VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = size, .usage = usage};
    const VkResult result = state->api.vkCreateBuffer(state->device, &info, NULL, out);
    if (result != VK_SUCCESS)
        return vk_fail(device, result, err, "vkCreateBuffer");
    device->live_handles++;
    return BM_OK;
}

bm_status vk_raw_buffer_create(bm_device *device, uint64_t size, const char *name, vk_buffer *out, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    const VkBufferUsageFlags usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                     VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
    VkMemoryRequirements need;
    bm_status status = BM_OK;
    vk_buffer buffer = {0};
    BM_TRY(create_handle(device, size, usage, &buffer.handle, err));
    state->api.vkGetBufferMemoryRequirements(state->device, buffer.handle, &need);
    BM_TRY(vk_memory_take(device, &need, name, &buffer.range, err));
    const VkResult result =
        state->api.vkBindBufferMemory(state->device, buffer.handle, buffer.range->block->memory, buffer.range->offset);
    if (result != VK_SUCCESS) {
        status = vk_fail(device, result, err, "vkBindBufferMemory");
        goto done;
    }
    const VkBufferDeviceAddressInfo address = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
                                               .buffer = buffer.handle};
    buffer.address = state->api.vkGetBufferDeviceAddress(state->device, &address);
    vk_name_object(device, VK_OBJECT_TYPE_BUFFER, (uint64_t)(uintptr_t)buffer.handle, name);
    *out = buffer;
    buffer = (vk_buffer){0};
done:
    vk_raw_buffer_destroy(device, &buffer);
    return status;
}

void vk_raw_buffer_destroy(bm_device *device, vk_buffer *buffer)
{
    vk_state *state = vk_state_of(device);
    if (buffer->handle) {
        state->api.vkDestroyBuffer(state->device, buffer->handle, NULL);
        device->live_handles--;
    }
    if (buffer->range)
        vk_memory_give(device, buffer->range);
    *buffer = (vk_buffer){0};
}

bm_status vk_buffer_create(bm_device *device, bm_buffer *buffer, bm_error *err)
{
    vk_buffer *state = bm_alloc_zero(1, sizeof *state);
    if (!state)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    // Cached by the host is what tells memory of the system from the window to a device's own.
    const bm_status status = buffer->is_host ? vk_staging_create(device, buffer->size, true, &state->host, err)
                                             : vk_raw_buffer_create(device, buffer->size, buffer->name, state, err);
    if (buffer->is_host)
        state->handle = state->host.handle;
    if (status == BM_OK)
        buffer->state = state;
    else
        bm_free(state);
    return status;
}

void vk_buffer_destroy(bm_device *device, bm_buffer *buffer)
{
    vk_buffer *state = buffer->state;
    if (buffer->is_host)
        vk_staging_destroy(device, &state->host);
    else
        vk_raw_buffer_destroy(device, state);
    bm_free(buffer->state);
}

bm_status vk_staging_create(bm_device *device, uint64_t size, bool for_reading, vk_staging *out, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    VkMemoryRequirements need;
    bm_status status = BM_OK;
    vk_staging staging = {0};
    void *bytes = NULL;
    BM_TRY(create_handle(device, size, VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                         &staging.handle, err));
    state->api.vkGetBufferMemoryRequirements(state->device, staging.handle, &need);
    BM_TRY(vk_memory_allocate(device, need.size, need.memoryTypeBits,
                              VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
                              for_reading ? VK_MEMORY_PROPERTY_HOST_CACHED_BIT : 0, "staging memory", &staging.memory,
                              err));
    VkResult result = state->api.vkBindBufferMemory(state->device, staging.handle, staging.memory, 0);
    if (result == VK_SUCCESS)
        result = state->api.vkMapMemory(state->device, staging.memory, 0, VK_WHOLE_SIZE, 0, &bytes);
    if (result != VK_SUCCESS) {
        status = vk_fail(device, result, err, "staging memory");
        goto done;
    }
    staging.bytes = bytes;
    *out = staging;
    staging = (vk_staging){0};
done:
    vk_staging_destroy(device, &staging);
    return status;
}

void vk_staging_destroy(bm_device *device, vk_staging *staging)
{
    vk_state *state = vk_state_of(device);
    if (staging->handle) {
        state->api.vkDestroyBuffer(state->device, staging->handle, NULL);
        device->live_handles--;
    }
    if (staging->memory) {
        state->api.vkFreeMemory(state->device, staging->memory, NULL); // unmaps it
        device->live_handles--;
    }
    *staging = (vk_staging){0};
}
