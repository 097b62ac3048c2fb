// Pipelines of the OpenCL backend: a kernel built for one choice of variant, storage types and tunables.
#include "base/clock.h"
#include "base/str.h"
#include "device/opencl/opencl.h"

#include <string.h>

#define BUILD_LOG_BYTES 700 // of the driver's words in an error: its first lines

const ocl_source *ocl_source_of(bm_kernel_id kernel, uint32_t variant)
{
    return &ocl_sources[ocl_first_source[kernel] + variant];
}

bool ocl_has_variant(const bm_device *device, bm_kernel_id kernel, uint32_t variant)
{
    const ocl_source *source = ocl_source_of(kernel, variant); // which variant suits a device is for ops to choose
    return source->text || (source->ptx && ocl_ptx_is_accepted(device, source->ptx));
}

// "-cl-std=CL1.2 -DGROUP=64 -Dx_type=1 ...". No fast-math option: codes are promised to be equal on every device.
static bool write_options(const ocl_state *state, const bm_kernel_info *info, const bm_call *call, bm_string *out)
{
    const bool is_dot = info->variants[call->variant].int8_dot;
    const uint32_t max_registers = info->variants[call->variant].max_registers;
    (void)bm_string_append_format(out, "%s%s%s", is_dot ? state->dot : OCL_STANDARD, state->division, state->kind);
    if (max_registers > 0)
        (void)bm_string_append_format(out, " -cl-nv-maxrregcount=%u", max_registers);
    for (uint32_t i = 0; i < info->num_tunables; i++)
        (void)bm_string_append_format(out, " -D%s=%u", info->tunable_names[i], call->tunables[i]);
    for (uint32_t i = 0; i < info->num_buffers; i++)
        if (info->buffers[i].element == BM_ELEMENT_REAL)
            (void)bm_string_append_format(out, " -D%s_type=%u", info->buffers[i].name, (unsigned)call->types[i]);
    return !out->failed;
}

static bool matches(const ocl_pipeline *pipeline, const bm_kernel_info *info, const bm_call *call)
{
    return pipeline->variant == call->variant &&
           memcmp(pipeline->tunables, call->tunables, info->num_tunables * sizeof call->tunables[0]) == 0 &&
           memcmp(pipeline->types, call->types, info->num_buffers * sizeof call->types[0]) == 0;
}

// The first lines of the driver's build log as one line.
static void read_build_log(const ocl_state *state, cl_program program, char out[BUILD_LOG_BYTES])
{
    size_t size = 0, length = 0;
    out[0] = '\0';
    (void)state->cl->GetProgramBuildInfo(program, state->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
    char *text = bm_alloc_zero(size + 1, 1);
    if (text &&
        state->cl->GetProgramBuildInfo(program, state->id, CL_PROGRAM_BUILD_LOG, size, text, NULL) == CL_SUCCESS)
        for (const char *c = text; *c && length + 4 < BUILD_LOG_BYTES; c++) {
            if (*c != '\n' && *c != '\r')
                out[length++] = *c;
            else if (length > 0 && out[length - 1] != ' ') { // blank lines vanish
                memcpy(out + length, " | ", 3);
                length += 3;
            }
        }
    while (length > 0 && (out[length - 1] == ' ' || out[length - 1] == '|'))
        length--;
    out[length] = '\0';
    bm_free(text);
}

static void release_program(bm_device *device, ocl_pipeline *pipeline)
{
    const ocl_api *cl = ocl_state_of(device)->cl;
    cl_kernel *const kernels[] = {&pipeline->kernel, &pipeline->maps_kernel};
    for (uint32_t i = 0; i < BM_COUNT(kernels); i++)
        if (*kernels[i]) {
            cl->ReleaseKernel(*kernels[i]);
            device->live_handles--;
            *kernels[i] = NULL;
        }
    if (pipeline->program) {
        cl->ReleaseProgram(pipeline->program);
        device->live_handles--;
    }
    pipeline->program = NULL;
}

cl_int ocl_kernel_create(bm_device *device, cl_program program, const char *name, cl_kernel *out)
{
    cl_int code = CL_SUCCESS;
    *out = ocl_state_of(device)->cl->CreateKernel(program, name, &code);
    if (*out)
        device->live_handles++;
    return code;
}

cl_int ocl_program_from_binary(const bm_device *device, const char *binary, size_t size, const char *options,
                               cl_program *out)
{
    const ocl_state *state = ocl_state_of(device);
    const unsigned char *bytes = (const unsigned char *)binary;
    cl_int accepted = CL_SUCCESS, code = CL_SUCCESS;
    *out = state->cl->CreateProgramWithBinary(state->context, 1, &state->id, &size, &bytes, &accepted, &code);
    if (*out && code == CL_SUCCESS)
        code = accepted;
    if (*out && code == CL_SUCCESS)
        code = state->cl->BuildProgram(*out, 1, &state->id, options, NULL, NULL);
    if (*out && code != CL_SUCCESS) {
        char words[BUILD_LOG_BYTES];
        read_build_log(state, *out, words);
        bm_log_write(device->log, BM_LOG_DEBUG, "opencl: a binary does not build: %s", words);
        state->cl->ReleaseProgram(*out);
        *out = NULL;
    }
    return code;
}

// The kernel function of a variant is called NAME_SUFFIX, like its file.
static cl_int create_kernel(bm_device *device, ocl_pipeline *pipeline, const bm_kernel_info *info)
{
    cl_int code = CL_OUT_OF_HOST_MEMORY;
    char *name = bm_format("%s%s", info->name, info->variants[pipeline->variant].suffix);
    if (name)
        code = ocl_kernel_create(device, pipeline->program, name, &pipeline->kernel);
    bm_free(name);
    return code;
}

// From the cache on disk. A binary that the driver refuses is discarded: the source is compiled instead.
static bool build_from_cache(bm_device *device, ocl_pipeline *pipeline, const bm_kernel_info *info, const char *options)
{
    uint64_t size = 0;
    char *binary = ocl_cache_load(device, pipeline->cache_key, &size);
    if (!binary)
        return false;
    cl_int code = ocl_program_from_binary(device, binary, (size_t)size, options, &pipeline->program);
    if (pipeline->program)
        device->live_handles++;
    if (code == CL_SUCCESS)
        code = create_kernel(device, pipeline, info);
    if (code != CL_SUCCESS) {
        bm_log_write(device->log, BM_LOG_DEBUG, "opencl: %s: the driver refuses the cached binary: %s (%d)", info->name,
                     ocl_error_name(code), (int)code);
        release_program(device, pipeline);
    }
    bm_free(binary);
    return code == CL_SUCCESS;
}

static bm_status build_from_source(bm_device *device, ocl_pipeline *pipeline, const bm_kernel_info *info,
                                   const ocl_source *source, const char *options, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    const char *suffix = info->variants[pipeline->variant].suffix;
    const uint64_t begin = bm_clock_ns();
    const char *text = source->text;
    const size_t length = source->length;
    cl_int code = CL_SUCCESS;
    const bm_status may = bm_device_may_compile(device, info->name, err);
    if (may != BM_OK)
        return may;
    pipeline->program = state->cl->CreateProgramWithSource(state->context, 1, &text, &length, &code);
    if (!pipeline->program)
        return ocl_fail(device, code, err, "%s%s: cannot create its program", info->name, suffix);
    device->live_handles++;
    code = state->cl->BuildProgram(pipeline->program, 1, &state->id, options, NULL, NULL);
    if (code != CL_SUCCESS) {
        char words[BUILD_LOG_BYTES], room[BM_CACHE_WORDS_SIZE];
        read_build_log(state, pipeline->program, words);
        (void)bm_cache_folder_words(device, room);
        (void)ocl_fail(device, code, NULL, "build"); // for the mark of a lost device only
        return bm_fail(err, BM_E_DEVICE, "%s%s does not build on %s: %s (%d): %s%s%s", info->name, suffix,
                       device->info.name, ocl_error_name(code), (int)code, words, room[0] ? "; " : "", room);
    }
    code = create_kernel(device, pipeline, info);
    if (code != CL_SUCCESS)
        return ocl_fail(device, code, err, "%s%s: cannot create its kernel", info->name, suffix);
    device->compiled_kernels++;
    pipeline->compiled = true;
    bm_log_write(device->log, BM_LOG_DEBUG, "opencl: compiled %s%s (%s) in %.0f ms", info->name, suffix, options,
                 (double)(bm_clock_ns() - begin) * 1e-6);
    return BM_OK;
}

static bm_status pipeline_create(bm_device *device, const bm_call *call, ocl_pipeline **out, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    const bm_kernel_info *info = &bm_kernel_table[call->kernel];
    const ocl_source *source = ocl_source_of(call->kernel, call->variant);
    bm_status status = BM_OK;
    bm_string options = BM_STRING_INIT;
    ocl_pipeline *pipeline = bm_alloc_zero(1, sizeof *pipeline);
    BM_FAIL_IF(!pipeline || !write_options(state, info, call, &options), err, BM_E_MEMORY, "out of memory");
    pipeline->variant = call->variant;
    memcpy(pipeline->tunables, call->tunables, sizeof pipeline->tunables);
    memcpy(pipeline->types, call->types, sizeof pipeline->types);
    if (source->text)
        ocl_cache_key(state, options.data, source, pipeline->cache_key);
    if (source->ptx)
        BM_TRY(ocl_ptx_build(device, call, pipeline, err));
    else if (!build_from_cache(device, pipeline, info, options.data))
        BM_TRY(build_from_source(device, pipeline, info, source, options.data, err));
    *out = pipeline;
    pipeline = NULL;
done:
    if (pipeline)
        release_program(device, pipeline);
    bm_free(pipeline);
    bm_string_free(&options);
    return status;
}

bm_status ocl_pipeline_get(bm_device *device, const bm_call *call, ocl_pipeline **out, bm_error *err)
{
    ocl_pipeline **first = &ocl_state_of(device)->pipelines[call->kernel];
    for (ocl_pipeline **link = first; *link; link = &(*link)->next)
        if (matches(*link, &bm_kernel_table[call->kernel], call)) {
            ocl_pipeline *found = *link; // to the front: the next dispatch most likely wants it again
            *link = found->next;
            found->next = *first;
            *first = found;
            *out = found;
            return BM_OK;
        }
    ocl_pipeline *created = NULL;
    const bm_status status = pipeline_create(device, call, &created, err);
    if (!created)
        return status;
    created->next = *first;
    *first = created;
    *out = created;
    return BM_OK;
}

static void store_binary(bm_device *device, const ocl_pipeline *pipeline)
{
    const ocl_api *cl = ocl_state_of(device)->cl;
    size_t size = 0;
    if (cl->GetProgramInfo(pipeline->program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) != CL_SUCCESS ||
        size == 0)
        return;
    unsigned char *binary = bm_alloc(size, 1);
    if (binary &&
        cl->GetProgramInfo(pipeline->program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) == CL_SUCCESS)
        ocl_cache_store(device, pipeline->cache_key, binary, size);
    bm_free(binary);
}

// Only programs that have run: PoCL compiles for the size of the work-group at the first run, and a binary taken before
// it would leave a third of a second to every later process.
void ocl_pipelines_store(bm_device *device)
{
    if (!device->cache_folder)
        return;
    for (uint32_t k = 0; k < BM_NUM_KERNELS; k++)
        for (ocl_pipeline *p = ocl_state_of(device)->pipelines[k]; p; p = p->next)
            if (p->compiled && p->ran) {
                store_binary(device, p);
                p->compiled = false; // once is enough, whether it worked or not
            }
}

void ocl_pipelines_close(bm_device *device)
{
    for (uint32_t k = 0; k < BM_NUM_KERNELS; k++) {
        ocl_pipeline **first = &ocl_state_of(device)->pipelines[k];
        while (*first) {
            ocl_pipeline *pipeline = *first;
            *first = pipeline->next;
            release_program(device, pipeline);
            bm_free(pipeline);
        }
    }
}
