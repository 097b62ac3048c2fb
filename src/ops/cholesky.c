// The inverse of a Cholesky factor by recursion.
#include "ops/cholesky.h"

#include "ops/chunks.h"

#define BLOCK 64 // what kernel cholesky_block takes

typedef struct cholesky_work {
    bm_multiplier *multiplier;
    bm_tensor x, inverse, pivots;
    bm_tensor corner, transposed; // memory of at most [n/2, n/2] each
} cholesky_work;

double bm_cholesky_operations(uint64_t n)
{
    return 2.0 / 3.0 * (double)n * (double)n * (double)n; // factor and inverse, a third of n^3 each
}

static bm_status factor_block(const cholesky_work *w, uint64_t first, uint64_t n, bm_error *err)
{
    bm_device *device = w->multiplier->device;
    const bm_tensor x = bm_tensor_part(&w->x, first, n, first, n);
    const bm_tensor inverse = bm_tensor_part(&w->inverse, first, n, first, n);
    const bm_tensor pivots = bm_tensor_part(&w->pivots, 0, 1, first, n);
    const bm_cholesky_block_scalars scalars = {(uint32_t)n, (uint32_t)x.stride, (uint32_t)inverse.stride};
    const bm_call call = {.kernel = BM_KERNEL_CHOLESKY_BLOCK,
                          .buffers = {x.view, inverse.view, pivots.view},
                          .scalars = &scalars,
                          .tunables = {bm_chunk_group(device, BLOCK)},
                          .groups = {1, 1, 1}};
    return bm_dispatch(device, &call, err);
}

// Rows and columns first .. first + n - 1.
static bm_status factor(const cholesky_work *w, uint64_t first, uint64_t n, bm_error *err)
{
    bm_multiplier *m = w->multiplier;
    bm_status status = BM_OK;
    if (n <= BLOCK)
        return factor_block(w, first, n, err);
    const uint64_t top = bm_round_up(n / 2, BLOCK), low = n - top;
    const bm_tensor b = bm_tensor_part(&w->x, first + top, low, first, top); // becomes Q
    const bm_tensor c = bm_tensor_part(&w->x, first + top, low, first + top, low);
    const bm_tensor p = bm_tensor_part(&w->inverse, first, top, first, top);
    const bm_tensor r = bm_tensor_part(&w->inverse, first + top, low, first + top, low);
    const bm_tensor corner = bm_tensor_part(&w->inverse, first + top, low, first, top);
    const bm_tensor q = bm_tensor_reshape(&w->corner, low, top),
                    p_transposed = bm_tensor_reshape(&w->transposed, top, top);
    BM_TRY(factor(w, first, top, err));
    BM_TRY(bm_multiply(m, &b, &p, &q, err));                          // Q = B P^-T
    BM_TRY(bm_multiply_add(m, &q, &q, -1.0f, &c, err));               // C - Q Q^T
    BM_TRY(bm_permute(m->device, &q, &(bm_permutation){0}, &b, err)); // a copy: the recursion needs the memory of q
    BM_TRY(factor(w, first + top, low, err));
    BM_TRY(bm_transpose(m->device, &p, &p_transposed, err));
    const bm_tensor product = bm_tensor_reshape(&w->corner, top, low); // (Q P^-1)^T = P^-T Q^T
    BM_TRY(bm_multiply(m, &p_transposed, &b, &product, err));
    BM_TRY(bm_multiply_add(m, &r, &product, -1.0f, &corner, err)); // it holds zeros
done:
    return status;
}

bm_status bm_cholesky_inverse(bm_multiplier *multiplier, const bm_tensor *x, const bm_tensor *inverse,
                              const bm_tensor *pivots, bm_error *err)
{
    const uint64_t n = x->rows, half = bm_round_up((n + 1) / 2, BLOCK);
    bm_status status = BM_OK;
    cholesky_work w = {.multiplier = multiplier, .x = *x, .inverse = *inverse, .pivots = *pivots};
    BM_TRY(bm_check_matrix("cholesky", "x", x, BM_DTYPE_F32, n, n, err));
    BM_TRY(bm_check_matrix("cholesky", "inverse", inverse, BM_DTYPE_F32, n, n, err));
    BM_TRY(bm_check_matrix("cholesky", "pivots", pivots, BM_DTYPE_F32, 1, n, err));
    BM_TRY(bm_fill(multiplier->device, inverse->view, 0, err));
    if (n > BLOCK) {
        BM_TRY(bm_tensor_create(multiplier->device, BM_DTYPE_F32, half, half, "factor", &w.corner, err));
        BM_TRY(bm_tensor_create(multiplier->device, BM_DTYPE_F32, half, half, "transposed factor", &w.transposed, err));
    }
    BM_TRY(factor(&w, 0, n, err));
done:
    bm_tensor_destroy(&w.corner);
    bm_tensor_destroy(&w.transposed);
    return status;
}
