// Reading a linear of an AWQ checkpoint: columns of its tensors, turned back.
#include "store/awq_config.h"

#include "base/str.h"
#include "store/awq_words.h"
#include "store/part.h"
#include "store/turned.h"

#include <stdio.h>
#include <string.h>

// AutoAWQ scales the inputs of bloom's last linear where nothing before it takes the factors: behind the activation, which
// then has a tensor of its own.
bm_status bm_awq_check_values(bm_checkpoint *checkpoint, const bm_store_linear *linear, bm_error *err)
{
    static const char reader[] = ".dense_4h_to_h", scales[] = ".gelu_impl.scales";
    char name[BM_STORE_NAME_SIZE];
    if (!bm_ends_with(linear->module, reader))
        return BM_OK;
    snprintf(name, sizeof name, "%.*s%s", (int)(strlen(linear->module) - strlen(reader)), linear->module, scales);
    const bm_tensor_info *info = bm_checkpoint_find(checkpoint, name);
    return info ? bm_fail(err, BM_E_UNSUPPORTED, "%s: tensor \"%s\": factors of an activation are not built",
                          bm_checkpoint_file_name(info), info->name)
                : BM_OK;
}

// Words of outputs first .. first + count - 1 in one row of a tensor.
static bm_status read_words(bm_checkpoint *checkpoint, const bm_tensor_info *info, const bm_store_linear *linear,
                            uint64_t row, uint64_t first, uint64_t count, uint32_t *words, bm_error *err)
{
    const uint64_t at = (row * linear->out_features + first) / BM_AWQ_OUTPUTS, num_words = count / BM_AWQ_OUTPUTS;
    const bm_status status =
        bm_checkpoint_read(checkpoint, info, at * sizeof *words, words, num_words * sizeof *words, err);
    if (status == BM_OK)
        bm_part_swap_words(words, num_words);
    return status;
}

// packed is [count, inputs / 8]: its fields are those of the file, in words of eight inputs.
static bm_status get_codes(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, uint64_t count,
                           uint32_t *packed, bm_error *err)
{
    const uint64_t cols = linear->in_features, num_words = bm_divide_up(cols, 8);
    const bm_tensor_info *info = NULL;
    bm_status status = BM_OK;
    uint32_t fields[BM_AWQ_OUTPUTS];
    uint32_t *words = bm_alloc(count / BM_AWQ_OUTPUTS, sizeof *words);
    BM_FAIL_IF(!words, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_part_find(checkpoint, linear, ".qweight", &info, err));
    memset(packed, 0, count * num_words * sizeof *packed);
    for (uint64_t k = 0; k < cols; k++) {
        BM_TRY(read_words(checkpoint, info, linear, k, first, count, words, err));
        for (uint64_t n = 0; n < count; n++) {
            if (n % BM_AWQ_OUTPUTS == 0)
                bm_awq_decode(words[n / BM_AWQ_OUTPUTS], fields);
            packed[n * num_words + k / 8] |= fields[n % BM_AWQ_OUTPUTS] << 4 * (k % 8);
        }
    }
done:
    bm_free(words);
    return status;
}

static bm_status check_zero_point(const bm_tensor_info *info, const bm_store_linear *linear, uint64_t output,
                                  uint64_t group, int32_t zero_point, bm_error *err)
{
    if (!linear->grid.symmetric || zero_point == 0)
        return BM_OK;
    return bm_fail(err, BM_E_FORMAT,
                   "%s: tensor \"%s\": found zero point %d of output %llu in group %llu, expected %d: config.json says "
                   "\"zero_point\": false",
                   bm_checkpoint_file_name(info), info->name, zero_point + BM_AWQ_HALF, (unsigned long long)output,
                   (unsigned long long)group, BM_AWQ_HALF);
}

static bm_status get_zero_points(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                                 uint64_t count, uint64_t groups, int32_t *out, bm_error *err)
{
    const bm_tensor_info *info = NULL;
    bm_status status = BM_OK;
    uint32_t fields[BM_AWQ_OUTPUTS];
    uint32_t *words = bm_alloc(count / BM_AWQ_OUTPUTS, sizeof *words);
    BM_FAIL_IF(!words, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_part_find(checkpoint, linear, ".qzeros", &info, err));
    for (uint64_t g = 0; g < groups; g++) {
        BM_TRY(read_words(checkpoint, info, linear, g, first, count, words, err));
        for (uint64_t n = 0; n < count; n++) {
            if (n % BM_AWQ_OUTPUTS == 0)
                bm_awq_decode(words[n / BM_AWQ_OUTPUTS], fields);
            out[n * groups + g] = (int32_t)fields[n % BM_AWQ_OUTPUTS] - BM_AWQ_HALF;
            BM_TRY(check_zero_point(info, linear, first + n, g, out[n * groups + g], err));
        }
    }
done:
    bm_free(words);
    return status;
}

bm_status bm_awq_get_grid(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, uint64_t count,
                          float *steps, int32_t *zero_points, bm_error *err)
{
    const uint64_t groups = bm_num_groups(linear->in_features, linear->grid.group_size);
    const bm_status status = bm_turned_get_scales(checkpoint, linear, first, count, groups, steps, err);
    return status == BM_OK ? get_zero_points(checkpoint, linear, first, count, groups, zero_points, err) : status;
}

bm_status bm_awq_get(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, bm_store_rows *rows,
                     bm_error *err)
{
    const bm_status status = get_codes(checkpoint, linear, first, rows->count, rows->packed, err);
    return status == BM_OK
               ? bm_awq_get_grid(checkpoint, linear, first, rows->count, rows->steps, rows->zero_points, err)
               : status;
}
