// X^T X by the device's matrix product, piece by piece of the tokens.
#include "ops/hessian.h"

#include "ops/chunks.h"

double bm_hessian_operations(uint64_t tokens, uint64_t channels, bool whole)
{
    return (whole ? 2.0 : 1.0) * (double)tokens * (double)channels * (double)channels;
}

uint64_t bm_hessian_bytes(bm_device *device, uint64_t tokens, uint64_t channels, bool with_other)
{
    const uint64_t piece = bm_min_u64(tokens, BM_HESSIAN_TOKENS), panels = bm_multiplier_bytes(device, channels, piece);
    const uint64_t transposed = channels * bm_tensor_stride(BM_DTYPE_F32, piece) * sizeof(float);
    const uint64_t narrow =
        channels * bm_tensor_stride(BM_DTYPE_F16, bm_min_u64(tokens, BM_HESSIAN_NARROW_TOKENS)) * sizeof(uint16_t);
    return panels > 0 ? panels : (with_other ? 2 : 1) * bm_max_u64(narrow, transposed);
}

bm_status bm_hessian_add(bm_multiplier *m, const bm_tensor *x, const bm_tensor *other, float factor, const bm_tensor *h,
                         bm_error *err)
{
    const uint64_t channels = x->cols;
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(m->device, "hessian", "x", x, x->rows, channels, err));
    if (other)
        BM_TRY(bm_check_real(m->device, "hessian", "other", other, x->rows, channels, err));
    BM_TRY(bm_check_matrix("hessian", "h", h, BM_DTYPE_F32, channels, channels, err));
    const bool is_narrow = (!other || other->dtype == x->dtype) && bm_multiplier_narrow(m, x->dtype);
    const uint64_t piece = is_narrow ? BM_HESSIAN_NARROW_TOKENS : BM_HESSIAN_TOKENS;
    for (uint64_t first = 0; first < x->rows; first += piece) {
        const uint64_t count = bm_min_u64(piece, x->rows - first);
        const bm_tensor right = bm_tensor_rows(x, first, count), left = bm_tensor_rows(other ? other : x, first, count);
        BM_TRY(bm_multiplier_set_columns(m, other ? &left : NULL, &right, err));
        BM_TRY(bm_multiplier_add_columns(m, other ? &left : NULL, factor, h, err));
    }
done:
    return status;
}
