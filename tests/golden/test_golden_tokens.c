// Ids of a page of mixed text, and the text of ids, against the tokenizers package.
#include "golden/golden.h"
#include "support/folders.h"
#include "text/tokenizer.h"

#include <string.h>

static void check_ids(const bm_json *file, const bm_tokenizer *tokenizer, const char *key, bool special)
{
    bm_error err = {0};
    bm_token_list got = BM_TOKEN_LIST_INIT;
    const char *text = golden_text(file, "text");
    uint32_t count;
    uint32_t *want = golden_ids(file, key, &count);
    assert_ok(bm_tokenizer_encode(tokenizer, text, strlen(text), special, &got, &err), &err);
    for (uint32_t i = 0; i < count && i < got.count; i++)
        if (got.ids[i] != want[i])
            fail_msg("%s: id %u is %u, want %u", key, i, got.ids[i], want[i]);
    assert_int_equal(got.count, count);
    bm_token_list_free(&got);
    bm_free(want);
}

static void check_text(const bm_json *file, const bm_tokenizer *tokenizer, const char *ids_key, bool skip_special,
                       const char *text_key)
{
    bm_error err = {0};
    bm_string got = BM_STRING_INIT;
    uint32_t count;
    uint32_t *ids = golden_ids(file, ids_key, &count);
    assert_ok(bm_tokenizer_decode(tokenizer, ids, count, skip_special, &got, &err), &err);
    assert_string_equal(bm_string_text(&got), golden_text(file, text_key));
    bm_string_free(&got);
    bm_free(ids);
}

static void check_tokenizer(const bm_json *file, const char *folder)
{
    bm_error err = {0};
    bm_tokenizer *tokenizer = NULL;
    assert_ok(bm_tokenizer_open(&tokenizer, folder, &err), &err);
    check_ids(file, tokenizer, "ids", true);
    check_ids(file, tokenizer, "ids_without_special", false);
    check_text(file, tokenizer, "ids", true, "decoded");
    check_text(file, tokenizer, "drawn_ids", true, "drawn");
    check_text(file, tokenizer, "drawn_ids", false, "drawn_with_special");
    bm_tokenizer_close(&tokenizer);
}

static void the_example_tokenizer(void **state)
{
    (void)state;
    bm_json *file = golden_open("tokens-example");
    check_tokenizer(file, BM_SOURCE_DIR "/examples/model");
    bm_json_destroy(&file);
}

static void check_made(const char *name)
{
    bm_error err = {0};
    bm_json *file = golden_open(name);
    char *folder = support_folder_create();
    const model_maker_params params = golden_params(file);
    assert_ok(model_maker_write_tokenizer(&params, folder, &err), &err);
    check_tokenizer(file, folder);
    support_folder_remove(&folder);
    bm_json_destroy(&file);
}

static void byte_fallback(void **state)
{
    (void)state;
    check_made("tokens-byte-fallback");
}

static void unknown_characters(void **state)
{
    (void)state;
    check_made("tokens-characters");
}

static void byte_level(void **state)
{
    (void)state;
    check_made("tokens-byte-level");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_tokenizer),
        cmocka_unit_test(byte_fallback),
        cmocka_unit_test(unknown_characters),
        cmocka_unit_test(byte_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
