// The look at every weight for NaN and infinity.
#include "formats/checkpoint.h"

#include <string.h>

// Whether one of count elements is NaN or infinite: has all bits of its exponent set. Those lie in its last two bytes, in
// every real type; exponent holds them as they lie in the file, so the machine's byte order does not matter. In blocks and
// without a branch an element, because every weight of a model passes here.
static bool any_not_finite(const uint8_t *bytes, uint64_t count, uint32_t words_each, const uint8_t exponent[2])
{
    enum { BLOCK = 8192 };
    uint16_t mask, words[BLOCK];
    uint32_t found = 0;
    memcpy(&mask, exponent, sizeof mask);
    for (uint64_t first = 0, all = count * words_each; first < all && !found; first += BLOCK) {
        const uint32_t n = (uint32_t)bm_min_u64(BLOCK, all - first);
        memcpy(words, bytes + first * sizeof *words, n * sizeof *words);
        for (uint32_t i = words_each - 1; i < n; i += words_each)
            found |= (words[i] & mask) == mask;
    }
    return found != 0;
}

bool bm_are_finite(const uint8_t *bytes, uint64_t count, bm_dtype dtype)
{
    switch ((int)dtype) {
    case BM_DTYPE_F16:
        return !any_not_finite(bytes, count, 1, (const uint8_t[]){0x00, 0x7c});
    case BM_DTYPE_BF16:
        return !any_not_finite(bytes, count, 1, (const uint8_t[]){0x80, 0x7f});
    case BM_DTYPE_F32:
        return !any_not_finite(bytes, count, 2, (const uint8_t[]){0x80, 0x7f});
    default:
        return true;
    }
}

bm_status bm_checkpoint_check_finite(const bm_tensor_info *info, const uint8_t *bytes, uint64_t first, uint64_t count,
                                     bm_error *err)
{
    const uint32_t size = bm_dtype_size(info->dtype);
    if (bm_are_finite(bytes, count, info->dtype))
        return BM_OK;
    for (uint64_t i = 0; i < count; i++) // which one?
        if (!bm_are_finite(bytes + i * size, 1, info->dtype))
            return bm_fail(
                err, BM_E_FORMAT, "%s: tensor \"%s\": NaN or infinity at element %llu, expected finite weights",
                bm_checkpoint_file_name(info), bm_checkpoint_tensor_name(info), (unsigned long long)(first + i));
    return BM_OK;
}
