// Pieces of rows, and scales among them.
#include "store/turned.h"

#include "base/half.h"
#include "store/part.h"

bm_status bm_turned_put(bm_checkpoint_writer *writer, const bm_store_linear *linear, const char *suffix,
                        const bm_turned *at, const void *pieces, bm_error *err)
{
    char name[BM_STORE_NAME_SIZE];
    bm_status status = BM_OK;
    bm_part_name(linear, suffix, name);
    for (uint64_t r = 0; r < at->num_rows && status == BM_OK; r++)
        status = bm_checkpoint_writer_put(writer, name, r * at->row_bytes + at->first_byte,
                                          (const uint8_t *)pieces + r * at->piece_bytes, at->piece_bytes, err);
    return status;
}

bm_status bm_turned_put_scales(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                               uint64_t count, uint64_t groups, const float *steps, bm_error *err)
{
    const uint64_t size = bm_dtype_size(BM_DTYPE_F16);
    uint8_t *turned = bm_alloc(groups * count, size);
    if (!turned)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint64_t g = 0; g < groups; g++)
        for (uint64_t n = 0; n < count; n++)
            bm_store_real(turned, BM_DTYPE_F16, g * count + n, steps[n * groups + g]);
    const bm_turned at = {groups, linear->out_features * size, first * size, count * size};
    const bm_status status = bm_turned_put(writer, linear, ".scales", &at, turned, err);
    bm_free(turned);
    return status;
}

bm_status bm_turned_get_scales(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, uint64_t count,
                               uint64_t groups, float *steps, bm_error *err)
{
    const bm_tensor_info *info = NULL;
    bm_status status = BM_OK;
    float *piece = bm_alloc(count, sizeof *piece);
    BM_FAIL_IF(!piece, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_part_find(checkpoint, linear, ".scales", &info, err));
    for (uint64_t g = 0; g < groups; g++) {
        BM_TRY(bm_part_read_scales(checkpoint, info, g * linear->out_features + first, count, piece, err));
        for (uint64_t n = 0; n < count; n++)
            steps[n * groups + g] = piece[n];
    }
done:
    bm_free(piece);
    return status;
}
