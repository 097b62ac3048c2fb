// How good a factor of an inverse Hessian is, measured.
#include "base/random.h"
#include "ops/elementwise.h"
#include "quant/factor_in_place.h"
#include "quant/inverse_factor.h"

#include <math.h>

#define PROBES 4 // vectors by which it is measured

// How far (H' + d I) U^T U z is from z for a few random z: rows of a matrix, so each factor is one product.
static bm_status run_probes(bm_multiplier *m, const bm_gram *gram, const bm_tensor *added, bm_inverse_factor *f,
                            bm_error *err)
{
    bm_device *device = m->device;
    const uint32_t n = f->channels;
    bm_status status = BM_OK;
    bm_tensor z = {0}, half = {0}, solved = {0}, back = {0};
    bm_random random;
    float *host = bm_alloc(PROBES * (uint64_t)n, sizeof *host),
          *result = bm_alloc(PROBES * (uint64_t)n, sizeof *result);
    BM_FAIL_IF(!host || !result, err, BM_E_MEMORY, "out of memory");
    bm_random_init(&random, 1, 0);
    for (uint64_t i = 0; i < PROBES * (uint64_t)n; i++)
        host[i] = (float)bm_random_normal(&random);
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, PROBES, n, "probes", &z, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, PROBES, n, "probes", &half, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, PROBES, n, "probes", &solved, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, PROBES, n, "probes", &back, err));
    BM_TRY(bm_tensor_upload(device, &z, host, err));
    if (gram->file) {
        BM_TRY(bm_factor_multiply(m, &f->upper, &z, &half, &solved, err));
    } else {
        BM_TRY(bm_multiply(m, &z, &f->upper, &half, err));           // z U^T
        BM_TRY(bm_multiply(m, &half, &f->transposed, &solved, err)); // z U^T U
    }
    BM_TRY(bm_permute(device, &solved, &(bm_permutation){.col_order = f->place_view}, &half, err));
    BM_TRY(bm_gram_multiply(m, gram, &half, &back, err)); // in the order of channels, without d
    BM_TRY(bm_scale_columns(device, &half, added, err));
    BM_TRY(bm_add(device, &back, &half, &back, err));
    BM_TRY(bm_permute(device, &back, &(bm_permutation){.col_order = f->order_view}, &half, err));
    BM_TRY(bm_tensor_download(device, &half, result, err));
    BM_TRY(bm_device_wait(device, err));
    f->residual = 0;
    for (uint32_t p = 0; p < PROBES; p++) {
        double error = 0, norm = 0;
        for (uint64_t i = p * (uint64_t)n; i < (p + 1) * (uint64_t)n; i++) {
            error += ((double)result[i] - (double)host[i]) * ((double)result[i] - (double)host[i]);
            norm += (double)host[i] * (double)host[i];
        }
        f->residual = fmax(f->residual, isfinite(error) ? sqrt(error / norm) : INFINITY);
    }
done:
    bm_tensor_destroy(&z);
    bm_tensor_destroy(&half);
    bm_tensor_destroy(&solved);
    bm_tensor_destroy(&back);
    bm_free(host);
    bm_free(result);
    return status;
}

// A factor that is not finite is none: kernels that pack operands report it, others carry it into the residual.
bm_status bm_inverse_factor_measure(bm_multiplier *m, const bm_gram *gram, const bm_tensor *added, bm_inverse_factor *f,
                                    bm_error *err)
{
    const bm_status status = run_probes(m, gram, added, f, err);
    if (status != BM_E_NUMERIC)
        return status;
    f->residual = INFINITY;
    return BM_OK;
}
