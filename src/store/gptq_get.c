// Reading a linear of a GPTQ checkpoint: columns of its tensors, turned back.
#include "store/gptq_config.h"
#include "store/packed_codes.h"
#include "store/part.h"
#include "store/turned.h"

#define GROUP_INDEX ".g_idx"

bm_status bm_gptq_get_group_index(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint32_t **out,
                                  bm_error *err)
{
    *out = NULL;
    return linear->lacks_index ? BM_OK : bm_part_get_group_index(checkpoint, linear, GROUP_INDEX, false, out, err);
}

bm_status bm_gptq_check_values(bm_checkpoint *checkpoint, const bm_store_linear *linear, bm_error *err)
{
    uint32_t *index = NULL;
    const bm_status status = bm_gptq_get_group_index(checkpoint, linear, &index, err);
    bm_free(index);
    return status;
}

static bm_status get_codes(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, uint64_t count,
                           uint32_t *packed, bm_error *err)
{
    const uint64_t num_words = bm_packed_num_words(linear->in_features, linear->grid.bits);
    const bm_tensor_info *info = NULL;
    bm_status status = BM_OK;
    uint32_t *piece = bm_alloc(count, sizeof *piece);
    BM_FAIL_IF(!piece, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_part_find(checkpoint, linear, ".qweight", &info, err));
    for (uint64_t w = 0; w < num_words; w++) {
        BM_TRY(bm_checkpoint_read(checkpoint, info, (w * linear->out_features + first) * sizeof *piece, piece,
                                  count * sizeof *piece, err));
        for (uint64_t n = 0; n < count; n++)
            packed[n * num_words + w] = bm_load_le32(&piece[n]);
    }
done:
    bm_free(piece);
    return status;
}

// Version 1 has no field for the zero point 0. A writer that stores one all the same borrows from the neighbouring fields
// or wraps to the largest value, and readers disagree on what that means: 0, or 2^bits. And where the grid is called
// symmetric, fast kernels do not look at zero points at all.
static bm_status check_zero_point(const bm_tensor_info *info, const bm_store_linear *linear, uint64_t output,
                                  uint64_t group, int32_t zero_point, bm_error *err)
{
    const int32_t half = 1 << (linear->grid.bits - 1), zero = zero_point + half;
    if (zero == 2 * half)
        return bm_fail(
            err, BM_E_FORMAT,
            "%s: tensor \"%s\": found zero point %d of output %llu in group %llu, expected at most %d: readers "
            "disagree on it",
            bm_checkpoint_file_name(info), info->name, zero, (unsigned long long)output, (unsigned long long)group,
            2 * half - 1);
    if (linear->grid.symmetric && zero != half)
        return bm_fail(err, BM_E_FORMAT,
                       "%s: tensor \"%s\": found zero point %d of output %llu in group %llu, expected %d: config.json "
                       "says \"sym\": true",
                       bm_checkpoint_file_name(info), info->name, zero, (unsigned long long)output,
                       (unsigned long long)group, half);
    return BM_OK;
}

static bm_status get_zero_points(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                                 uint64_t count, uint64_t groups, int32_t *out, bm_error *err)
{
    const uint32_t bits = linear->grid.bits;
    const uint64_t num_words = bm_packed_num_words(count, bits), row = bm_packed_num_words(linear->out_features, bits);
    const int32_t half = 1 << (bits - 1), less = bm_gptq_version_of(linear) == BM_GPTQ_V1 ? 1 : 0;
    const bm_packed_run run = {count, bits, half - less, groups, 1};
    const bm_tensor_info *info = NULL;
    bm_status status = BM_OK;
    uint32_t *words = bm_alloc(num_words, sizeof *words);
    BM_FAIL_IF(!words, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_part_find(checkpoint, linear, ".qzeros", &info, err));
    for (uint64_t g = 0; g < groups; g++) {
        BM_TRY(bm_checkpoint_read(checkpoint, info, (g * row + bm_packed_num_words(first, bits)) * sizeof *words, words,
                                  num_words * sizeof *words, err));
        bm_part_swap_words(words, num_words);
        bm_packed_decode(&run, words, out + g);
        for (uint64_t n = 0; n < count; n++)
            BM_TRY(check_zero_point(info, linear, first + n, g, out[n * groups + g], err));
    }
done:
    bm_free(words);
    return status;
}

bm_status bm_gptq_get_grid(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, uint64_t count,
                           float *steps, int32_t *zero_points, bm_error *err)
{
    const uint64_t groups = bm_num_groups(linear->in_features, linear->grid.group_size);
    const bm_status status = bm_turned_get_scales(checkpoint, linear, first, count, groups, steps, err);
    return status == BM_OK ? get_zero_points(checkpoint, linear, first, count, groups, zero_points, err) : status;
}

bm_status bm_gptq_get(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, bm_store_rows *rows,
                      bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(get_codes(checkpoint, linear, first, rows->count, rows->packed, err));
    BM_TRY(bm_gptq_get_grid(checkpoint, linear, first, rows->count, rows->steps, rows->zero_points, err));
    BM_TRY(bm_gptq_get_group_index(checkpoint, linear, &rows->group_index, err));
done:
    return status;
}
