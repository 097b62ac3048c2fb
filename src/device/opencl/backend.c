// The OpenCL backend: finding devices, opening and closing one, and the table of functions.
#include "device/opencl/opencl.h"

#include <stdio.h>
#include <string.h>

#define MAX_PLATFORMS 16
#define MAX_CANDIDATES 64 // devices of all platforms together

typedef struct candidate {
    cl_platform_id platform;
    cl_device_id id;
} candidate;

// Says why a platform gave no devices. PoCL fails so when the folder of its own cache cannot be made.
static bm_status miss_platform(const ocl_api *cl, cl_platform_id platform, cl_int code, bm_device_list *list,
                               bm_error *err)
{
    char words[256];
    char *name = ocl_platform_text(cl, platform, CL_PLATFORM_NAME);
    if (name && code == CL_DEVICE_NOT_FOUND && strstr(name, "Portable Computing Language"))
        snprintf(words, sizeof words,
                 "PoCL shows no device: most often the folder of its cache cannot be made; set POCL_CACHE_DIR to a "
                 "folder that can be written");
    else
        snprintf(words, sizeof words, "platform \"%.100s\" shows no device: %s (%d)", name ? name : "unnamed",
                 ocl_error_name(code), (int)code);
    bm_free(name);
    return bm_device_list_miss(list, BM_MISSING_OPENCL_DEVICE, words, err);
}

// All devices of all platforms, in the loader's order. list: where to say what is missing; NULL: nowhere.
static bm_status find_candidates(const ocl_api *cl, bm_device_list *list, candidate out[MAX_CANDIDATES],
                                 uint32_t *count, bm_error *err)
{
    cl_platform_id platforms[MAX_PLATFORMS];
    cl_device_id ids[MAX_CANDIDATES];
    cl_uint num_platforms = 0;
    bm_status status = BM_OK;
    *count = 0;
    const cl_int found = cl->GetPlatformIDs(MAX_PLATFORMS, platforms, &num_platforms);
    if (found != CL_SUCCESS || num_platforms == 0)
        return !list ? BM_OK
                     : bm_device_list_miss(list, "OpenCL driver",
                                           "the loader finds no driver: install that of your GPU's maker, or "
                                           "pocl-opencl-icd (Debian, Ubuntu) for the CPU",
                                           err);
    for (cl_uint p = 0; p < num_platforms && p < MAX_PLATFORMS && status == BM_OK; p++) {
        cl_uint num_ids = 0;
        const uint32_t room = MAX_CANDIDATES - *count;
        if (room == 0)
            break;
        const cl_int code = cl->GetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, room, ids, &num_ids);
        if (code != CL_SUCCESS) {
            status = list ? miss_platform(cl, platforms[p], code, list, err) : BM_OK;
            continue;
        }
        for (cl_uint i = 0; i < num_ids && i < room; i++)
            out[(*count)++] = (candidate){platforms[p], ids[i]};
    }
    return status;
}

static bm_status ocl_enumerate(const bm_device_params *params, bm_device_list *list, bm_error *err)
{
    bm_error absent = {0};
    candidate candidates[MAX_CANDIDATES];
    uint32_t count = 0;
    const ocl_api *cl = ocl_api_load(&absent);
    if (!cl) {
        bm_log_write(params->log, BM_LOG_DEBUG, "opencl: %s", absent.message);
        return absent.status == BM_E_MEMORY
                   ? bm_fail(err, BM_E_MEMORY, "%s", absent.message)
                   : bm_device_list_miss(
                         list, "OpenCL loader",
                         "install ocl-icd-libopencl1, and pocl-opencl-icd for the CPU (Debian, Ubuntu); "
                         "on Windows the driver of the GPU brings OpenCL.dll",
                         err);
    }
    bm_status status = find_candidates(cl, list, candidates, &count, err);
    for (uint32_t i = 0; i < count && status == BM_OK; i++) {
        bm_device_info info;
        ocl_device_describe(cl, candidates[i].platform, candidates[i].id, i, &info);
        status = bm_device_list_append(list, &info, err);
    }
    return status;
}

static bm_status create_objects(bm_device *device, cl_platform_id platform, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)platform, 0};
    const cl_uint zeros[4] = {0};
    cl_int code = CL_SUCCESS;
    state->context = state->cl->CreateContext(properties, 1, &state->id, NULL, NULL, &code);
    if (!state->context)
        return ocl_fail(device, code, err, "cannot create a context");
    device->live_handles++;
    state->queue = state->cl->CreateCommandQueue(state->context, state->id, CL_QUEUE_PROFILING_ENABLE, &code);
    if (!state->queue)
        return ocl_fail(device, code, err, "cannot create a queue");
    device->live_handles++;
    if (device->compile_only)
        return BM_OK;
    state->status_word = state->cl->CreateBuffer(state->context, CL_MEM_READ_WRITE, sizeof zeros, NULL, &code);
    if (!state->status_word)
        return ocl_fail(device, code, err, "cannot create the status word");
    device->live_handles++;
    code =
        state->cl->EnqueueWriteBuffer(state->queue, state->status_word, CL_TRUE, 0, sizeof zeros, zeros, 0, NULL, NULL);
    return code == CL_SUCCESS ? BM_OK : ocl_fail(device, code, err, "cannot write the status word");
}

// Releases in the order opposite to creation. All work is done or lost.
static void ocl_close(bm_device *device)
{
    ocl_state *state = ocl_state_of(device);
    if (!state)
        return;
    if (!device->lost)
        ocl_pipelines_store(device);
    for (uint32_t i = 0; i < BM_ALL_TIMESTAMPS; i++)
        ocl_release_event(device, &state->timestamps[i]);
    ocl_staging_close(device);
    ocl_clblast_clear_cache(device);
    ocl_pipelines_close(device);
    ocl_release_memory(device, &state->tensor_maps);
    ocl_release_memory(device, &state->status_word);
    if (state->queue) {
        state->cl->ReleaseCommandQueue(state->queue);
        device->live_handles--;
    }
    if (state->context) {
        state->cl->ReleaseContext(state->context);
        device->live_handles--;
    }
    bm_free(state);
    device->state = NULL;
}

static bm_status ocl_open(bm_device *device, uint32_t index, bm_error *err)
{
    candidate candidates[MAX_CANDIDATES];
    uint32_t count = 0;
    const ocl_api *cl = ocl_api_load(err);
    if (!cl)
        return BM_E_DEVICE;
    bm_status status = find_candidates(cl, NULL, candidates, &count, err);
    if (status != BM_OK)
        return status;
    if (index >= count)
        return bm_fail(err, BM_E_DEVICE, "opencl:%u: only %u devices are here now", (unsigned)index, (unsigned)count);
    ocl_state *state = bm_alloc_zero(1, sizeof *state);
    if (!state)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    device->state = state;
    state->cl = cl;
    state->id = candidates[index].id;
    state->division = ocl_divides_correctly(cl, state->id) ? " -cl-fp32-correctly-rounded-divide-sqrt" : "";
    state->dot = ocl_dot_options(cl, state->id);
    ocl_device_describe(cl, candidates[index].platform, state->id, index, &device->info);
    state->kind = device->info.kind == BM_DEVICE_CPU      ? " -DBM_CPU"
                  : ocl_has_wide_subgroups(cl, state->id) ? " -DBM_SUBGROUP=16"
                                                          : "";
    ocl_cache_identity(cl, candidates[index].platform, state->id, state->identity);
    status = create_objects(device, candidates[index].platform, err);
    if (status != BM_OK)
        ocl_close(device);
    return status;
}

const bm_backend bm_backend_opencl = {
    .name = "opencl",
    .enumerate = ocl_enumerate,
    .open = ocl_open,
    .close = ocl_close,
    .buffer_create = ocl_buffer_create,
    .buffer_destroy = ocl_buffer_destroy,
    .upload_rows = ocl_upload_rows,
    .download_rows = ocl_download_rows,
    .copy = ocl_copy,
    .fill = ocl_fill,
    .has_variant = ocl_has_variant,
    .compile = ocl_compile,
    .dispatch = ocl_dispatch,
    .barrier = ocl_barrier,
    .submit = ocl_submit,
    .wait = ocl_wait,
    .idle = ocl_idle,
    .timestamp_record = ocl_timestamp_record,
    .timestamp_read = ocl_timestamp_read,
    .has_product = ocl_has_clblast,
    .product = ocl_clblast_gemm,
};
