// What rows of the table have in common.
#include "store/part.h"

#include "base/half.h"

#include <stdio.h>

const char *bm_part_name(const bm_store_linear *linear, const char *suffix, char name[BM_STORE_NAME_SIZE])
{
    snprintf(name, BM_STORE_NAME_SIZE, "%s%s", linear->module, suffix);
    return name;
}

bm_status bm_part_find(const bm_checkpoint *checkpoint, const bm_store_linear *linear, const char *suffix,
                       const bm_tensor_info **out, bm_error *err)
{
    char name[BM_STORE_NAME_SIZE];
    *out = bm_checkpoint_find(checkpoint, bm_part_name(linear, suffix, name));
    return *out ? BM_OK : bm_fail(err, BM_E_FORMAT, "tensor \"%s\" is missing", name);
}

void bm_part_swap_words(uint32_t *words, uint64_t count)
{
    const uint32_t one = 1;
    for (uint64_t i = 0; i < count && bm_load_le32(&one) != one; i++)
        bm_store_le32(&words[i], words[i]); // its own inverse; where they are the same, it shows in the time
}

// A negative scale turns the order of its group's weights round, as some writers want it; 0 stands for a group of zeros.
bm_status bm_part_read_scales(bm_checkpoint *checkpoint, const bm_tensor_info *info, uint64_t first, uint64_t count,
                              float *out, bm_error *err)
{
    const uint64_t size = bm_dtype_size(info->dtype);
    bm_status status = BM_OK;
    uint8_t *bytes = bm_alloc(count, size);
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_checkpoint_read(checkpoint, info, first * size, bytes, count * size, err));
    BM_TRY(bm_checkpoint_check_finite(info, bytes, first, count, err));
    for (uint64_t i = 0; i < count; i++)
        out[i] = bm_load_real(bytes, info->dtype, i);
done:
    bm_free(bytes);
    return status;
}

bm_status bm_part_put_group_index(bm_checkpoint_writer *writer, const bm_store_linear *linear, const char *suffix,
                                  const bm_store_rows *rows, bm_error *err)
{
    const uint64_t cols = linear->in_features;
    char name[BM_STORE_NAME_SIZE];
    uint32_t *words = bm_alloc(cols, sizeof *words);
    if (!words)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint64_t c = 0; c < cols; c++)
        bm_store_le32(&words[c], rows->group_index ? rows->group_index[c] : (uint32_t)(c / linear->grid.group_size));
    const bm_status status =
        bm_checkpoint_writer_put(writer, bm_part_name(linear, suffix, name), 0, words, cols * sizeof *words, err);
    bm_free(words);
    return status;
}

bm_status bm_part_get_group_index(bm_checkpoint *checkpoint, const bm_store_linear *linear, const char *suffix,
                                  bool may_be_unused, uint32_t **out, bm_error *err)
{
    const uint64_t cols = linear->in_features;
    const int64_t groups = bm_num_groups(cols, linear->grid.group_size);
    bm_status status = BM_OK;
    const bm_tensor_info *info = NULL;
    bool is_plain = true, is_unused = false;
    uint64_t negative = cols; // an element that counts groups from the last
    uint32_t *index = bm_alloc(cols, sizeof *index), *members = bm_alloc_zero((uint64_t)groups, sizeof *members);
    *out = NULL;
    BM_FAIL_IF(!index || !members, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_part_find(checkpoint, linear, suffix, &info, err));
    BM_TRY(bm_checkpoint_read(checkpoint, info, 0, index, cols * sizeof *index, err));
    bm_part_swap_words(index, cols);
    for (uint64_t c = 0; c < cols; c++) {
        const int64_t found = (int32_t)index[c], group = found < 0 ? found + groups : found;
        is_unused = is_unused || (may_be_unused && found == -1);
        BM_FAIL_IF(group < 0 || group >= groups, err, BM_E_FORMAT,
                   "%s: tensor \"%s\": found group %lld at element %llu, expected 0 to %lld",
                   bm_checkpoint_file_name(info), info->name, (long long)found, (unsigned long long)c,
                   (long long)groups - 1);
        negative = found < 0 ? c : negative;
        index[c] = (uint32_t)group;
        members[group]++;
        is_plain = is_plain && index[c] == c / linear->grid.group_size;
    }
    // A group of more inputs than its scale was made for: another model's index, or none that was filled in.
    for (int64_t g = 0; g < groups && !is_unused; g++) {
        char counted[64] = "";
        if (negative < cols && index[negative] == g)
            snprintf(counted, sizeof counted, " (%lld at element %llu counts from the last)", (long long)(g - groups),
                     (unsigned long long)negative);
        BM_FAIL_IF(members[g] > linear->grid.group_size, err, BM_E_FORMAT,
                   "%s: tensor \"%s\": found %u inputs in group %lld%s, expected at most the group_size %u",
                   bm_checkpoint_file_name(info), info->name, members[g], (long long)g, counted,
                   linear->grid.group_size);
    }
    if (!is_plain && !is_unused) {
        *out = index;
        index = NULL;
    }
done:
    bm_free(index);
    bm_free(members);
    return status;
}
