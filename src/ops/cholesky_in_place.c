// The inverse of a Cholesky factor in the place of its matrix: panels of columns, one after the other, instead of halves of halves.
#include "ops/cholesky.h"

#include "ops/chunks.h"

typedef struct in_place_work {
    bm_multiplier *multiplier;
    bm_tensor x, pivots;
    bm_tensor panel, other; // memory for [n, BM_CHOLESKY_PANEL] each
    bm_tensor inverse;      // of a block on the diagonal
} in_place_work;

static bm_status copy(const in_place_work *w, const bm_tensor *from, const bm_tensor *to, bm_error *err)
{
    return bm_permute(w->multiplier->device, from, &(bm_permutation){0}, to, err);
}

// Columns first .. of L: below the diagonal themselves, on it the inverse of their block; what is behind them gives way.
static bm_status factor_columns(const in_place_work *w, uint64_t first, uint64_t cols, bm_error *err)
{
    bm_multiplier *m = w->multiplier;
    const uint64_t below = w->x.rows - first - cols;
    const bm_tensor square = bm_tensor_part(&w->x, first, cols, first, cols),
                    pivots = bm_tensor_part(&w->pivots, 0, 1, first, cols);
    const bm_tensor inverse = bm_tensor_reshape(&w->inverse, cols, cols);
    bm_status status = BM_OK;
    BM_TRY(bm_cholesky_inverse(m, &square, &inverse, &pivots, err));
    BM_TRY(copy(w, &inverse, &square, err));
    if (below > 0) {
        const bm_tensor a = bm_tensor_part(&w->x, first + cols, below, first, cols),
                        rest = bm_tensor_part(&w->x, first + cols, below, first + cols, below),
                        q = bm_tensor_reshape(&w->panel, below, cols);
        BM_TRY(bm_multiply(m, &a, &inverse, &q, err));
        BM_TRY(copy(w, &q, &a, err));
        BM_TRY(bm_multiply_add_lower(m, &q, &q, -1.0f, &rest, err));
    }
done:
    return status;
}

// Columns first .. of L^-1, where those behind them are so already: -R Q P, R the inverse behind, P that of the block on the diagonal.
static bm_status invert_columns(const in_place_work *w, uint64_t first, uint64_t cols, bm_error *err)
{
    bm_multiplier *m = w->multiplier;
    const uint64_t below = w->x.rows - first - cols;
    const bm_tensor p = bm_tensor_part(&w->x, first, cols, first, cols),
                    p_transposed = bm_tensor_reshape(&w->inverse, cols, cols);
    bm_status status = BM_OK;
    if (below == 0)
        return BM_OK;
    const bm_tensor q = bm_tensor_part(&w->x, first + cols, below, first, cols),
                    r = bm_tensor_part(&w->x, first + cols, below, first + cols, below);
    const bm_tensor q_transposed = bm_tensor_reshape(&w->other, cols, below),
                    product = bm_tensor_reshape(&w->panel, below, cols),
                    result = bm_tensor_reshape(&w->other, below, cols);
    BM_TRY(bm_transpose(m->device, &q, &q_transposed, err));
    BM_TRY(bm_multiply(m, &r, &q_transposed, &product, err));
    BM_TRY(bm_transpose(m->device, &p, &p_transposed, err));
    BM_TRY(bm_fill(m->device, result.view, 0, err));
    BM_TRY(bm_multiply_add(m, &product, &p_transposed, -1.0f, &result, err));
    BM_TRY(copy(w, &result, &q, err));
done:
    return status;
}

// Above the diagonal there is nothing.
static bm_status clear_columns(const in_place_work *w, uint64_t first, uint64_t cols, bm_error *err)
{
    const bm_tensor above = bm_tensor_part(&w->x, 0, first, first, cols),
                    zeros = bm_tensor_reshape(&w->panel, first, cols);
    bm_status status = BM_OK;
    if (first == 0)
        return BM_OK;
    BM_TRY(bm_fill(w->multiplier->device, zeros.view, 0, err));
    BM_TRY(copy(w, &zeros, &above, err));
done:
    return status;
}

bm_status bm_cholesky_inverse_in_place(bm_multiplier *multiplier, const bm_tensor *x, const bm_tensor *pivots,
                                       bm_error *err)
{
    const uint64_t n = x->rows, width = bm_min_u64(n, BM_CHOLESKY_PANEL);
    bm_device *device = multiplier->device;
    bm_status status = BM_OK;
    in_place_work w = {.multiplier = multiplier, .x = *x, .pivots = *pivots};
    BM_TRY(bm_check_matrix("cholesky", "x", x, BM_DTYPE_F32, n, n, err));
    BM_TRY(bm_check_matrix("cholesky", "pivots", pivots, BM_DTYPE_F32, 1, n, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, n, width, "columns of a factor", &w.panel, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, n, width, "columns of a factor", &w.other, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, width, width, "inverse of a block", &w.inverse, err));
    for (uint64_t first = 0; first < n; first += width)
        BM_TRY(factor_columns(&w, first, bm_min_u64(width, n - first), err));
    for (uint64_t first = 0; first < n; first += width)
        BM_TRY(clear_columns(&w, first, bm_min_u64(width, n - first), err));
    for (uint64_t end = n; end > 0;) {
        const uint64_t first = (end - 1) / width * width;
        BM_TRY(invert_columns(&w, first, end - first, err));
        end = first;
    }
done:
    bm_tensor_destroy(&w.panel);
    bm_tensor_destroy(&w.other);
    bm_tensor_destroy(&w.inverse);
    return status;
}
