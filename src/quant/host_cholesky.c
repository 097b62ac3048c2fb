// LAPACK's dpotrf and dtrtri, which do not come back before they are done: so they get blocks, as they make them themselves, and
// what is between those is BLAS. All are column-major: the lower triangle of a row-major matrix is their upper one.
#include "quant/host_cholesky.h"

#include "base/library.h"

#include <string.h>

#define BLOCK 64 // columns; of a matrix of 14336 a step is 7e9 multiplications at most

typedef void dpotrf_function(const char *uplo, const int *n, double *a, const int *lda, int *info);
typedef void dtrtri_function(const char *uplo, const char *diag, const int *n, double *a, const int *lda, int *info);
typedef void dgemm_function(const char *trans_a, const char *trans_b, const int *m, const int *n, const int *k,
                            const double *alpha, const double *a, const int *lda, const double *b, const int *ldb,
                            const double *beta, double *c, const int *ldc);
// dtrsm and dtrmm.
typedef void triangle_function(const char *side, const char *uplo, const char *trans, const char *diag, const int *m,
                               const int *n, const double *alpha, const double *a, const int *lda, double *b,
                               const int *ldb);

typedef struct lapack {
    bm_library *library;
    dpotrf_function *dpotrf;
    dtrtri_function *dtrtri;
    dgemm_function *dgemm;
    triangle_function *dtrsm, *dtrmm;
} lapack;

static const char *const library_names[] = {
#if defined(_WIN32)
    "libopenblas.dll", "liblapack.dll",
#elif defined(__APPLE__)
    "libopenblas.dylib", "/System/Library/Frameworks/Accelerate.framework/Accelerate",
#else
    "libopenblas.so.0", "liblapack.so.3",
#endif
    NULL};

static bool find(lapack *l)
{
    bm_error ignored = {0};
    if (bm_library_open(&l->library, library_names, &ignored) != BM_OK)
        return false;
    const struct {
        const char *name;
        void *function; // of one size all
    } wanted[] = {{"dpotrf_", &l->dpotrf},
                  {"dtrtri_", &l->dtrtri},
                  {"dgemm_", &l->dgemm},
                  {"dtrsm_", &l->dtrsm},
                  {"dtrmm_", &l->dtrmm}};
    for (size_t i = 0; i < BM_COUNT(wanted); i++) {
        const bm_library_function symbol = bm_library_symbol(l->library, wanted[i].name);
        if (!symbol)
            return false;
        memcpy(wanted[i].function, &symbol, sizeof symbol);
    }
    return true;
}

static bm_status tell(bm_phase *phase, bm_error *err)
{
    return phase ? bm_phase_step(phase, 0, err) : BM_OK;
}

static const double one = 1, minus_one = -1;

// x = U^T U, U in its upper triangle, block of rows by block. *info: not 0 where a pivot is not positive.
static bm_status factor(const lapack *l, double *x, int n, bm_phase *phase, int *info, bm_error *err)
{
    bm_status status = BM_OK;
    for (int first = 0; first < n && *info == 0; first += BLOCK) {
        const int count = n - first < BLOCK ? n - first : BLOCK, rest = n - first - count;
        double *column = x + (size_t)first * (size_t)n, *block = column + first;
        double *later = column + (size_t)count * (size_t)n; // columns behind the block
        BM_TRY(tell(phase, err));
        if (first > 0) {
            l->dgemm("T", "N", &count, &count, &first, &minus_one, column, &n, column, &n, &one, block, &n);
            if (rest > 0)
                l->dgemm("T", "N", &count, &rest, &first, &minus_one, column, &n, later, &n, &one, later + first, &n);
        }
        l->dpotrf("U", &count, block, &n, info);
        if (rest > 0 && *info == 0)
            l->dtrsm("L", "U", "T", "N", &count, &rest, &one, block, &n, later + first, &n);
    }
done:
    return status;
}

// U^-1 in its place, block of columns by block.
static bm_status invert(const lapack *l, double *u, int n, bm_phase *phase, int *info, bm_error *err)
{
    bm_status status = BM_OK;
    for (int first = 0; first < n && *info == 0; first += BLOCK) {
        const int count = n - first < BLOCK ? n - first : BLOCK;
        double *column = u + (size_t)first * (size_t)n, *block = column + first;
        BM_TRY(tell(phase, err));
        if (first > 0) { // what is before is inverted by now
            l->dtrmm("L", "U", "N", "N", &first, &count, &one, u, &n, column, &n);
            l->dtrsm("R", "U", "N", "N", &first, &count, &minus_one, block, &n, column, &n);
        }
        l->dtrtri("U", "N", &count, block, &n, info);
    }
done:
    return status;
}

bm_status bm_host_cholesky_inverse(double *x, uint32_t n, bm_phase *phase, bool *is_definite, bm_error *err)
{
    bm_status status = BM_OK;
    lapack l = {0};
    int info = 0;
    *is_definite = false;
    BM_FAIL_IF(!find(&l), err, BM_E_UNSUPPORTED, "no LAPACK here for float64; install libopenblas0-pthread");
    BM_TRY(factor(&l, x, (int)n, phase, &info, err));
    if (info == 0)
        BM_TRY(invert(&l, x, (int)n, phase, &info, err));
    *is_definite = info == 0;
    for (uint64_t i = 0; i < n; i++)
        memset(x + i * n + i + 1, 0, (n - i - 1) * sizeof *x);
done:
    bm_library_close(&l.library);
    return status;
}
