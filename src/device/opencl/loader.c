// Finds the OpenCL loader at run time and fills a table of its functions; the driver's error codes as words.
#include "device/opencl/opencl.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

// The one process-wide object of this backend: the loader is process-wide itself, is never unloaded (threads of PoCL and
// NVIDIA outlive their contexts), and has no state of ours. Set once; a thread that comes second drops its own table.
static _Atomic(const ocl_api *) loaded;

static const char *const library_names[] = {
#if defined(_WIN32)
    "OpenCL.dll",
#elif defined(__APPLE__)
    "/System/Library/Frameworks/OpenCL.framework/OpenCL",
#else
    "libOpenCL.so.1", "libOpenCL.so",
#endif
    NULL};

// Stores the address of a symbol in *slot, a function pointer of any type; false: absent.
static bool find(bm_library *library, const char *name, void *slot)
{
    const bm_library_function function = bm_library_symbol(library, name);
    memcpy(slot, &function, sizeof function); // function pointers convert only so without a warning
    return function != NULL;
}

static bm_status fill_table(ocl_api *api, bm_error *err)
{
#define OCL_FIND(name)                                                                                                 \
    if (!find(api->library, "cl" #name, &api->name))                                                                   \
        return bm_fail(err, BM_E_DEVICE, "the OpenCL loader lacks cl" #name ": it is older than OpenCL 1.2");
    OCL_FUNCTIONS(OCL_FIND)
#undef OCL_FIND
    return BM_OK;
}

const ocl_api *ocl_api_load(bm_error *err)
{
    const ocl_api *known = atomic_load(&loaded);
    if (known)
        return known;
    ocl_api *api = bm_alloc_zero(1, sizeof *api);
    if (!api) {
        (void)bm_fail(err, BM_E_MEMORY, "out of memory");
        return NULL;
    }
    if (bm_library_open(&api->library, library_names, err) != BM_OK || fill_table(api, err) != BM_OK) {
        bm_library_close(&api->library);
        bm_free(api);
        return NULL;
    }
    if (atomic_compare_exchange_strong(&loaded, &known, api))
        return api;
    bm_library_close(&api->library); // the other thread's reference keeps the library
    bm_free(api);
    return known;
}

const char *ocl_error_name(cl_int code)
{
#define OCL_NAME(name)                                                                                                 \
    case name:                                                                                                         \
        return #name;
    switch (code) {
        OCL_NAME(CL_DEVICE_NOT_FOUND)
        OCL_NAME(CL_DEVICE_NOT_AVAILABLE)
        OCL_NAME(CL_COMPILER_NOT_AVAILABLE)
        OCL_NAME(CL_MEM_OBJECT_ALLOCATION_FAILURE)
        OCL_NAME(CL_OUT_OF_RESOURCES)
        OCL_NAME(CL_OUT_OF_HOST_MEMORY)
        OCL_NAME(CL_PROFILING_INFO_NOT_AVAILABLE)
        OCL_NAME(CL_MEM_COPY_OVERLAP)
        OCL_NAME(CL_BUILD_PROGRAM_FAILURE)
        OCL_NAME(CL_MAP_FAILURE)
        OCL_NAME(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST)
        OCL_NAME(CL_INVALID_VALUE)
        OCL_NAME(CL_INVALID_DEVICE)
        OCL_NAME(CL_INVALID_CONTEXT)
        OCL_NAME(CL_INVALID_QUEUE_PROPERTIES)
        OCL_NAME(CL_INVALID_COMMAND_QUEUE)
        OCL_NAME(CL_INVALID_MEM_OBJECT)
        OCL_NAME(CL_INVALID_BINARY)
        OCL_NAME(CL_INVALID_BUILD_OPTIONS)
        OCL_NAME(CL_INVALID_PROGRAM)
        OCL_NAME(CL_INVALID_PROGRAM_EXECUTABLE)
        OCL_NAME(CL_INVALID_KERNEL_NAME)
        OCL_NAME(CL_INVALID_KERNEL_DEFINITION)
        OCL_NAME(CL_INVALID_KERNEL)
        OCL_NAME(CL_INVALID_ARG_INDEX)
        OCL_NAME(CL_INVALID_ARG_VALUE)
        OCL_NAME(CL_INVALID_ARG_SIZE)
        OCL_NAME(CL_INVALID_KERNEL_ARGS)
        OCL_NAME(CL_INVALID_WORK_DIMENSION)
        OCL_NAME(CL_INVALID_WORK_GROUP_SIZE)
        OCL_NAME(CL_INVALID_WORK_ITEM_SIZE)
        OCL_NAME(CL_INVALID_EVENT_WAIT_LIST)
        OCL_NAME(CL_INVALID_EVENT)
        OCL_NAME(CL_INVALID_OPERATION)
        OCL_NAME(CL_INVALID_BUFFER_SIZE)
        OCL_NAME(CL_INVALID_GLOBAL_WORK_SIZE)
    case -1001: // CL_PLATFORM_NOT_FOUND_KHR: the loader found no driver
        return "CL_PLATFORM_NOT_FOUND_KHR";
    default:
        return "OpenCL error";
    }
#undef OCL_NAME
}

bm_status ocl_fail(bm_device *device, cl_int code, bm_error *err, const char *format, ...)
{
    char what[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    // NVIDIA's driver answers CL_INVALID_COMMAND_QUEUE once a kernel has faulted; we never pass an invalid one.
    if (code == CL_DEVICE_NOT_AVAILABLE || code == CL_INVALID_COMMAND_QUEUE)
        device->lost = true;
    return bm_fail(err, BM_E_DEVICE, "%s: %s: %s (%d)", device->info.name, what, ocl_error_name(code), (int)code);
}
