// Buffers and their memory.
#include "device/vulkan/vulkan.h"

// A memory type that bits allow and that has all wanted properties, if possible also the preferred ones.
static bool find_memory_type(const vk_state *state, uint32_t bits, VkMemoryPropertyFlags wanted,
                             VkMemoryPropertyFlags preferred, uint32_t *out)
{
    for (int pass = 0; pass < 2; pass++) {
        const VkMemoryPropertyFlags flags = pass == 0 ? wanted | preferred : wanted;
        for (uint32_t i = 0; i < state->memory.memoryTypeCount; i++)
            if ((bits >> i & 1u) && (state->memory.memoryTypes[i].propertyFlags & flags) == flags) {
                *out = i;
                return true;
            }
    }
    return false;
}

static bm_status allocate(bm_device *device, uint64_t size, uint32_t type_bits, VkMemoryPropertyFlags wanted,
                          VkMemoryPropertyFlags preferred, const char *name, VkDeviceMemory *out, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    const VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                             .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
    VkMemoryAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .pNext = &flags, .allocationSize = size};
    if (!find_memory_type(state, type_bits, wanted, preferred, &info.memoryTypeIndex))
        return bm_fail(err, BM_E_DEVICE, "%s: the device has no fitting memory type", name);
    const VkResult result = state->api.vkAllocateMemory(state->device, &info, NULL, out);
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY)
        return bm_fail(err, BM_E_DEVICE, "%s: no device memory for %llu bytes (the device has %llu in all)", name,
                       (unsigned long long)size, (unsigned long long)device->info.limits.memory_bytes);
    if (result != VK_SUCCESS)
        return vk_fail(device, result, err, "vkAllocateMemory");
    device->live_handles++;
    return BM_OK;
}

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

static bool find_room(vk_block *block, uint32_t num_units, uint32_t *first_unit)
{
    uint32_t run = 0;
    for (uint32_t unit = 0; unit < VK_BLOCK_UNITS; unit++) {
        run = block->taken[unit] ? 0 : run + 1;
        if (run == num_units) {
            *first_unit = unit + 1 - num_units;
            return true;
        }
    }
    return false;
}

static bm_status add_block(bm_device *device, uint32_t type_bits, vk_block **out, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    vk_block *block = bm_alloc_zero(1, sizeof *block);
    if (!block)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    const bm_status status = allocate(device, VK_BLOCK_BYTES, type_bits, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0,
                                      "a block of small buffers", &block->memory, err);
    if (status != BM_OK) {
        bm_free(block);
        return status;
    }
    block->next = state->blocks;
    state->blocks = block;
    *out = block;
    return BM_OK;
}

// Places a small buffer in the first block with room, or in a new one. All buffers have the same usage, and so the same
// memory types: any block will do.
static bm_status place_in_block(bm_device *device, const VkMemoryRequirements *need, vk_buffer *buffer, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    const uint32_t num_units = (uint32_t)bm_divide_up(need->size, VK_BLOCK_UNIT);
    uint32_t first = 0;
    vk_block *block = state->blocks;
    while (block && !find_room(block, num_units, &first))
        block = block->next;
    if (!block) {
        const bm_status status = add_block(device, need->memoryTypeBits, &block, err);
        if (!block)
            return status;
        first = 0;
    }
    for (uint32_t unit = first; unit < first + num_units; unit++)
        block->taken[unit] = true;
    block->live++;
    buffer->block = block;
    buffer->first_unit = first;
    buffer->num_units = num_units;
    return BM_OK;
}

static void free_block(bm_device *device, vk_block *block)
{
    vk_state *state = vk_state_of(device);
    state->api.vkFreeMemory(state->device, block->memory, NULL);
    device->live_handles--;
    bm_free(block);
}

// A block without buffers goes back to the driver, but for one, which the next small buffer will want.
static void leave_block(bm_device *device, const vk_buffer *buffer)
{
    vk_state *state = vk_state_of(device);
    vk_block *block = buffer->block;
    for (uint32_t unit = buffer->first_unit; unit < buffer->first_unit + buffer->num_units; unit++)
        block->taken[unit] = false;
    if (--block->live > 0 || !state->blocks->next)
        return;
    vk_block **link = &state->blocks;
    while (*link != block)
        link = &(*link)->next;
    *link = block->next;
    free_block(device, block);
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
    if (need.size < VK_SMALL_BUFFER && need.alignment <= VK_BLOCK_UNIT && !device->separate_allocations) {
        BM_TRY(place_in_block(device, &need, &buffer, err));
    } else {
        // With separate allocations a gap follows, so that an address behind the buffer belongs to nobody.
        const uint64_t bytes = need.size + (device->separate_allocations ? VK_GUARD_BYTES : 0);
        BM_TRY(allocate(device, bytes, need.memoryTypeBits, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0, name,
                        &buffer.memory, err));
    }
    VkDeviceMemory memory = buffer.block ? buffer.block->memory : buffer.memory;
    const VkResult result =
        state->api.vkBindBufferMemory(state->device, buffer.handle, memory, buffer.first_unit * VK_BLOCK_UNIT);
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
    if (buffer->memory) {
        state->api.vkFreeMemory(state->device, buffer->memory, NULL);
        device->live_handles--;
    }
    if (buffer->block)
        leave_block(device, buffer);
    *buffer = (vk_buffer){0};
}

void vk_blocks_destroy(bm_device *device)
{
    vk_state *state = vk_state_of(device);
    while (state->blocks) {
        vk_block *block = state->blocks;
        state->blocks = block->next;
        free_block(device, block);
    }
}

bm_status vk_buffer_create(bm_device *device, bm_buffer *buffer, bm_error *err)
{
    vk_buffer *state = bm_alloc_zero(1, sizeof *state);
    if (!state)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    const bm_status status = vk_raw_buffer_create(device, buffer->size, buffer->name, state, err);
    if (status == BM_OK)
        buffer->state = state;
    else
        bm_free(state);
    return status;
}

void vk_buffer_destroy(bm_device *device, bm_buffer *buffer)
{
    vk_raw_buffer_destroy(device, buffer->state);
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
    BM_TRY(allocate(device, need.size, need.memoryTypeBits,
                    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
                    for_reading ? VK_MEMORY_PROPERTY_HOST_CACHED_BIT : 0, "staging memory", &staging.memory, err));
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
