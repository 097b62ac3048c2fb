// The inverse of a Cholesky factor by recursion.
#include "ops/cholesky.h"

#include "ops/chunks.h"

typedef struct cholesky_work {
    bm_multiplier *multiplier;
    uint32_t group; // of kernel cholesky_block
    uint64_t block; // rows that it takes
    bm_tensor x, inverse, pivots;
    bm_tensor memory;     // for one Q after the other
    bm_tensor transposed; // memory of at most [n/2, n/2], and of as much for a product
    bm_tensor product;
} cholesky_work;

// Columns that matrix units sum at a time: Q Q^T is of one sign on its diagonal, where what they cut counts beside what remains of C.
#define SPLIT_COLUMNS 512

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
                          .tunables = {w->group},
                          .groups = {1, 1, 1}};
    return bm_dispatch(device, &call, err);
}

// The largest block of one work-group: 8 rows for each work-item on a side of its square. GPUs want large ones, which end chains
// of small dispatches.
static void choose_block(cholesky_work *w)
{
    const bm_device *device = w->multiplier->device;
    uint64_t side = 1;
    w->group = bm_chunk_group(device, bm_device_kind_is_gpu(bm_device_get_info(device)->kind) ? 256 : 64);
    while (4 * side * side <= w->group)
        side *= 2;
    w->block = 8 * side;
}

// Rows and columns first .. first + n - 1; what its recursion keeps lies in memory from used on.
static bm_status factor(const cholesky_work *w, uint64_t first, uint64_t n, uint64_t used, bm_error *err)
{
    bm_multiplier *m = w->multiplier;
    bm_status status = BM_OK;
    if (n <= w->block)
        return factor_block(w, first, n, err);
    const uint64_t top = bm_round_up(n / 2, w->block), low = n - top;
    const bm_tensor b = bm_tensor_part(&w->x, first + top, low, first, top);
    const bm_tensor c = bm_tensor_part(&w->x, first + top, low, first + top, low);
    const bm_tensor p = bm_tensor_part(&w->inverse, first, top, first, top);
    const bm_tensor r = bm_tensor_part(&w->inverse, first + top, low, first + top, low);
    const bm_tensor corner = bm_tensor_part(&w->inverse, first + top, low, first, top);
    const bm_tensor own = bm_tensor_columns(&w->memory, used, low * top), q = bm_tensor_reshape(&own, low, top);
    const bm_tensor p_transposed = bm_tensor_reshape(&w->transposed, top, top),
                    product = bm_tensor_reshape(&w->product, top, low); // (Q P^-1)^T = P^-T Q^T
    BM_TRY(factor(w, first, top, used, err));
    BM_TRY(bm_multiply(m, &b, &p, &q, err));                  // Q = B P^-T
    BM_TRY(bm_multiply_add_lower(m, &q, &q, -1.0f, &c, err)); // C - Q Q^T
    BM_TRY(factor(w, first + top, low, used + low * top, err));
    BM_TRY(bm_transpose(m->device, &p, &p_transposed, err));
    BM_TRY(bm_multiply(m, &p_transposed, &q, &product, err));
    BM_TRY(bm_multiply_add(m, &r, &product, -1.0f, &corner, err)); // it holds zeros
done:
    return status;
}

// Elements of all Q that are kept at once. Each begins at a multiple of 16 bytes: top is one of 4 elements.
static uint64_t kept_elements(const cholesky_work *w, uint64_t n)
{
    if (n <= w->block)
        return 0;
    const uint64_t top = bm_round_up(n / 2, w->block), low = n - top;
    return bm_max_u64(kept_elements(w, top), low * top + kept_elements(w, low));
}

bm_status bm_cholesky_inverse(bm_multiplier *multiplier, const bm_tensor *x, const bm_tensor *inverse,
                              const bm_tensor *pivots, bm_error *err)
{
    const uint64_t n = x->rows;
    bm_device *device = multiplier->device;
    bm_status status = BM_OK;
    cholesky_work w = {.multiplier = multiplier, .x = *x, .inverse = *inverse, .pivots = *pivots};
    BM_TRY(bm_check_matrix("cholesky", "x", x, BM_DTYPE_F32, n, n, err));
    BM_TRY(bm_check_matrix("cholesky", "inverse", inverse, BM_DTYPE_F32, n, n, err));
    BM_TRY(bm_check_matrix("cholesky", "pivots", pivots, BM_DTYPE_F32, 1, n, err));
    BM_TRY(bm_fill(multiplier->device, inverse->view, 0, err));
    choose_block(&w);
    if (n > w.block) {
        const uint64_t half = bm_round_up(n / 2, w.block);
        BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, kept_elements(&w, n), "factor", &w.memory, err));
        BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, half, half, "transposed factor", &w.transposed, err));
        const uint64_t wider = bm_max_u64(half, n - half);
        BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, half, wider, "product of factors", &w.product, err));
    }
    multiplier->split.columns = SPLIT_COLUMNS;
    BM_TRY(factor(&w, 0, n, 0, err));
done:
    multiplier->split.columns = BM_SPLIT_COLUMNS;
    bm_tensor_destroy(&w.memory);
    bm_tensor_destroy(&w.transposed);
    bm_tensor_destroy(&w.product);
    return status;
}
