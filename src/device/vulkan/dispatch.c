// Recording, submitting, waiting.
#include "device/vulkan/vulkan.h"

#include <string.h>

bm_status vk_fail(bm_device *device, VkResult result, bm_error *err, const char *what)
{
    if (result == VK_ERROR_DEVICE_LOST) {
        device->lost = true;
        return bm_fail(err, BM_E_DEVICE, "%s: %s: the device was lost", device->info.name, what);
    }
    return bm_fail(err, BM_E_DEVICE, "%s: %s: Vulkan error %d", device->info.name, what, (int)result);
}

bm_status vk_wait_value(bm_device *device, uint64_t value, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    const VkSemaphoreWaitInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                      .semaphoreCount = 1,
                                      .pSemaphores = &state->timeline,
                                      .pValues = &value};
    if (value == 0)
        return BM_OK;
    const VkResult result = state->api.vkWaitSemaphores(state->device, &info, UINT64_MAX);
    return result == VK_SUCCESS ? BM_OK : vk_fail(device, result, err, "vkWaitSemaphores");
}

bm_status vk_record(bm_device *device, VkCommandBuffer *out, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    vk_command *command = &state->commands[state->current];
    if (!state->recording) {
        const VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                               .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
        const bm_status status = vk_wait_value(device, command->value, err);
        if (status != BM_OK)
            return status;
        const VkResult result = state->api.vkBeginCommandBuffer(command->handle, &info); // resets it too
        if (result != VK_SUCCESS)
            return vk_fail(device, result, err, "vkBeginCommandBuffer");
        state->recording = true;
    }
    *out = command->handle;
    return BM_OK;
}

static void memory_barrier(vk_state *state, VkCommandBuffer command, VkPipelineStageFlags to, VkAccessFlags access)
{
    const VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                     .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                                     .dstAccessMask = access};
    state->api.vkCmdPipelineBarrier(command, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT, to, 0, 1,
                                    &barrier, 0, NULL, 0, NULL);
}

void vk_record_barrier(vk_state *state, VkCommandBuffer command)
{
    memory_barrier(state, command, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                   VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT |
                       VK_ACCESS_TRANSFER_WRITE_BIT);
}

bm_status vk_barrier(bm_device *device, bm_error *err)
{
    VkCommandBuffer command = VK_NULL_HANDLE;
    const bm_status status = vk_record(device, &command, err);
    if (status == BM_OK)
        vk_record_barrier(vk_state_of(device), command);
    return status;
}

bm_status vk_submit(bm_device *device, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    if (!state->recording)
        return BM_OK;
    vk_command *command = &state->commands[state->current];
    const uint64_t value = state->submitted + 1;
    const VkTimelineSemaphoreSubmitInfo timeline = {.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
                                                    .signalSemaphoreValueCount = 1,
                                                    .pSignalSemaphoreValues = &value};
    const VkSubmitInfo info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                               .pNext = &timeline,
                               .commandBufferCount = 1,
                               .pCommandBuffers = &command->handle,
                               .signalSemaphoreCount = 1,
                               .pSignalSemaphores = &state->timeline};
    memory_barrier(state, command->handle, VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT); // downloads, when waited for
    state->recording = false;
    VkResult result = state->api.vkEndCommandBuffer(command->handle);
    if (result == VK_SUCCESS)
        result = state->api.vkQueueSubmit(state->queue, 1, &info, VK_NULL_HANDLE);
    if (result != VK_SUCCESS)
        return vk_fail(device, result, err, "vkQueueSubmit");
    state->submitted = value;
    command->value = value;
    state->current = (state->current + 1) % VK_NUM_BATCHES;
    return BM_OK;
}

// The status word is copied out and zeroed behind everything that was recorded.
static bm_status record_status(bm_device *device, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    const VkBufferCopy region = {0, 0, 16};
    VkCommandBuffer command = VK_NULL_HANDLE;
    const bm_status status = vk_record(device, &command, err);
    if (status != BM_OK)
        return status;
    vk_record_barrier(state, command);
    state->api.vkCmdCopyBuffer(command, state->status_word.handle, state->status_readback.handle, 1, &region);
    vk_record_barrier(state, command);
    state->api.vkCmdFillBuffer(command, state->status_word.handle, 0, 16, 0);
    vk_record_barrier(state, command);
    return BM_OK;
}

bm_status vk_wait(bm_device *device, uint32_t status_word[4], bm_error *err)
{
    vk_state *state = vk_state_of(device);
    bm_status status = BM_OK;
    BM_TRY(record_status(device, err));
    BM_TRY(vk_submit(device, err));
    BM_TRY(vk_wait_value(device, state->submitted, err));
    memcpy(status_word, state->status_readback.bytes, 16);
    vk_deliver_downloads(state);
done:
    return status;
}

// The arguments as the shader's push constants: addresses, status word, scalars, subject.
static uint32_t pack_arguments(const vk_state *state, const bm_call *call, uint32_t subject, uint8_t out[VK_PUSH_BYTES])
{
    const bm_kernel_info *info = &bm_kernel_table[call->kernel];
    uint32_t used = 0;
    for (uint32_t i = 0; i < info->num_buffers; i++, used += 8) {
        const vk_buffer *buffer = call->buffers[i].buffer ? call->buffers[i].buffer->state : NULL;
        const uint64_t address = buffer ? buffer->address + call->buffers[i].offset : 0;
        memcpy(out + used, &address, 8);
    }
    if (info->reports) {
        memcpy(out + used, &state->status_word.address, 8);
        used += 8;
    }
    if (info->scalar_bytes > 0)
        memcpy(out + used, call->scalars, info->scalar_bytes);
    used += info->scalar_bytes;
    if (info->reports) {
        memcpy(out + used, &subject, 4);
        used += 4;
    }
    return used;
}

bm_status vk_dispatch(bm_device *device, const bm_call *call, uint32_t subject, bool barrier, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    uint8_t arguments[VK_PUSH_BYTES];
    VkPipeline pipeline;
    VkCommandBuffer command = VK_NULL_HANDLE;
    bm_status status = vk_pipeline_find(device, call, &pipeline, err);
    if (status == BM_OK)
        status = vk_record(device, &command, err);
    if (status != BM_OK)
        return status;
    const uint32_t size = pack_arguments(state, call, subject, arguments);
    state->api.vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    state->api.vkCmdPushConstants(command, state->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, size, arguments);
    state->api.vkCmdDispatch(command, call->groups[0], call->groups[1], call->groups[2]);
    if (barrier)
        vk_record_barrier(state, command);
    return BM_OK;
}

bm_status vk_timestamp_record(bm_device *device, uint32_t slot, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    VkCommandBuffer command = VK_NULL_HANDLE;
    if (state->timestamp_bits == 0)
        return bm_fail(err, BM_E_UNSUPPORTED, "%s: its queue has no timestamps", device->info.name);
    const bm_status status = vk_record(device, &command, err);
    if (status != BM_OK)
        return status;
    state->api.vkCmdResetQueryPool(command, state->queries, slot, 1);
    state->api.vkCmdWriteTimestamp(command, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, state->queries, slot);
    return BM_OK;
}

bm_status vk_timestamp_read(bm_device *device, uint32_t slot, double *ns, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    uint64_t ticks = 0;
    const VkResult result = state->api.vkGetQueryPoolResults(state->device, state->queries, slot, 1, sizeof ticks, &ticks,
                                                             sizeof ticks, VK_QUERY_RESULT_64_BIT);
    if (result != VK_SUCCESS)
        return result == VK_NOT_READY ? bm_fail(err, BM_E_ARGUMENT, "timestamp slot %u was not recorded", slot)
                                      : vk_fail(device, result, err, "vkGetQueryPoolResults");
    *ns = (double)ticks * device->info.limits.timestamp_period_ns;
    return BM_OK;
}
