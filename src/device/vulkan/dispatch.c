// Recording, submitting, waiting.
#include "device/vulkan/vulkan.h"

#include "base/clock.h"

#include <string.h>

const char *vk_result_text(VkResult result)
{
    static const struct {
        VkResult result;
        const char *text;
    } table[] = {
        {VK_ERROR_OUT_OF_HOST_MEMORY, "out of host memory"},
        {VK_ERROR_OUT_OF_DEVICE_MEMORY, "out of device memory"},
        {VK_ERROR_INITIALIZATION_FAILED, "initialization failed"},
        {VK_ERROR_DEVICE_LOST, "the device was lost"},
        {VK_ERROR_MEMORY_MAP_FAILED, "memory cannot be mapped"},
        {VK_ERROR_EXTENSION_NOT_PRESENT, "an extension is absent"},
        {VK_ERROR_LAYER_NOT_PRESENT, "a layer is absent"},
        {VK_ERROR_FEATURE_NOT_PRESENT, "a feature is absent"},
        {VK_ERROR_INCOMPATIBLE_DRIVER, "no driver is here"},
        {VK_ERROR_TOO_MANY_OBJECTS, "too many objects"},
        {VK_ERROR_UNKNOWN, "unknown error"},
    };
    for (size_t i = 0; i < BM_COUNT(table); i++)
        if (table[i].result == result)
            return table[i].text;
    return "failed";
}

bm_status vk_fail(bm_device *device, VkResult result, bm_error *err, const char *what)
{
    if (result == VK_ERROR_DEVICE_LOST)
        device->lost = true;
    return bm_fail(err, BM_E_DEVICE, "%s: %s: %s (%d)", device->info.name, what, vk_result_text(result), (int)result);
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
    if (device->compile_only)
        return bm_fail(err, BM_E_ARGUMENT, "%s was opened to compile only", device->info.name);
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
    state->api.vkCmdPipelineBarrier(command, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT, to,
                                    0, 1, &barrier, 0, NULL, 0, NULL);
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
    memory_barrier(state, command->handle, VK_PIPELINE_STAGE_HOST_BIT,
                   VK_ACCESS_HOST_READ_BIT); // downloads, when waited for
    state->recording = false;
    VkResult result = state->api.vkEndCommandBuffer(command->handle);
    if (result == VK_SUCCESS)
        result = state->api.vkQueueSubmit(state->queue, 1, &info, VK_NULL_HANDLE);
    if (result != VK_SUCCESS) {
        vk_discard_downloads(state); // they will never come
        return vk_fail(device, result, err, "vkQueueSubmit");
    }
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
    state->upload[0].used = state->upload[1].used = 0; // nothing reads it any more
done:
    return status;
}

void vk_idle(bm_device *device)
{
    vk_state *state = vk_state_of(device);
    (void)state->api.vkDeviceWaitIdle(state->device); // an error says that the device is lost: nothing runs any more
    vk_discard_downloads(state);
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

// A queue without timestamps gets the host's clock when all work so far is done: right, though it holds the work up.
static bm_status record_host_time(bm_device *device, uint32_t slot, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    bm_status status = vk_submit(device, err);
    if (status == BM_OK)
        status = vk_wait_value(device, state->submitted, err);
    if (status == BM_OK)
        state->times[slot] = bm_clock_ns();
    return status;
}

bm_status vk_timestamp_record(bm_device *device, uint32_t slot, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    VkCommandBuffer command = VK_NULL_HANDLE;
    const bm_status status = state->queries ? vk_record(device, &command, err) : record_host_time(device, slot, err);
    if (status != BM_OK)
        return status;
    state->is_timed[slot] = true;
    if (state->queries) {
        state->api.vkCmdResetQueryPool(command, state->queries, slot, 1);
        state->api.vkCmdWriteTimestamp(command, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, state->queries, slot);
    }
    return BM_OK;
}

// Ticks may be nanoseconds since 1970, which a double holds to 256 ns only, and may wrap at timestamp_bits: so they are
// counted from the first that was read, as a signed number of that many bits.
static double ticks_since_first(vk_state *state, uint64_t ticks)
{
    const uint32_t spare_bits = 64 - state->timestamp_bits;
    if (!state->has_first_ticks)
        state->first_ticks = ticks;
    state->has_first_ticks = true;
    const uint64_t shifted = (ticks - state->first_ticks) << spare_bits;
    const bool is_before = shifted >> 63 != 0;
    return is_before ? -(double)((0 - shifted) >> spare_bits) : (double)(shifted >> spare_bits);
}

bm_status vk_timestamp_read(bm_device *device, uint32_t slot, double *ns, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    uint64_t ticks = 0;
    if (!state->is_timed[slot])
        return bm_fail(err, BM_E_ARGUMENT, "timestamp slot %u was not recorded", slot);
    if (!state->queries) {
        *ns = (double)state->times[slot];
        return BM_OK;
    }
    const VkResult result = state->api.vkGetQueryPoolResults(state->device, state->queries, slot, 1, sizeof ticks,
                                                             &ticks, sizeof ticks, VK_QUERY_RESULT_64_BIT);
    if (result != VK_SUCCESS)
        return result == VK_NOT_READY ? bm_fail(err, BM_E_ARGUMENT, "timestamp slot %u was not waited for", slot)
                                      : vk_fail(device, result, err, "vkGetQueryPoolResults");
    *ns = ticks_since_first(state, ticks) * device->info.limits.timestamp_period_ns;
    return BM_OK;
}
