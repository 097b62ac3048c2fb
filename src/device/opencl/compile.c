// What the driver tells about a kernel that it compiled.
#include "device/opencl/opencl.h"

// Of Intel's drivers: bytes that a work-item spills. The number is that of cl_ext.h, which Apple lacks.
enum { KERNEL_SPILL_MEM_SIZE_INTEL = 0x4109 };

// BM_COMPILE_UNKNOWN when the driver does not answer.
static uint64_t query(const ocl_state *state, cl_kernel kernel, cl_kernel_work_group_info what, size_t size)
{
    uint64_t value = 0;
    return state->cl->GetKernelWorkGroupInfo(kernel, state->id, what, size, &value, NULL) == CL_SUCCESS
               ? value
               : BM_COMPILE_UNKNOWN;
}

// OpenCL counts no registers.
bm_status ocl_compile(bm_device *device, const bm_call *call, bm_compile_report *out, bm_error *err)
{
    const ocl_state *state = ocl_state_of(device);
    ocl_pipeline *pipeline = NULL;
    const bm_status status = ocl_pipeline_get(device, call, &pipeline, err);
    if (status != BM_OK)
        return status;
    out->spills = query(state, pipeline->kernel, KERNEL_SPILL_MEM_SIZE_INTEL, sizeof(cl_ulong));
    out->shared_bytes = query(state, pipeline->kernel, CL_KERNEL_LOCAL_MEM_SIZE, sizeof(cl_ulong));
    out->subgroup_size = query(state, pipeline->kernel, CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE, sizeof(size_t));
    return BM_OK;
}
