// What an OpenCL device can do, read once into bm_device_info.
#include "device/opencl/opencl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Queries of vendors' extensions; the numbers are those of cl_ext.h, which Apple lacks.
enum {
    QUERY_COMPUTE_CAPABILITY_MAJOR_NV = 0x4000,
    QUERY_COMPUTE_CAPABILITY_MINOR_NV = 0x4001,
    QUERY_WARP_SIZE_NV = 0x4003,
    QUERY_KERNEL_EXEC_TIMEOUT_NV = 0x4005,
    QUERY_WAVEFRONT_WIDTH_AMD = 0x4043,
    QUERY_SUB_GROUP_SIZES_INTEL = 0x4108,
};

char *ocl_device_text(const ocl_api *cl, cl_device_id id, cl_device_info what)
{
    size_t size = 0;
    if (cl->GetDeviceInfo(id, what, 0, NULL, &size) != CL_SUCCESS)
        return NULL;
    char *text = bm_alloc_zero(size + 1, 1);
    if (text && cl->GetDeviceInfo(id, what, size, text, NULL) != CL_SUCCESS) {
        bm_free(text);
        return NULL;
    }
    return text;
}

char *ocl_platform_text(const ocl_api *cl, cl_platform_id platform, cl_platform_info what)
{
    size_t size = 0;
    if (cl->GetPlatformInfo(platform, what, 0, NULL, &size) != CL_SUCCESS)
        return NULL;
    char *text = bm_alloc_zero(size + 1, 1);
    if (text && cl->GetPlatformInfo(platform, what, size, text, NULL) != CL_SUCCESS) {
        bm_free(text);
        return NULL;
    }
    return text;
}

// A number of any width up to 64 bits; 0 when the query fails. Little-endian machines only, as all of this room.
static uint64_t query_number(const ocl_api *cl, cl_device_id id, cl_device_info what, size_t size)
{
    uint64_t value = 0;
    return cl->GetDeviceInfo(id, what, size, &value, NULL) == CL_SUCCESS ? value : 0;
}

static uint32_t query_u32(const ocl_api *cl, cl_device_id id, cl_device_info what)
{
    return (uint32_t)query_number(cl, id, what, sizeof(cl_uint));
}

static uint32_t clamp_u32(uint64_t value)
{
    return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

// True when the blank-separated list of extensions holds name as a whole word.
static bool has_extension(const char *extensions, const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = extensions; at && (at = strstr(at, name)) != NULL; at += length)
        if ((at == extensions || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    return false;
}

static bm_device_kind kind_of(const ocl_api *cl, cl_device_id id)
{
    const uint64_t type = query_number(cl, id, CL_DEVICE_TYPE, sizeof(cl_device_type));
    if (type & CL_DEVICE_TYPE_CPU) // first: Oclgrind claims to be everything at once
        return BM_DEVICE_CPU;
    if (type & CL_DEVICE_TYPE_GPU)
        return query_u32(cl, id, CL_DEVICE_HOST_UNIFIED_MEMORY) ? BM_DEVICE_INTEGRATED_GPU : BM_DEVICE_DISCRETE_GPU;
    return BM_DEVICE_OTHER;
}

// Subgroup sizes of Intel's devices, upwards; returns how many, 0 where none are told.
static size_t read_intel_sizes(const ocl_api *cl, cl_device_id id, const char *extensions, size_t sizes[8])
{
    size_t size_bytes = 0;
    if (!has_extension(extensions, "cl_intel_required_subgroup_size") ||
        cl->GetDeviceInfo(id, QUERY_SUB_GROUP_SIZES_INTEL, 8 * sizeof sizes[0], sizes, &size_bytes) != CL_SUCCESS)
        return 0;
    return size_bytes / sizeof sizes[0];
}

// OpenCL has no query for the size itself, only vendors' extensions have; where none answers, we use no subgroups.
static uint32_t subgroup_size_of(const ocl_api *cl, cl_device_id id, const char *extensions)
{
    if (!has_extension(extensions, "cl_khr_subgroups"))
        return 0;
    if (has_extension(extensions, "cl_nv_device_attribute_query"))
        return query_u32(cl, id, QUERY_WARP_SIZE_NV);
    if (has_extension(extensions, "cl_amd_device_attribute_query"))
        return query_u32(cl, id, QUERY_WAVEFRONT_WIDTH_AMD);
    size_t sizes[8] = {0};
    const size_t count = read_intel_sizes(cl, id, extensions, sizes);
    return count > 0 ? (uint32_t)sizes[count - 1] : 0;
}

// NVIDIA's compute capability, 90 for 9.0; 0: the device has none.
static uint32_t compute_capability_of(const ocl_api *cl, cl_device_id id, const char *extensions)
{
    if (!has_extension(extensions, "cl_nv_device_attribute_query"))
        return 0;
    return 10 * query_u32(cl, id, QUERY_COMPUTE_CAPABILITY_MAJOR_NV) +
           query_u32(cl, id, QUERY_COMPUTE_CAPABILITY_MINOR_NV);
}

// The build options of kernels that multiply four codes at once; NULL: the device has no such instruction that we reach. The
// extension is one of OpenCL C 3.0 (which Intel's compiler refuses for devices without images). NVIDIA's driver does not have it, but takes the instruction (compute capability 6.1) as text.
static const char *dot_options_of(const ocl_api *cl, cl_device_id id, const char *extensions)
{
    if (has_extension(extensions, "cl_khr_integer_dot_product") && query_u32(cl, id, CL_DEVICE_IMAGE_SUPPORT))
        return "-cl-std=CL3.0";
    return compute_capability_of(cl, id, extensions) >= 61 ? OCL_STANDARD " -DBM_DP4A" : NULL;
}

const char *ocl_dot_options(const ocl_api *cl, cl_device_id id)
{
    char *extensions = ocl_device_text(cl, id, CL_DEVICE_EXTENSIONS);
    const char *options = extensions ? dot_options_of(cl, id, extensions) : NULL;
    bm_free(extensions);
    return options ? options : OCL_STANDARD;
}

static void read_limits(const ocl_api *cl, cl_device_id id, const char *extensions, bm_device_kind kind,
                        bm_device_limits *out)
{
    *out = (bm_device_limits){
        .memory_bytes = query_number(cl, id, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(cl_ulong)),
        .max_allocation_bytes = query_number(cl, id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(cl_ulong)),
        .max_group_invocations = clamp_u32(query_number(cl, id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof(size_t))),
        .shared_memory_bytes = clamp_u32(query_number(cl, id, CL_DEVICE_LOCAL_MEM_SIZE, sizeof(cl_ulong))),
        .compute_units = query_u32(cl, id, CL_DEVICE_MAX_COMPUTE_UNITS),
        .subgroup_size = subgroup_size_of(cl, id, extensions),
        .vector_width = query_u32(cl, id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT),
        // Event times are nanoseconds whatever the clock; the resolution is the step in which they move.
        .timestamp_period_ns = (double)query_number(cl, id, CL_DEVICE_PROFILING_TIMER_RESOLUTION, sizeof(size_t)),
        .fp16_arithmetic = has_extension(extensions, "cl_khr_fp16"),
        .int8_dot = dot_options_of(cl, id, extensions) != NULL,
        .wgmma = compute_capability_of(cl, id, extensions) == 90,      // later chips lack it: PTX says sm_90a
        .nvidia_mma = compute_capability_of(cl, id, extensions) >= 80, // inline PTX; bfloat16, copies beside the kernel
    };
    size_t item_sizes[8] = {0}; // work-groups are one-dimensional: only the first counts
    if (cl->GetDeviceInfo(id, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof item_sizes, item_sizes, NULL) == CL_SUCCESS &&
        item_sizes[0] > 0 && item_sizes[0] < out->max_group_invocations)
        out->max_group_invocations = (uint32_t)item_sizes[0];
    if (out->timestamp_period_ns < 1.0)
        out->timestamp_period_ns = 1.0;
    // Only NVIDIA's extension says whether the system ends long work; elsewhere a GPU may hang on a screen.
    out->display_attached = kind != BM_DEVICE_CPU;
    if (has_extension(extensions, "cl_nv_device_attribute_query"))
        out->display_attached = query_u32(cl, id, QUERY_KERNEL_EXEC_TIMEOUT_NV) != 0;
    // OpenCL bounds only the global size, by the device's size_t. (NVIDIA's driver cuts grids that CUDA would refuse:
    // a million groups in y and 3.8e9 work-items in x were tried.)
    const uint32_t widest = out->max_group_invocations ? out->max_group_invocations : 1;
    const bool is_64_bit = query_u32(cl, id, CL_DEVICE_ADDRESS_BITS) >= 64;
    out->max_groups[0] = is_64_bit ? INT32_MAX : UINT32_MAX / widest;
    out->max_groups[1] = out->max_groups[2] = is_64_bit ? INT32_MAX : UINT16_MAX;
}

// Why a device cannot be used; NULL: it can. version is "OpenCL MAJOR.MINOR WORDS".
static const char *problem_of(const ocl_api *cl, cl_device_id id, const char *version, const char *profile)
{
    char *end = NULL;
    const long major = version && strlen(version) > 7 ? strtol(version + 7, &end, 10) : 0;
    const long minor = end && *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    if (major < 1 || (major == 1 && minor < 2))
        return "its driver has OpenCL below 1.2: update the driver";
    if (!query_u32(cl, id, CL_DEVICE_AVAILABLE))
        return "the driver says that it is not available";
    if (!query_u32(cl, id, CL_DEVICE_COMPILER_AVAILABLE))
        return "the driver has no compiler for kernels";
    if (!query_u32(cl, id, CL_DEVICE_ENDIAN_LITTLE))
        return "it is big-endian";
    if (!profile || strcmp(profile, "FULL_PROFILE") != 0)
        return "it has only the embedded profile of OpenCL, which may lack 64-bit integers";
    return NULL;
}

void ocl_device_describe(const ocl_api *cl, cl_platform_id platform, cl_device_id id, uint32_t index,
                         bm_device_info *out)
{
    char *name = ocl_device_text(cl, id, CL_DEVICE_NAME);
    char *version = ocl_device_text(cl, id, CL_DEVICE_VERSION);
    char *driver = ocl_device_text(cl, id, CL_DRIVER_VERSION);
    char *profile = ocl_device_text(cl, id, CL_DEVICE_PROFILE);
    char *extensions = ocl_device_text(cl, id, CL_DEVICE_EXTENSIONS);
    char *platform_name = ocl_platform_text(cl, platform, CL_PLATFORM_NAME);
    *out = (bm_device_info){.backend = "opencl", .kind = kind_of(cl, id)};
    snprintf(out->spec, sizeof out->spec, "opencl:%u", (unsigned)index);
    snprintf(out->name, sizeof out->name, "%s", name ? name : "unnamed");
    snprintf(out->driver, sizeof out->driver, "%s %s", platform_name ? platform_name : "OpenCL", driver ? driver : "");
    read_limits(cl, id, extensions, out->kind, &out->limits);
    const char *problem = problem_of(cl, id, version, profile);
    out->usable = problem == NULL;
    snprintf(out->problem, sizeof out->problem, "%s", problem ? problem : "");
    bm_free(name);
    bm_free(version);
    bm_free(driver);
    bm_free(profile);
    bm_free(extensions);
    bm_free(platform_name);
}

bool ocl_divides_correctly(const ocl_api *cl, cl_device_id id)
{
    const uint64_t bits = query_number(cl, id, CL_DEVICE_SINGLE_FP_CONFIG, sizeof(cl_device_fp_config));
    return (bits & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
}

bool ocl_has_wide_subgroups(const ocl_api *cl, cl_device_id id)
{
    size_t sizes[8] = {0};
    char *extensions = ocl_device_text(cl, id, CL_DEVICE_EXTENSIONS);
    const size_t count = read_intel_sizes(cl, id, extensions, sizes);
    bm_free(extensions);
    return count > 0 && sizes[0] == 16;
}
