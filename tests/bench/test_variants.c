// Variants by name: which there are, what the words do, the file of a tuning, and tuning itself. Argument: the device.
#include "support/unit.h"

#include "base/file.h"
#include "bench/tune.h"
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
            assert_ok(bm_variants_resolve(device, &err), &err);
            if (strcmp(name, "split") != 0) // for few tokens alone: others are chosen as ever
                assert_string_equal(set->chosen(device), name);
        }
        assert_true(count >= 1 && has_usual);
        snprintf(words, sizeof words, "%s=auto", set->kernel);
        ask(words);
        assert_ok(bm_variants_resolve(device, &err), &err);
        assert_string_equal(set->chosen(device), usual);
    }
    ask("gemm=generic,attention=plain,gemm_int8=generic");
    assert_ok(bm_variants_resolve(device, &err), &err);
    assert_string_equal(bm_variant_sets[0].chosen(device), "generic");
    assert_string_equal(bm_variant_sets[1].chosen(device), "plain");
    assert_string_equal(bm_variant_sets[2].chosen(device), "generic");
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
        assert_int_equal(bm_variants_resolve(device, &err), BM_E_ARGUMENT);
        assert_non_null(strstr(err.message, "variant \""));
        assert_string_equal(bm_device_variants(device), wrong[i]);
    }
    ask("");
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

// What a device opened with these words, and resolved, would use; "-": no word is left. None is of gemm_int8.
static void expect_choices(const char *cache_folder, const char *variants, const char *gemm, const char *attention)
{
    const char *const wanted[] = {gemm, attention, "-"};
    bm_error err = {0};
    bm_device *again = open_again(cache_folder, variants);
    assert_ok(bm_variants_resolve(again, &err), &err);
    for (uint32_t k = 0; k < BM_NUM_VARIANT_SETS; k++) {
        char name[32] = "-";
        (void)bm_device_variant(again, bm_variant_sets[k].kernel, name, sizeof name);
        assert_string_equal(name, wanted[k]);
    }
    bm_device_close(&again);
}

static void a_tuning_is_found_again(void **state)
{
    (void)state;
    static const char *const strange[] = {"gemm=Tile", "gemm=a\nb=c", "\x01", "{}", "gemm=\xff",
                                          "",          "gemm=nosuch", "a"};
    bm_error err = {0};
    char *folder = support_folder_create();
    bm_device *writer = open_again(folder, NULL);
    assert_ok(bm_tuning_write(writer, "gemm=generic,attention=plain", &err), &err);
    char *path = bm_tuning_path(writer);
    bm_device_close(&writer);
    expect_choices(folder, NULL, "generic", "plain");
    expect_choices(folder, "gemm=auto", "auto", "plain"); // the caller's word wins, for that kernel alone
    expect_choices(folder, "gemm=auto,gemm=generic,attention=auto", "generic", "auto"); // and the last one
    for (size_t i = 0; i < BM_COUNT(strange); i++) {
        assert_ok(bm_file_write_all(path, strange[i], strlen(strange[i]), &err), &err);
        expect_choices(folder, NULL, "-", "-");
        expect_choices(folder, "gemm=generic", "generic", "-");
    }
    char *large = bm_alloc(5000, 1);
    assert_non_null(large);
    memset(large, 'a', 5000);
    assert_ok(bm_file_write_all(path, large, 5000, &err), &err);
    expect_choices(folder, NULL, "-", "-");
    bm_free(large);
    bm_free(path);
    support_folder_remove(&folder);

    bm_device *homeless = open_again(NULL, NULL);
    assert_null(bm_tuning_path(homeless));
    assert_int_equal(bm_tuning_write(homeless, "gemm=generic", &err), BM_E_IO);
    bm_device_close(&homeless);
}

typedef struct reports {
    uint32_t count, num_problems;
    double best[BM_NUM_VARIANT_SETS];
    char name[BM_NUM_VARIANT_SETS][32];
    uint32_t stop_after; // 0: never
} reports;
static reports seen;

static void note(void *user, const char *kernel, const char *variant, double seconds, const char *problem)
{
    (void)user;
    uint32_t k = 0;
    while (k < BM_NUM_VARIANT_SETS && strcmp(kernel, bm_variant_sets[k].kernel) != 0)
        k++;
    assert_true(k < BM_NUM_VARIANT_SETS);
    seen.count++;
    seen.num_problems += problem != NULL;
    if (!problem && (seen.name[k][0] == '\0' || seconds < seen.best[k])) {
        seen.best[k] = seconds;
        snprintf(seen.name[k], sizeof seen.name[k], "%s", variant);
    }
}

static bool is_enough(void)
{
    return seen.stop_after > 0 && seen.count >= seen.stop_after;
}

// Every variant is measured but that of few tokens, the fastest of each kernel is kept.
static void tuning_keeps_the_fastest(void **state)
{
    (void)state;
    static const bm_benchmark_shape small[] = {{"small", 16, 64, 48}, {"one row", 1, 64, 48}};
    const bm_tune_params params = {
        .dtype = BM_DTYPE_F32, .shapes = small, .num_shapes = 2, .stop = is_enough, .report = note};
    bm_error err = {0};
    bm_string words = BM_STRING_INIT;
    char expected[128];
    uint32_t count = 0;
    if (bm_device_is_host(device) || support_is_instrumented())
        skip(); // attention at its size takes minutes there
    seen = (reports){0};
    assert_ok(bm_tune(device, &params, &words, &err), &err);
    for (uint32_t k = 0; k < BM_NUM_VARIANT_SETS; k++)
        for (uint32_t i = 0; bm_variant_sets[k].name(device, i); i++)
            count += strcmp(bm_variant_sets[k].name(device, i), "split") != 0;
    if (bm_device_kind_is_gpu(bm_device_get_info(device)->kind)) // which may have some for other types, and mix two
        assert_in_range(seen.count, BM_NUM_VARIANT_SETS, count + BM_NUM_VARIANT_SETS);
    else
        assert_int_equal(seen.count, count);
    snprintf(expected, sizeof expected, "gemm=%s,attention=%s,gemm_int8=%s", seen.name[0], seen.name[1], seen.name[2]);
    assert_string_equal(words.data, expected);
    assert_string_equal(bm_device_variants(device), expected);
    bm_string_free(&words);

    seen = (reports){.stop_after = 1};
    assert_int_equal(bm_tune(device, &params, &words, &err), BM_E_CANCELLED);
    assert_true(seen.count >= 1 && seen.count < count); // with those that were left behind
    bm_string_free(&words);
    ask("");
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
        cmocka_unit_test(tuning_keeps_the_fastest),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    bm_device_close(&device);
    return failed != 0 || test_log.num_complaints != 0;
}
