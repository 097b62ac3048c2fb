// Dispatches, waits and timestamps of the OpenCL backend.
#include "device/opencl/opencl.h"

#include <string.h>

// The arguments in the order of the generated parameter list: pointer and offset of each buffer, the status word and
// the subject where the kernel reports, the scalars as one struct.
cl_int ocl_set_arguments(const ocl_state *state, cl_kernel kernel, const bm_kernel_info *info, const bm_call *call,
                         uint32_t subject, cl_uint *next)
{
    static const uint32_t no_scalars = 0;
    *next = 0;
    cl_int code = CL_SUCCESS;
    for (uint32_t i = 0; i < info->num_buffers && code == CL_SUCCESS; i++) {
        cl_mem memory = ocl_buffer_memory(call->buffers[i].buffer);
        const cl_ulong offset = call->buffers[i].offset;
        code = state->cl->SetKernelArg(kernel, (*next)++, sizeof memory, memory ? &memory : NULL);
        if (code == CL_SUCCESS)
            code = state->cl->SetKernelArg(kernel, (*next)++, sizeof offset, &offset);
    }
    if (info->reports && code == CL_SUCCESS) {
        code = state->cl->SetKernelArg(kernel, (*next)++, sizeof state->status_word, &state->status_word);
        if (code == CL_SUCCESS)
            code = state->cl->SetKernelArg(kernel, (*next)++, sizeof subject, &subject);
    }
    if (code != CL_SUCCESS)
        return code;
    return info->scalar_bytes > 0 ? state->cl->SetKernelArg(kernel, (*next)++, info->scalar_bytes, call->scalars)
                                  : state->cl->SetKernelArg(kernel, (*next)++, sizeof no_scalars, &no_scalars);
}

bm_status ocl_dispatch(bm_device *device, const bm_call *call, uint32_t subject, bool barrier, bm_error *err)
{
    (void)barrier; // the queue is in-order
    ocl_state *state = ocl_state_of(device);
    const bm_kernel_info *info = &bm_kernel_table[call->kernel];
    ocl_pipeline *pipeline = NULL;
    const bm_status status = ocl_pipeline_get(device, call, &pipeline, err);
    if (status != BM_OK)
        return status;
    if (pipeline->maps_kernel)
        return ocl_ptx_dispatch(device, call, pipeline, err);
    cl_uint num_arguments = 0;
    cl_int code = ocl_set_arguments(state, pipeline->kernel, info, call, subject, &num_arguments);
    if (code != CL_SUCCESS)
        return ocl_fail(device, code, err, "%s: cannot set its arguments", info->name);
    const size_t group = call->tunables[0]; // GROUP
    const size_t local_size[3] = {group, 1, 1};
    const size_t global_size[3] = {group * call->groups[0], call->groups[1], call->groups[2]};
    code = state->cl->EnqueueNDRangeKernel(state->queue, pipeline->kernel, 3, NULL, global_size, local_size, 0, NULL,
                                           NULL);
    if (code != CL_SUCCESS)
        return ocl_fail(device, code, err, "%s%s: %u x %u x %u groups of %u", info->name,
                        info->variants[call->variant].suffix, call->groups[0], call->groups[1], call->groups[2],
                        call->tunables[0]);
    pipeline->ran = true;
    return BM_OK;
}

bm_status ocl_barrier(bm_device *device, bm_error *err)
{
    (void)device, (void)err; // the queue is in-order
    return BM_OK;
}

bm_status ocl_submit(bm_device *device, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    const cl_int code = state->cl->Flush(state->queue);
    return code == CL_SUCCESS ? BM_OK : ocl_fail(device, code, err, "submit");
}

// The blocking read of the status word is the wait: everything before it in the queue has ended then.
bm_status ocl_wait(bm_device *device, uint32_t status_word[4], bm_error *err)
{
    static const cl_uint zeros[4] = {0};
    ocl_state *state = ocl_state_of(device);
    cl_int code = state->cl->EnqueueReadBuffer(state->queue, state->status_word, CL_TRUE, 0, sizeof zeros, status_word,
                                               0, NULL, NULL);
    if (code == CL_SUCCESS && memcmp(status_word, zeros, sizeof zeros) != 0)
        code = state->cl->EnqueueWriteBuffer(state->queue, state->status_word, CL_FALSE, 0, sizeof zeros, zeros, 0,
                                             NULL, NULL);
    if (code != CL_SUCCESS) {
        device->lost = true; // which of the recorded commands failed is not told: all results are in doubt
        return ocl_fail(device, code, err,
                        "the recorded work failed (a kernel fault, a time limit or too little memory)");
    }
    ocl_staging_drain(device);
    ocl_pipelines_store(device);
    return BM_OK;
}

void ocl_idle(bm_device *device)
{
    (void)ocl_state_of(device)->cl->Finish(ocl_state_of(device)->queue); // an error says that nothing runs any more
}

bm_status ocl_timestamp_record(bm_device *device, uint32_t slot, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    ocl_release_event(device, &state->timestamps[slot]);
    const cl_int code = state->cl->EnqueueMarkerWithWaitList(state->queue, 0, NULL, &state->timestamps[slot]);
    if (code != CL_SUCCESS)
        return ocl_fail(device, code, err, "timestamp %u", slot);
    device->live_handles++;
    return BM_OK;
}

bm_status ocl_timestamp_read(bm_device *device, uint32_t slot, double *ns, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    cl_ulong at = 0;
    if (!state->timestamps[slot])
        return bm_fail(err, BM_E_ARGUMENT, "timestamp slot %u was not recorded", slot);
    cl_int code = state->cl->WaitForEvents(1, &state->timestamps[slot]);
    if (code == CL_SUCCESS)
        code =
            state->cl->GetEventProfilingInfo(state->timestamps[slot], CL_PROFILING_COMMAND_END, sizeof at, &at, NULL);
    if (code != CL_SUCCESS)
        return ocl_fail(device, code, err, "timestamp %u", slot);
    if (state->timestamp_origin == 0)
        state->timestamp_origin = at; // some clocks count from 1970: a double would lose the last 8 bits
    *ns = (double)(int64_t)(at - state->timestamp_origin);
    return BM_OK;
}
