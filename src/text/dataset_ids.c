// One line of token ids: {"input_ids": [1, 45, 7]}, as tokenized data sets hold them.
//
// They are taken as they are, so a line must hold no padding.
#include "text/dataset_internal.h"

#define LARGEST_ID ((double)INT32_MAX)

// The list of integers from low to high that key has, appended to out. expected says in words what each must be.
static bm_status read_list(const bm_json *line, const char *key, double low, double high, const char *expected,
                           const char *where, bm_token_list *out, bm_error *err)
{
    char found[BM_JSON_FOUND_SIZE];
    uint64_t number = 0;
    const bm_json *list = bm_json_find(line, key);
    if (bm_json_kind_of(list) != BM_JSON_ARRAY)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": expected a list of integers, found %s", where, key,
                       bm_json_found(list, found, sizeof found));
    if (!bm_json_first(list))
        return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": expected a list of integers, found an empty one", where, key);
    for (const bm_json *item = bm_json_first(list); item; item = bm_json_next(item)) {
        number++;
        const bool is_good = bm_json_is_integer(item) && bm_json_number(item) >= low && bm_json_number(item) <= high;
        const uint32_t id = is_good ? (uint32_t)bm_json_number(item) : 0;
        if (!is_good)
            return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": element %llu: expected %s, found %s", where, key,
                           (unsigned long long)number, expected, bm_json_found(item, found, sizeof found));
        if (!bm_token_list_append(out, &id, 1))
            return bm_fail(err, BM_E_MEMORY, "%s: out of memory for the ids", where);
    }
    return BM_OK;
}

bm_status dataset_read_ids(const bm_json *line, const char *where, bm_token_list *out, bm_error *err)
{
    const size_t start = out->count;
    bm_status status = BM_OK;
    bm_token_list mask = BM_TOKEN_LIST_INIT;
    BM_TRY(read_list(line, "input_ids", 0, LARGEST_ID, "an integer from 0 to 2147483647", where, out, err));
    if (!bm_json_find(line, "attention_mask"))
        return BM_OK;
    BM_TRY(read_list(line, "attention_mask", 1, 1, "1 (padding is not read: leave it out)", where, &mask, err));
    BM_FAIL_IF(mask.count != out->count - start, err, BM_E_FORMAT,
               "%s: key \"attention_mask\": expected %zu elements, as \"input_ids\" has, found %zu", where,
               out->count - start, mask.count);
done:
    bm_token_list_free(&mask);
    return status;
}
