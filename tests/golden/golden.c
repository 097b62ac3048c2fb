#include "golden/golden.h"

#include "base/file.h"

bm_json *golden_open(const char *name)
{
    bm_error err = {0};
    bm_json *root = NULL;
    char *path = bm_format(BM_SOURCE_DIR "/tests/golden/%s.json", name);
    assert_ok(bm_json_read_file(&root, path, 1 << 20, &err), &err);
    bm_free(path);
    return root;
}

const bm_json *golden_find(const bm_json *object, const char *key)
{
    const bm_json *value = bm_json_find(object, key);
    if (!value)
        fail_msg("no key \"%s\"", key);
    return value;
}

double golden_number(const bm_json *object, const char *key)
{
    const bm_json *value = golden_find(object, key);
    assert_int_equal(bm_json_kind_of(value), BM_JSON_NUMBER);
    return bm_json_number(value);
}

const char *golden_text(const bm_json *object, const char *key)
{
    const bm_json *value = golden_find(object, key);
    assert_int_equal(bm_json_kind_of(value), BM_JSON_STRING);
    return bm_json_string(value);
}

uint32_t *golden_ids(const bm_json *object, const char *key, uint32_t *count)
{
    const bm_json *list = golden_find(object, key);
    uint32_t *ids, i = 0;
    *count = bm_json_count(list);
    assert_int_not_equal(*count, 0);
    ids = bm_alloc(*count, sizeof *ids);
    for (const bm_json *id = bm_json_first(list); id; id = bm_json_next(id)) {
        assert_true(bm_json_is_integer(id));
        ids[i++] = (uint32_t)bm_json_number(id);
    }
    return ids;
}

model_maker_params golden_params(const bm_json *file)
{
    model_maker_params params;
    model_maker_params_init(&params);
    for (const bm_json *word = bm_json_first(golden_find(file, "model")); word; word = bm_json_next(word))
        if (!model_maker_set(&params, bm_json_string(word)))
            fail_msg("\"%s\": the model maker does not take it", bm_json_string(word));
    return params;
}
