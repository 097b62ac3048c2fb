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

// Transfers name the address of the host's memory. A buffer over it, which nothing ever uses, is what makes drivers lock it in place:
// on an H200 it then moves at 55 GB/s instead of 6.5 to 14, and takes no memory of the device, as one that the driver allocates does
// once it is mapped. Where a driver refuses the buffer, the same transfers are slower.
#define HOST_ALIGNMENT 4096

static bm_status host_buffer_create(bm_device *device, bm_buffer *buffer, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    cl_int code = CL_SUCCESS;
    buffer->host_allocation = bm_alloc(buffer->size + HOST_ALIGNMENT, 1);
    if (!buffer->host_allocation)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    buffer->host_bytes =
        (uint8_t *)buffer->host_allocation + HOST_ALIGNMENT - (uintptr_t)buffer->host_allocation % HOST_ALIGNMENT;
    buffer->state = state->cl->CreateBuffer(state->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR,
                                            (size_t)buffer->size, buffer->host_bytes, &code);
    device->live_handles += buffer->state ? 1 : 0;
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
    ocl_release_memory(device, &memory);
    bm_free(buffer->host_allocation);
    buffer->state = NULL;
}
