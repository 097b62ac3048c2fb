// The matrix product of CLBlast, a library that is opened when first asked for. It needs libOpenCL itself, so a program
// linked with it would not start on a machine without.
#include "device/opencl/opencl.h"

#include <clblast_c.h>
#include <stdatomic.h>
#include <string.h>

typedef struct clblast_api {
    bm_library *library; // never closed, like the loader
    __typeof__(CLBlastSgemm) *Sgemm;
    __typeof__(CLBlastClearCache) *ClearCache;
} clblast_api;

static _Atomic(const clblast_api *) loaded; // process-wide like the loader: see loader.c

static const char *const library_names[] = {
#if defined(_WIN32)
    "clblast.dll",
#elif defined(__APPLE__)
    "libclblast.1.dylib", "libclblast.dylib",
#else
    "libclblast.so.1",
#endif
    NULL};

static const clblast_api *clblast_load(bm_error *err)
{
    bm_error absent = {0};
    const clblast_api *known = atomic_load(&loaded);
    if (known)
        return known;
    clblast_api *api = bm_alloc_zero(1, sizeof *api);
    if (!api) {
        (void)bm_fail(err, BM_E_MEMORY, "out of memory");
        return NULL;
    }
    bool complete = false;
    if (bm_library_open(&api->library, library_names, &absent) == BM_OK) {
        const bm_library_function gemm = bm_library_symbol(api->library, "CLBlastSgemm");
        const bm_library_function clear = bm_library_symbol(api->library, "CLBlastClearCache");
        memcpy(&api->Sgemm, &gemm, sizeof gemm);
        memcpy(&api->ClearCache, &clear, sizeof clear);
        complete = gemm && clear;
    }
    if (complete && atomic_compare_exchange_strong(&loaded, &known, api))
        return api;
    if (!complete)
        (void)bm_fail(err, BM_E_DEVICE, "CLBlast is not here (%s): install libclblast1 (Debian, Ubuntu)",
                      absent.message);
    bm_library_close(&api->library);
    bm_free(api);
    return known;
}

bool ocl_has_clblast(bm_device *device)
{
    ocl_state *state = ocl_state_of(device);
    if (!state->clblast_asked) { // an absent library is looked for once, not before every product
        state->clblast_here = clblast_load(NULL) != NULL;
        state->clblast_asked = true;
    }
    return state->clblast_here;
}

bm_status ocl_clblast_gemm(bm_device *device, const bm_product *gemm, bm_error *err)
{
    ocl_state *state = ocl_state_of(device);
    bm_error problem = {0};
    const clblast_api *api = clblast_load(&problem);
    if (!api)
        return bm_fail(err, problem.status, "%s", problem.message);
    state->clblast_used = true;
    const CLBlastStatusCode code =
        api->Sgemm(CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeYes, gemm->m, gemm->n, gemm->k,
                   gemm->factor, ocl_buffer_memory(gemm->a.buffer), (size_t)(gemm->a.offset / sizeof(float)),
                   gemm->a_stride, ocl_buffer_memory(gemm->b.buffer), (size_t)(gemm->b.offset / sizeof(float)),
                   gemm->b_stride, gemm->adds ? 1.0f : 0.0f, ocl_buffer_memory(gemm->c.buffer),
                   (size_t)(gemm->c.offset / sizeof(float)), gemm->c_stride, &state->queue, NULL);
    return code == CLBlastSuccess ? BM_OK // its codes begin with OpenCL's and go on with its own
                                  : ocl_fail(device, (cl_int)code, err, "CLBlast: [%u, %u] x [%u, %u]^T", gemm->m,
                                             gemm->k, gemm->n, gemm->k);
}

void ocl_clblast_clear_cache(bm_device *device)
{
    const clblast_api *api = atomic_load(&loaded);
    if (ocl_state_of(device)->clblast_used && api)
        (void)api->ClearCache();
}
