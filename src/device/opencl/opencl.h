// The OpenCL backend's own types. Any OpenCL 1.2+ device; the loader is found at run time.
//
// Each device has one in-order queue: what is recorded runs in the order of the calls, so barriers need no work. Every
// object of the driver that this folder creates is counted in device->live_handles and released through the functions
// below, because no leak checker sees an event that was not released.
#ifndef BM_OPENCL_OPENCL_H
#define BM_OPENCL_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 120
#include "base/library.h"
#include "device/backend.h"
#ifdef __APPLE__
#include <OpenCL/cl.h>
#else
#include <CL/cl.h>
#endif

// The source of one kernel or variant, embedded by tools/generate_kernels.py: text in OpenCL C, or text NULL and ptx; both NULL:
// none for OpenCL.
typedef struct ocl_ptx ocl_ptx;
typedef struct ocl_source {
    const char *text;
    uint32_t length;
    const ocl_ptx *ptx;
} ocl_source;
// PTX for each storage type of x and w and of y. Of a product a work-group computes one tile of y; x and w are its first buffers, m
// and n its first scalars. What is no product (tile_rows 0) is launched as OpenCL C is, in groups of just this size.
struct ocl_ptx {
    uint32_t group, tile_rows, tile_columns;
    uint32_t bias, y; // which buffers they are
    struct ocl_ptx_module {
        bm_dtype x, y; // as in calls: NONE where they are not real
        ocl_source source;
    } modules[6];
};
extern const ocl_source ocl_sources[];    // all kernels' variants in the order of kernels.def
extern const uint32_t ocl_first_source[]; // by kernel: index of its variant 0

// The functions that we use of the loader, by their names without the leading cl.
// clang-format off
#define OCL_FUNCTIONS(X)                                                                                               \
    X(GetPlatformIDs) X(GetPlatformInfo) X(GetDeviceIDs) X(GetDeviceInfo)                                              \
    X(CreateContext) X(ReleaseContext) X(CreateCommandQueue) X(ReleaseCommandQueue) X(Flush) X(Finish)                 \
    X(CreateBuffer) X(ReleaseMemObject)                                                                                \
    X(CreateProgramWithSource) X(CreateProgramWithBinary) X(BuildProgram) X(GetProgramInfo) X(GetProgramBuildInfo)     \
    X(ReleaseProgram) X(CreateKernel) X(ReleaseKernel) X(SetKernelArg) X(GetKernelWorkGroupInfo)                       \
    X(EnqueueNDRangeKernel) X(EnqueueMarkerWithWaitList) X(EnqueueMigrateMemObjects)                                   \
    X(EnqueueReadBuffer) X(EnqueueReadBufferRect) X(EnqueueWriteBuffer) X(EnqueueWriteBufferRect)                      \
    X(EnqueueCopyBuffer) X(EnqueueFillBuffer) X(EnqueueMapBuffer) X(EnqueueUnmapMemObject)                             \
    X(WaitForEvents) X(ReleaseEvent) X(GetEventProfilingInfo)
// clang-format on

typedef struct ocl_api {
    bm_library *library; // never closed: drivers leave threads and exit handlers behind
#define OCL_MEMBER(name) __typeof__(cl##name) *(name);
    OCL_FUNCTIONS(OCL_MEMBER)
#undef OCL_MEMBER
} ocl_api;

// A ring of host memory (pinned where the driver can) through which uploads pass. head and tail are positions that only
// grow; position modulo OCL_STAGING_BYTES is the place in memory. segments is a queue of the writes in flight.
#define OCL_STAGING_BYTES (32u << 20)
#define OCL_STAGING_PIECE (8u << 20) // longest single write; at most a quarter of the ring, so that four overlap
#define OCL_MAX_SEGMENTS 256
typedef struct ocl_staging {
    cl_mem buffer;   // NULL until the first upload
    uint8_t *memory; // buffer, mapped for its whole life
    uint64_t head, tail;
    struct ocl_segment {
        uint64_t end;
        cl_event event;
    } segments[OCL_MAX_SEGMENTS];
    uint32_t first_segment, num_segments;
} ocl_staging;

// A built kernel: one combination of variant, storage types and tunables.
typedef struct ocl_pipeline {
    struct ocl_pipeline *next;
    uint32_t variant;
    bm_dtype types[BM_MAX_BUFFERS];
    uint32_t tunables[BM_MAX_TUNABLES];
    uint8_t cache_key[32];
    cl_program program;
    cl_kernel kernel;
    cl_kernel maps_kernel; // of PTX: writes the tensor maps that kernel reads
    bool compiled;         // from source, so the cache on disk lacks it
    bool ran;              // recorded at least once
} ocl_pipeline;

#define OCL_MAX_PTX 8 // kernels in PTX

typedef struct ocl_state {
    const ocl_api *cl;
    cl_device_id id;
    cl_context context;
    cl_command_queue queue;
    cl_mem status_word;   // 16 bytes, zero between batches
    uint8_t identity[32]; // SHA-256 of device, driver and platform, for the cache key
    const char *division; // build option for correctly rounded division and square root; "" where not offered
    const char *dot;      // build options of the variants _dot, OCL_STANDARD for others
    const char *kind;     // build option of CPUs, or of GPUs whose subgroups are asked for: cl/include; "" for others
    ocl_pipeline *pipelines[BM_NUM_KERNELS]; // by kernel, the last used first
    ocl_staging staging;
    cl_event timestamps[BM_ALL_TIMESTAMPS]; // NULL: not recorded
    cl_ulong timestamp_origin;              // 0: none yet
    bool clblast_asked, clblast_here;       // whether the library was looked for, and found
    bool clblast_used;
    struct ocl_ptx_answer {
        const ocl_ptx *ptx; // NULL: none here yet
        bool accepted;
    } ptx_answers[OCL_MAX_PTX]; // of the driver to the texts that it was shown
    cl_mem tensor_maps;         // of the product that runs; NULL until the first one in PTX
} ocl_state;

// loader.c
const ocl_api *ocl_api_load(bm_error *err); // NULL: absent, as err says; one table for the whole process
const char *ocl_error_name(cl_int code);    // "CL_OUT_OF_RESOURCES"
// Fails with BM_E_DEVICE and the message "WHAT: CL_NAME (-5)"; marks the device lost where the code says so.
bm_status ocl_fail(bm_device *device, cl_int code, bm_error *err, const char *format, ...) BM_PRINTF(4, 5);

// limits.c
char *ocl_device_text(const ocl_api *cl, cl_device_id id, cl_device_info what); // bm_free it; NULL: absent
char *ocl_platform_text(const ocl_api *cl, cl_platform_id platform, cl_platform_info what);
void ocl_device_describe(const ocl_api *cl, cl_platform_id platform, cl_device_id id, uint32_t index,
                         bm_device_info *out);
bool ocl_divides_correctly(const ocl_api *cl, cl_device_id id); // offers correctly rounded float32 division and sqrt
#define OCL_STANDARD "-cl-std=CL1.2"
const char *ocl_dot_options(const ocl_api *cl, cl_device_id id); // with the packed dot product where there is one
bool ocl_has_wide_subgroups(const ocl_api *cl, cl_device_id id); // an Intel GPU whose smallest subgroup is 16

// buffer.c
bm_status ocl_buffer_create(bm_device *device, bm_buffer *buffer, bm_error *err);
void ocl_buffer_destroy(bm_device *device, bm_buffer *buffer);
cl_mem ocl_buffer_memory(const bm_buffer *buffer); // NULL buffer: NULL
void ocl_release_memory(bm_device *device, cl_mem *memory);
void ocl_release_event(bm_device *device, cl_event *event);

// transfer.c
bm_status ocl_upload_rows(bm_device *device, bm_view dst, uint64_t dst_stride, const void *src, uint64_t src_stride,
                          uint64_t row_bytes, uint64_t num_rows, bm_error *err);
bm_status ocl_download_rows(bm_device *device, bm_view src, uint64_t src_stride, void *dst, uint64_t dst_stride,
                            uint64_t row_bytes, uint64_t num_rows, bm_error *err);
bm_status ocl_copy(bm_device *device, bm_view dst, bm_view src, bm_error *err);
bm_status ocl_fill(bm_device *device, bm_view dst, uint32_t word, bm_error *err);
void ocl_staging_drain(bm_device *device); // discards the writes in flight; everything has been waited for
void ocl_staging_close(bm_device *device);

// dispatch.c
// Sets the arguments in the order of the generated parameter list and returns the index of the next in *next.
cl_int ocl_set_arguments(const ocl_state *state, cl_kernel kernel, const bm_kernel_info *info, const bm_call *call,
                         uint32_t subject, cl_uint *next);
bm_status ocl_dispatch(bm_device *device, const bm_call *call, uint32_t subject, bool barrier, bm_error *err);
bm_status ocl_barrier(bm_device *device, bm_error *err);
bm_status ocl_submit(bm_device *device, bm_error *err);
bm_status ocl_wait(bm_device *device, uint32_t status_word[4], bm_error *err);
void ocl_idle(bm_device *device);
bm_status ocl_timestamp_record(bm_device *device, uint32_t slot, bm_error *err);
bm_status ocl_timestamp_read(bm_device *device, uint32_t slot, double *ns, bm_error *err);

// pipeline.c
const ocl_source *ocl_source_of(bm_kernel_id kernel, uint32_t variant);
// Builds a binary, or what the driver takes for one. When that fails *out is NULL and a debug message has the driver's words.
// Counts no handle.
cl_int ocl_program_from_binary(const bm_device *device, const char *binary, size_t size, const char *options,
                               cl_program *out);
cl_int ocl_kernel_create(bm_device *device, cl_program program, const char *name, cl_kernel *out);
bool ocl_has_variant(const bm_device *device, bm_kernel_id kernel, uint32_t variant);
bm_status ocl_pipeline_get(bm_device *device, const bm_call *call, ocl_pipeline **out, bm_error *err);
void ocl_pipelines_store(bm_device *device); // what was compiled and has run, to the cache on disk
void ocl_pipelines_close(bm_device *device);

// ptx.c
bool ocl_ptx_is_accepted(const bm_device *device, const ocl_ptx *ptx);
bm_status ocl_ptx_build(bm_device *device, const bm_call *call, ocl_pipeline *pipeline, bm_error *err);
bm_status ocl_ptx_dispatch(bm_device *device, const bm_call *call, ocl_pipeline *pipeline, bm_error *err);

// compile.c
bm_status ocl_compile(bm_device *device, const bm_call *call, bm_compile_report *out, bm_error *err);

// program_cache.c: compiled programs on disk. Nothing here fails: a cache that cannot be used is a debug message.
void ocl_cache_identity(const ocl_api *cl, cl_platform_id platform, cl_device_id id, uint8_t identity[32]);
void ocl_cache_key(const ocl_state *state, const char *options, const ocl_source *source, uint8_t key[32]);
char *ocl_cache_load(bm_device *device, const uint8_t key[32], uint64_t *size); // bm_free it; NULL: not there
void ocl_cache_store(bm_device *device, const uint8_t key[32], const void *binary, uint64_t size);
char *ocl_cache_path(const bm_device *device, const uint8_t key[32]); // bm_free it; NULL: no folder or no memory

// clblast.c
// One product through CLBlast, recorded like a dispatch. For GPUs for which we have no measured variant; never for CPU
// devices (slow there). Errors: BM_E_DEVICE when CLBlast is absent (the message names the package) or fails.
bool ocl_has_clblast(bm_device *device);
bm_status ocl_clblast_gemm(bm_device *device, const bm_product *gemm, bm_error *err);
void ocl_clblast_clear_cache(bm_device *device); // before the context goes: CLBlast keeps programs by its address

static inline ocl_state *ocl_state_of(const bm_device *device)
{
    return device->state;
}

#endif
