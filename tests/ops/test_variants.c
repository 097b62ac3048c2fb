// Variants by name: which there are, what the words do, the file of a tuning, and tuning itself. Argument: the device.
#include "support/unit.h"

#include "base/file.h"
#include "ops/tune.h"
#include "ops/variants.h"
#include "support/folders.h"
#include "support/support.h"

#include <stdio.h>
#include <string.h>

static bm_device *device;
static support_log test_log;

static void ask(const char *words)
{
    bm_error err = {0};
    assert_ok(bm_device_set_variants(device, words, &err), &err);
}

static void every_name_is_taken_where_it_is_asked_for(void **state)
{
    (void)state;
    bm_error err = {0};
    char words[64];
    for (uint32_t k = 0; k < BM_NUM_VARIANT_SETS; k++) {
        const bm_variant_set *set = &bm_variant_sets[k];
        ask("");
        const char *usual = set->chosen(device);
        uint32_t count = 0;
        bool has_usual = false;
        for (; set->name(device, count); count++) {
            const char *name = set->name(device, count);
            has_usual |= strcmp(name, usual) == 0;
            snprintf(words, sizeof words, "%s=%s", set->kernel, name);
            ask(words);
            assert_ok(bm_variants_check(device, &err), &err);
            assert_string_equal(set->chosen(device), name);
        }
        assert_true(count >= 1 && has_usual);
        snprintf(words, sizeof words, "%s=auto", set->kernel);
        ask(words);
        assert_ok(bm_variants_check(device, &err), &err);
        assert_string_equal(set->chosen(device), usual);
    }
    ask("gemm=generic,attention=plain");
    assert_ok(bm_variants_check(device, &err), &err);
    assert_string_equal(bm_variant_sets[0].chosen(device), "generic");
    assert_string_equal(bm_variant_sets[1].chosen(device), "plain");
    ask("");
}

static void wrong_words_are_named(void **state)
{
    (void)state;
    static const char *const wrong[] = {"gemm",        "=",          "gemm=",          "gemm=nonsense",
                                        "gem=generic", "norm=plain", "gemm=generic,x", "attention=generic",
                                        ",",           "gemm=autox", "gemm==generic",  "attention=plain,gemm=auto2"};
    for (size_t i = 0; i < BM_COUNT(wrong); i++) {
        bm_error err = {0};
        ask(wrong[i]);
        assert_int_equal(bm_variants_check(device, &err), BM_E_ARGUMENT);
        assert_non_null(strstr(err.message, "variant \""));
        assert_int_equal(bm_variants_settle(device, true, &err), BM_E_ARGUMENT);
        assert_string_equal(bm_device_variants(device), wrong[i]);
        assert_ok(bm_variants_settle(device, false, &err), &err); // as if a tuning file said so: left aside
        assert_string_equal(bm_device_variants(device), "");
    }
}

static bm_device *open_again(const char *cache_folder, const char *variants)
{
    bm_error err = {0};
    bm_device *again = NULL;
    bm_device_params params;
    bm_device_params_init(&params);
    params.spec = bm_device_get_info(device)->spec;
    params.cache_folder = cache_folder;
    params.variants = variants;
    assert_ok(bm_device_open(&again, &params, &err), &err);
    return again;
}

static void expect_at_opening(const char *cache_folder, const char *variants, const char *expected)
{
    bm_device *again = open_again(cache_folder, variants);
    assert_string_equal(bm_device_variants(again), expected);
    bm_device_close(&again);
}

static void a_tuning_is_found_again(void **state)
{
    (void)state;
    static const char *const strange[] = {"gemm=Tile", "gemm=a\nb=c", "\x01", "{}", "gemm=\xff"};
    bm_error err = {0};
    char *folder = support_folder_create();
    bm_device *writer = open_again(folder, "");
    assert_ok(bm_tuning_write(writer, "gemm=generic,attention=plain", &err), &err);
    char *path = bm_tuning_path(writer);
    bm_device_close(&writer);
    expect_at_opening(folder, NULL, "gemm=generic,attention=plain");
    expect_at_opening(folder, "", ""); // what the caller says wins, even when it says nothing
    expect_at_opening(folder, "gemm=auto", "gemm=auto");
    for (size_t i = 0; i < BM_COUNT(strange); i++) {
        assert_ok(bm_file_write_all(path, strange[i], strlen(strange[i]), &err), &err);
        expect_at_opening(folder, NULL, "");
    }
    assert_ok(bm_file_write_all(path, "", 0, &err), &err);
    expect_at_opening(folder, NULL, "");
    char *large = bm_alloc(5000, 1);
    assert_non_null(large);
    memset(large, 'a', 5000);
    assert_ok(bm_file_write_all(path, large, 5000, &err), &err);
    expect_at_opening(folder, NULL, "");
    bm_free(large);
    bm_free(path);
    support_folder_remove(&folder);

    bm_device *homeless = open_again(NULL, NULL);
    assert_null(bm_tuning_path(homeless));
    assert_int_equal(bm_tuning_write(homeless, "gemm=generic", &err), BM_E_IO);
    bm_device_close(&homeless);
}

int main(int argc, char **argv)
{
    bm_error err = {0};
    support_log_init(&test_log);
    if (argc != 2 || support_device_open(argv[1], &test_log, &device, &err) != BM_OK) {
        fprintf(stderr, "usage: test_variants SPEC\n%s\n", err.message);
        return 1;
    }
    if (!device)
        return SUPPORT_SKIP;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_is_taken_where_it_is_asked_for),
        cmocka_unit_test(wrong_words_are_named),
        cmocka_unit_test(a_tuning_is_found_again),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    bm_device_close(&device);
    return failed != 0 || test_log.num_complaints != 0;
}
