// Buffers of the OpenCL backend: one cl_mem each. bm_buffer.state is the cl_mem.
#include "device/opencl/opencl.h"

cl_mem ocl_buffer_memory(const bm_buffer *buffer)
{
    return buffer ? buffer->state : NULL;
}

void ocl_release_memory(bm_device *device, cl_mem *memory)
{
    if (!*memory)
        return;
    ocl_state_of(device)->cl->ReleaseMemObject(*memory);
    device->live_handles--;
    *memory = NULL;
}

void ocl_release_event(bm_device *device, cl_event *event)
{
    if (!*event)
        return;
    ocl_state_of(device)->cl->ReleaseEvent(*event);
    device->live_handles--;
    *event = NULL;
}

// Mapped for its whole life: transfers name the address, which drivers know as locked in place, and the buffer itself is used by
// nothing, so that a driver that gives it memory of the device when it is used has no cause to.
static bm_status host_buffer_create(bm_device *device, bm_buffer *buffer, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    cl_int code = CL_SUCCESS;
    cl_mem memory = state->cl->CreateBuffer(state->context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR,
                                            (size_t)buffer->size, NULL, &code);
    if (memory) {
        device->live_handles++;
        buffer->host_bytes = state->cl->EnqueueMapBuffer(state->queue, memory, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0,
                                                         (size_t)buffer->size, 0, NULL, NULL, &code);
    }
    if (!memory || !buffer->host_bytes) {
        ocl_release_memory(device, &memory);
        return ocl_fail(device, code, err, "buffer \"%s\": cannot map %llu bytes of the host", buffer->name,
                        (unsigned long long)buffer->size);
    }
    buffer->state = memory;
    return BM_OK;
}

bm_status ocl_buffer_create(bm_device *device, bm_buffer *buffer, bm_error *err)
{
    if (buffer->is_host)
        return host_buffer_create(device, buffer, err);
    ocl_state *state = ocl_state_of(device);
    cl_int code = CL_SUCCESS;
    cl_mem memory = state->cl->CreateBuffer(state->context, CL_MEM_READ_WRITE, (size_t)buffer->size, NULL, &code);
    if (memory) {
        device->live_handles++;
        // Drivers allocate when a buffer is first used: moving its undefined contents to the device makes them do it
        // now, where the failure still has a name and a size.
        code = state->cl->EnqueueMigrateMemObjects(state->queue, 1, &memory, CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED, 0,
                                                   NULL, NULL);
    }
    if (code != CL_SUCCESS) {
        ocl_release_memory(device, &memory);
        return ocl_fail(device, code, err, "buffer \"%s\": cannot allocate %llu bytes (the device has %llu in all)",
                        buffer->name, (unsigned long long)buffer->size,
                        (unsigned long long)device->info.limits.memory_bytes);
    }
    buffer->state = memory;
    return BM_OK;
}

void ocl_buffer_destroy(bm_device *device, bm_buffer *buffer)
{
    cl_mem memory = ocl_buffer_memory(buffer);
    if (buffer->is_host && !device->lost)
        ocl_state_of(device)->cl->EnqueueUnmapMemObject(ocl_state_of(device)->queue, memory, buffer->host_bytes, 0,
                                                        NULL, NULL);
    ocl_release_memory(device, &memory);
    buffer->state = NULL;
}
