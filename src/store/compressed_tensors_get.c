// Reading a linear of the pack-quantized format of compressed-tensors.
#include "store/compressed_tensors.h"
#include "store/packed_codes.h"
#include "store/part.h"

#include <string.h>

#define GROUP_INDEX ".weight_g_idx"

// The shape of the float matrix, as the packed words do not tell it: two integers.
static bm_status check_shape(bm_checkpoint *checkpoint, const bm_store_linear *linear, bm_error *err)
{
    uint8_t bytes[2 * sizeof(int64_t)];
    bm_status status = BM_OK;
    const bm_tensor_info *info = NULL;
    BM_TRY(bm_part_find(checkpoint, linear, ".weight_shape", &info, err));
    BM_TRY(bm_checkpoint_read(checkpoint, info, 0, bytes, info->size_bytes, err));
    const bool is_wide = info->dtype == BM_DTYPE_I64;
    const int64_t rows = is_wide ? (int64_t)bm_load_le64(bytes) : (int32_t)bm_load_le32(bytes);
    const int64_t cols = is_wide ? (int64_t)bm_load_le64(bytes + 8) : (int32_t)bm_load_le32(bytes + 4);
    BM_FAIL_IF(rows != (int64_t)linear->out_features || cols != (int64_t)linear->in_features, err, BM_E_FORMAT,
               "%s: tensor \"%s\": found %lld, %lld, expected %llu, %llu by config.json", bm_checkpoint_file_name(info),
               info->name, (long long)rows, (long long)cols, (unsigned long long)linear->out_features,
               (unsigned long long)linear->in_features);
done:
    return status;
}

bm_status bm_compressed_tensors_get_group_index(bm_checkpoint *checkpoint, const bm_store_linear *linear,
                                                uint32_t **out, bm_error *err)
{
    *out = NULL;
    return linear->has_group_index ? bm_part_get_group_index(checkpoint, linear, GROUP_INDEX, true, out, err) : BM_OK;
}

bm_status bm_compressed_tensors_check_values(bm_checkpoint *checkpoint, const bm_store_linear *linear, bm_error *err)
{
    uint32_t *index = NULL;
    bm_input_grid input;
    if (bm_compressed_tensors_is_unpacked(linear))
        return bm_compressed_tensors_get_input(checkpoint, linear, &input, err);
    bm_status status = check_shape(checkpoint, linear, err);
    if (status == BM_OK)
        status = bm_compressed_tensors_get_group_index(checkpoint, linear, &index, err);
    bm_free(index);
    return status;
}

// One int32 a row and group; they are packed along the rows, and first is a multiple of 32, so they begin at a whole word.
static bm_status get_zero_points(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                                 uint64_t count, uint64_t groups, int32_t *out, bm_error *err)
{
    const uint32_t bits = linear->grid.bits;
    const uint64_t num_words = bm_packed_num_words(count, bits) * groups;
    const bm_packed_run column = {count, bits, 1 << (bits - 1), groups, groups};
    const bm_tensor_info *info = NULL;
    bm_status status = BM_OK;
    uint32_t *words = bm_alloc(num_words, sizeof *words);
    BM_FAIL_IF(!words, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_part_find(checkpoint, linear, ".weight_zero_point", &info, err));
    BM_TRY(
        bm_checkpoint_read(checkpoint, info, bm_packed_num_words(first, bits) * groups * 4, words, num_words * 4, err));
    bm_part_swap_words(words, num_words);
    for (uint64_t g = 0; g < groups; g++)
        bm_packed_decode(&column, words + g, out + g);
done:
    bm_free(words);
    return status;
}

bm_status bm_compressed_tensors_get_grid(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                                         uint64_t count, float *steps, int32_t *zero_points, bm_error *err)
{
    const uint64_t groups = bm_num_groups(linear->in_features, linear->grid.group_size);
    const bm_tensor_info *scale = NULL;
    bm_status status = BM_OK;
    if (bm_compressed_tensors_is_unpacked(linear))
        return bm_compressed_tensors_bytes_get_grid(checkpoint, linear, first, count, steps, zero_points, err);
    BM_TRY(bm_part_find(checkpoint, linear, ".weight_scale", &scale, err));
    BM_TRY(bm_part_read_scales(checkpoint, scale, first * groups, count * groups, steps, err));
    if (linear->grid.symmetric)
        memset(zero_points, 0, count * groups * sizeof *zero_points);
    else
        BM_TRY(get_zero_points(checkpoint, linear, first, count, groups, zero_points, err));
done:
    return status;
}

bm_status bm_compressed_tensors_get(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                                    bm_store_rows *rows, bm_error *err)
{
    const uint64_t count = rows->count, row = bm_packed_num_words(linear->in_features, linear->grid.bits);
    const bm_tensor_info *packed = NULL;
    bm_status status = BM_OK;
    if (bm_compressed_tensors_is_unpacked(linear))
        return bm_compressed_tensors_bytes_get(checkpoint, linear, first, rows, err);
    BM_TRY(bm_part_find(checkpoint, linear, ".weight_packed", &packed, err));
    BM_TRY(bm_checkpoint_read(checkpoint, packed, first * row * 4, rows->packed, count * row * 4, err));
    bm_part_swap_words(rows->packed, count * row);
    BM_TRY(bm_compressed_tensors_get_grid(checkpoint, linear, first, count, rows->steps, rows->zero_points, err));
    BM_TRY(bm_compressed_tensors_get_group_index(checkpoint, linear, &rows->group_index, err));
done:
    return status;
}
