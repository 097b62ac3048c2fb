// Variants that are PTX text, for what OpenCL C cannot say: NVIDIA's driver takes such text as a program's binary. So far the
// variants _wgmma of products, and the chains beside them (tools/generate_ptx.py). Programs are not stored in our cache: their
// binary is the text, and the driver has a cache of its own for what it makes of it.
#include "device/opencl/opencl.h"

#include <stdio.h>

enum { MAPS_BYTES = 2 * 128, MAPS_GROUP = 32 };

// A driver may be too old for a text; then the variant is not there. Each kernel is asked for once, with its first module: the
// others differ in types alone.
bool ocl_ptx_is_accepted(const bm_device *device, const ocl_ptx *ptx)
{
    ocl_state *state = ocl_state_of(device);
    struct ocl_ptx_answer *answer = state->ptx_answers;
    while (answer->ptx && answer->ptx != ptx)
        if (++answer == state->ptx_answers + OCL_MAX_PTX)
            return false; // no room
    if (!answer->ptx) {
        const ocl_source *source = &ptx->modules[0].source;
        cl_program program = NULL;
        const cl_int code = ocl_program_from_binary(device, source->text, source->length, "", &program);
        if (program)
            state->cl->ReleaseProgram(program);
        else
            bm_log_write(device->log, BM_LOG_DEBUG, "opencl: the driver does not take this PTX: %s (%d)",
                         ocl_error_name(code), (int)code);
        *answer = (struct ocl_ptx_answer){ptx, program != NULL};
    }
    return answer->accepted;
}

static const ocl_source *module_of(const ocl_ptx *ptx, bm_dtype x, bm_dtype y)
{
    for (uint32_t i = 0; i < BM_COUNT(ptx->modules); i++)
        if (ptx->modules[i].x == x && ptx->modules[i].y == y && ptx->modules[i].source.text)
            return &ptx->modules[i].source;
    return NULL;
}

static void kernel_name(const bm_call *call, char out[48])
{
    const bm_kernel_info *info = &bm_kernel_table[call->kernel];
    snprintf(out, 48, "%s%s", info->name, info->variants[call->variant].suffix);
}

bm_status ocl_ptx_build(bm_device *device, const bm_call *call, ocl_pipeline *pipeline, bm_error *err)
{
    const ocl_ptx *ptx = ocl_source_of(call->kernel, call->variant)->ptx;
    const ocl_source *source = module_of(ptx, call->types[0], call->types[ptx->y]);
    char name[48];
    kernel_name(call, name);
    const bm_status may = bm_device_may_compile(device, name, err);
    if (may != BM_OK)
        return may;
    if (!source)
        return bm_fail(err, BM_E_INTERNAL, "%s: no module for y %s", name, bm_dtype_name(call->types[ptx->y]));
    cl_int code = ocl_program_from_binary(device, source->text, source->length, "", &pipeline->program);
    if (pipeline->program)
        device->live_handles++;
    if (code == CL_SUCCESS)
        code = ocl_kernel_create(device, pipeline->program, name, &pipeline->kernel);
    if (code == CL_SUCCESS && ptx->tile_rows > 0)
        code = ocl_kernel_create(device, pipeline->program, "tensor_maps", &pipeline->maps_kernel);
    return code == CL_SUCCESS ? BM_OK : ocl_fail(device, code, err, "%s does not build", name);
}

// Both kernels of a module have the same parameters.
static cl_int launch(const ocl_state *state, cl_kernel kernel, const bm_call *call, size_t groups, size_t group)
{
    const ocl_ptx *ptx = ocl_source_of(call->kernel, call->variant)->ptx;
    const cl_uint bias_type = (cl_uint)call->types[ptx->bias];
    const size_t items = groups * group;
    cl_uint next = 0;
    cl_int code = ocl_set_arguments(state, kernel, &bm_kernel_table[call->kernel], call, 0, &next);
    if (code == CL_SUCCESS)
        code = state->cl->SetKernelArg(kernel, next, sizeof state->tensor_maps, &state->tensor_maps);
    if (code == CL_SUCCESS)
        code = state->cl->SetKernelArg(kernel, next + 1, sizeof bias_type, &bias_type);
    if (code == CL_SUCCESS)
        code = state->cl->EnqueueNDRangeKernel(state->queue, kernel, 1, NULL, &items, &group, 0, NULL, NULL);
    return code;
}

// The maps hold addresses, which a driver may change while nothing runs: so they are written before each product. The queue is
// in-order: the product before has ended then, and one pair of maps serves all.
bm_status ocl_ptx_dispatch(bm_device *device, const bm_call *call, ocl_pipeline *pipeline, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    const ocl_ptx *ptx = ocl_source_of(call->kernel, call->variant)->ptx;
    const uint32_t *sizes = call->scalars; // m, n
    const size_t tiles = (size_t)bm_divide_up(sizes[0], ptx->tile_rows) * bm_divide_up(sizes[1], ptx->tile_columns);
    cl_int code = CL_SUCCESS;
    if (!state->tensor_maps) {
        state->tensor_maps = state->cl->CreateBuffer(state->context, CL_MEM_READ_WRITE, MAPS_BYTES, NULL, &code);
        if (!state->tensor_maps)
            return ocl_fail(device, code, err, "cannot create the tensor maps");
        device->live_handles++;
    }
    code = launch(state, pipeline->maps_kernel, call, 1, MAPS_GROUP);
    if (code == CL_SUCCESS)
        code = launch(state, pipeline->kernel, call, tiles, ptx->group);
    if (code != CL_SUCCESS) {
        char name[48];
        kernel_name(call, name);
        return ocl_fail(device, code, err, "%s: %llu groups of %u", name, (unsigned long long)tiles, ptx->group);
    }
    pipeline->ran = true;
    return BM_OK;
}
