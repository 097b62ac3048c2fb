// LAPACK's dpotrf and dtrtri. They are column-major: the lower triangle of a row-major matrix is their upper one.
#include "quant/host_cholesky.h"

#include "base/library.h"

#include <string.h>

typedef void (*dpotrf_function)(const char *uplo, const int *n, double *a, const int *lda, int *info);
typedef void (*dtrtri_function)(const char *uplo, const char *diag, const int *n, double *a, const int *lda, int *info);

static const char *const library_names[] = {
#if defined(_WIN32)
    "libopenblas.dll", "liblapack.dll",
#elif defined(__APPLE__)
    "libopenblas.dylib", "/System/Library/Frameworks/Accelerate.framework/Accelerate",
#else
    "libopenblas.so.0", "liblapack.so.3",
#endif
    NULL};

bm_status bm_host_cholesky_inverse(double *x, uint32_t n, bool *is_definite, bm_error *err)
{
    bm_status status = BM_OK;
    bm_library *library = NULL;
    bm_error ignored = {0};
    dpotrf_function dpotrf = NULL;
    dtrtri_function dtrtri = NULL;
    const int size = (int)n;
    int info = 0;
    *is_definite = false;
    if (bm_library_open(&library, library_names, &ignored) == BM_OK) {
        const bm_library_function symbols[] = {bm_library_symbol(library, "dpotrf_"),
                                               bm_library_symbol(library, "dtrtri_")};
        memcpy(&dpotrf, &symbols[0], sizeof dpotrf);
        memcpy(&dtrtri, &symbols[1], sizeof dtrtri);
    }
    BM_FAIL_IF(!dpotrf || !dtrtri, err, BM_E_UNSUPPORTED, "no LAPACK here for float64; install libopenblas0-pthread");
    dpotrf("U", &size, x, &size, &info);
    if (info == 0)
        dtrtri("U", "N", &size, x, &size, &info);
    *is_definite = info == 0;
    for (uint64_t i = 0; i < n; i++)
        memset(x + i * n + i + 1, 0, (n - i - 1) * sizeof *x);
done:
    bm_library_close(&library);
    return status;
}
