// Verdicts that are remembered beside a tuning: those of several processes are one file, starts that end in a comparison leave theirs,
// no more is written than is read, tables pass over what is switched off, and other kernels' verdicts are not these ones'.
#include "ops/first_use_fixture.h"

#include "base/file.h"
#include "base/str.h"
#include "device/backend.h"
#include "support/folders.h"

#include <stdio.h>
#include <string.h>

// What two processes found is in the file; where both have a word, the first one stays, but for a tuning's.
static void verdicts_of_several_processes_are_merged(void **state)
{
    (void)state;
    char *folder = support_folder_create();
    bm_device *one = open_again(folder, NULL), *other = open_again(folder, NULL);
    MUST(bm_device_set_verdict(one, "gemm", "x", BM_DTYPE_F16, BM_USE_MANY_TILES, BM_VERDICT_RIGHT, &failure));
    MUST(bm_device_set_verdict(one, "gemm", "y", BM_DTYPE_F16, BM_USE_MANY_TILES, BM_VERDICT_RIGHT, &failure));
    MUST(bm_device_set_verdict(other, "gemm", "x", BM_DTYPE_F16, BM_USE_MANY_TILES, BM_VERDICT_SLOWER, &failure));
    MUST(bm_device_set_verdict(other, "gemm", "z", BM_DTYPE_F16, BM_USE_MANY_TILES, BM_VERDICT_WRONG, &failure));
    MUST(bm_verdicts_write(one, &failure));
    MUST(bm_verdicts_write(other, &failure));
    assert_string_equal(other->verdicts, "gemm:x:F16:many=right,gemm:y:F16:many=right,gemm:z:F16:many=wrong");
    MUST(bm_device_set_verdict(one, "gemm", "y", BM_DTYPE_F16, BM_USE_MANY_TILES, BM_VERDICT_SLOWER, &failure));
    MUST(bm_tuning_write(one, "gemm=x", &failure));
    assert_string_equal(one->verdicts, "gemm:x:F16:many=right,gemm:y:F16:many=slower,gemm:z:F16:many=wrong");
    bm_device_close(&one);
    bm_device_close(&other);
    one = open_again(folder, NULL);
    assert_string_equal(one->verdicts, "gemm:x:F16:many=right,gemm:y:F16:many=slower,gemm:z:F16:many=wrong");
    bm_device_close(&one);
    support_folder_remove(&folder);
}

// What stands until another comparison is the file's, whoever writes it next, but for who began and ended that comparison.
static void what_others_compare_stays_in_the_file(void **state)
{
    (void)state;
    static const bm_verdict passing[] = {BM_VERDICT_TRIED, BM_VERDICT_UNTIMED, BM_VERDICT_TIMING};
    for (uint32_t i = 0; i < BM_COUNT(passing); i++) {
        char *folder = support_folder_create();
        bm_device *one = open_again(folder, NULL), *other = open_again(folder, NULL);
        char *words = bm_format("gemm:y:F16:many=right,gemm:x:F16:many=%s", bm_verdict_name(passing[i]));
        MUST(bm_device_set_verdict(one, "gemm", "x", BM_DTYPE_F16, BM_USE_MANY_TILES, passing[i], &failure));
        MUST(bm_verdicts_write(one, &failure));
        MUST(bm_device_set_verdict(other, "gemm", "y", BM_DTYPE_F16, BM_USE_MANY_TILES, BM_VERDICT_RIGHT, &failure));
        MUST(bm_verdicts_write(other, &failure));
        assert_string_equal(other->verdicts, words);
        MUST(bm_tuning_write(other, "gemm=x", &failure));
        assert_string_equal(other->verdicts, words);
        MUST(bm_device_set_verdict(one, "gemm", "x", BM_DTYPE_F16, BM_USE_MANY_TILES, BM_VERDICT_NONE, &failure));
        MUST(bm_verdicts_write(one, &failure)); // taken back
        assert_string_equal(one->verdicts, "gemm:y:F16:many=right");
        MUST(bm_verdicts_write(other, &failure)); // which has it still in memory
        assert_string_equal(other->verdicts, "gemm:y:F16:many=right");
        bm_free(words);
        bm_device_close(&one);
        bm_device_close(&other);
        support_folder_remove(&folder);
    }
}

// The file as it is while a variant is compared: what a driver leaves that crashes.
static char *left_file;
static uint64_t left_size;

static bool leaves_at_times; // else where outputs are compared

static bm_status leave(void *user, const bm_trial *trial, bm_error *err)
{
    if ((trial->size >= BM_TRIAL_LARGE) != leaves_at_times)
        return BM_OK;
    bm_free(left_file);
    left_file = NULL;
    return bm_file_read_all(user, 4096, &left_file, &left_size, err);
}

// The first start that does not end leaves the variant to another one, which ends it or does not: then it is as wrong.
static void what_was_tried_twice_is_wrong(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < BM_NUM_VARIANT_SETS; k++) {
        char *folder = support_folder_create(), name[64];
        bm_device *device = NULL;
        bm_comparison c = {0};
        for (uint32_t start = 0; start < 4; start++) { // three that crash, one that ends
            const uint32_t crashed = start < 2 ? start : 1;
            device = open_again(folder, NULL);
            c = comparison_of(device, &bm_variant_sets[k]);
            char *path = bm_tuning_path(device);
            bm_verdict verdict = BM_VERDICT_NONE;
            assert_int_equal(verdict_on(device, &c), crashed == 0 ? BM_VERDICT_NONE : BM_VERDICT_TRIED);
            assert_true(bm_device_may_use(device, c.set->kernel, c.variant, c.type, c.use));
            assert_int_equal(heard.warnings, 0);
            if (start < 3)
                c.also = leave, c.user = path;
            c.remembers = true;
            c.instead = c.variant;
            MUST(bm_compare_variants(device, &c, &verdict, &failure));
            assert_true(verdict == BM_VERDICT_RIGHT || verdict == BM_VERDICT_SLOWER);
            bm_device_close(&device);
            if (start < 3)
                MUST(bm_file_write_all(path, left_file, left_size, &failure));
            device = open_again(folder, NULL);
            if (start == 1 || start == 2) {
                assert_int_equal(verdict_on(device, &c), BM_VERDICT_TRIED_TWICE);
                assert_int_equal(heard.warnings, 1);
                assert_non_null(strstr(heard.last, "two starts ended while it was compared"));
                assert_false(bm_device_may_use(device, c.set->kernel, c.variant, c.type, c.use));
                MUST(bm_tuning_write(device, "gemm=auto", &failure)); // leaves it
                bm_device_close(&device);
                device = open_again(folder, NULL);
                assert_int_equal(verdict_on(device, &c), BM_VERDICT_TRIED_TWICE);
                MUST(
                    bm_device_set_verdict(device, c.set->kernel, c.variant, c.type, c.use, BM_VERDICT_TRIED, &failure));
                MUST(bm_verdicts_write(device, &failure)); // as after one, for the next turn
            } else {
                assert_int_equal(verdict_on(device, &c), start == 0 ? BM_VERDICT_TRIED : verdict);
                assert_int_equal(heard.warnings, 0);
            }
            bm_device_close(&device);
            bm_free(path);
        }
        snprintf(name, sizeof name, "%s=%s", c.set->kernel, c.variant);
        device = open_again(folder, name);
        MUST(bm_device_set_verdict(device, c.set->kernel, c.variant, c.type, c.use, BM_VERDICT_TRIED_TWICE, &failure));
        assert_true(bm_device_may_use(device, c.set->kernel, c.variant, c.type, c.use)); // as the caller wants
        bm_device_close(&device);
        support_folder_remove(&folder);
    }
    bm_free(left_file);
    left_file = NULL;
}

// Starts that end while times are taken say nothing against outputs that were right: they are not compared again, and behind the
// second one times are not taken any more either.
static void what_was_timed_twice_is_used_without(void **state)
{
    (void)state;
    leaves_at_times = true;
    for (uint32_t k = 0; k < BM_NUM_VARIANT_SETS; k++) {
        static const bm_verdict wanted[] = {BM_VERDICT_NONE, BM_VERDICT_TIMING, BM_VERDICT_TIMING_TWICE};
        char *folder = support_folder_create();
        for (uint32_t start = 0; start < BM_COUNT(wanted); start++) {
            bm_device *device = open_again(folder, NULL);
            bm_comparison c = comparison_of(device, &bm_variant_sets[k]);
            bm_variant_set set = *c.set;
            bm_verdict verdict = BM_VERDICT_NONE;
            char *path = bm_tuning_path(device);
            assert_int_equal(verdict_on(device, &c), wanted[start]);
            assert_true(bm_device_may_use(device, c.set->kernel, c.variant, c.type, c.use));
            assert_int_equal(heard.warnings, start == 2);
            assert_true(start < 2 || strstr(heard.last, "two starts ended while they were taken"));
            count_trials(&set, create_counted);
            c.set = &set;
            c.also = leave, c.user = path;
            c.remembers = true;
            c.instead = c.variant;
            if (start < 2) {
                MUST(bm_compare_variants(device, &c, &verdict, &failure));
                assert_int_equal(trials_made == 2, start == 1); // those for times alone
            }
            bm_device_close(&device);
            if (start < 2)
                MUST(bm_file_write_all(path, left_file, left_size, &failure));
            bm_free(path);
        }
        support_folder_remove(&folder);
    }
    leaves_at_times = false;
    bm_free(left_file);
    left_file = NULL;
}

// What would not be read again is not written.
static void more_than_is_read_is_not_written(void **state)
{
    (void)state;
    char *folder = support_folder_create(), *text = NULL;
    bm_device *device = open_again(folder, NULL);
    char *path = bm_tuning_path(device);
    uint64_t size = 0;
    uint32_t count = 0;
    bm_status status = BM_OK;
    while (status == BM_OK && count < 1000) {
        char name[16];
        snprintf(name, sizeof name, "x-%u", count);
        MUST(bm_device_set_verdict(device, "gemm", name, BM_DTYPE_F16, BM_USE_MANY_TILES, BM_VERDICT_RIGHT, &failure));
        status = bm_verdicts_write(device, &failure);
        count += status == BM_OK;
    }
    assert_int_equal(status, BM_E_IO);
    assert_non_null(strstr(failure.message, "bytes, expected at most 4096"));
    failure = (bm_error){0};
    MUST(bm_file_read_all(path, 4096, &text, &size, &failure));
    assert_true(size > 4096 - 32); // all but the last
    bm_device_close(&device);
    device = open_again(folder, NULL);
    assert_int_equal(bm_device_verdict(device, "gemm", "x-0", BM_DTYPE_F16, BM_USE_MANY_TILES), BM_VERDICT_RIGHT);
    assert_int_equal(heard.warnings, 0);
    bm_device_close(&device);
    bm_free(text);
    bm_free(path);
    support_folder_remove(&folder);
}

// Tables pass over what is switched off, for that type alone.
static void tables_pass_over_what_is_switched_off(void **state)
{
    (void)state;
    bm_device *device = open_again(NULL, NULL);
    const char *usual = bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).name;
    const char *usual_bfloat16 = bm_gemm_choose_for(device, BM_DTYPE_BF16, BM_DTYPE_BF16, BM_USE_MANY_TILES).name;
    const char *codes = bm_gemm_int8_choose(device).name;
    const bool has_others = strcmp(usual, "generic") != 0;
    MUST(bm_device_set_verdict(device, "gemm", usual, BM_DTYPE_F16, BM_USE_MANY_TILES, BM_VERDICT_RIGHT, &failure));
    assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).name, usual);
    for (bm_verdict verdict = BM_VERDICT_SLOWER; verdict <= BM_VERDICT_WRONG; verdict++) {
        MUST(bm_device_set_verdict(device, "gemm", usual, BM_DTYPE_F16, BM_USE_MANY_TILES, verdict, &failure));
        MUST(bm_device_set_verdict(device, "gemm_int8", codes, BM_DTYPE_I8, BM_USE_MANY_TILES, verdict, &failure));
        assert_int_equal(
            strcmp(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).name, usual) != 0,
            has_others);
        assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_BF16, BM_DTYPE_BF16, BM_USE_MANY_TILES).name,
                            usual_bfloat16);
        assert_int_equal(strcmp(bm_gemm_int8_choose(device).name, codes) != 0, strcmp(codes, "generic") != 0);
    }
    assert_int_equal(bm_device_verdict(device, "gemm", usual, BM_DTYPE_F16, BM_USE_MANY_TILES),
                     BM_VERDICT_WRONG); // the last one
    bm_device_close(&device);
}

static void verdicts_are_of_these_kernels_alone(void **state)
{
    (void)state;
    static const char *const endings[] = {"",
                                          " gemm:x:F16=wrong\ngemm=tile",
                                          " gemm:x:F16=wrong;",
                                          "0 gemm:x:F16=wrong",
                                          " gemm:x:F16:many=wrung",
                                          " gemm:x:F16:some=wrong",
                                          " gemm:x:many=wrong",
                                          " rate=fast",
                                          " rate=500"};
    char *folder = support_folder_create(), *text = NULL, digest[65], others[2][65];
    bm_device *device = open_again(folder, NULL);
    bm_string words = BM_STRING_INIT;
    uint64_t size = 0;
    char *path = bm_tuning_path(device);
    assert_true(bm_tuning_describe(bm_device_get_info(device), folder, &words));
    assert_string_equal(bm_string_text(&words), ""); // no file
    MUST(bm_device_set_verdict(device, "gemm", "x", BM_DTYPE_F16, BM_USE_MANY_TILES, BM_VERDICT_WRONG, &failure));
    MUST(bm_device_set_verdict(device, "gemm", "x-8", BM_DTYPE_F16, BM_USE_MANY_TILES, BM_VERDICT_SLOWER, &failure));
    MUST(bm_device_set_verdict(device, "gemm", "x", BM_DTYPE_F16, BM_USE_MANY_TILES, BM_VERDICT_RIGHT, &failure));
    MUST(bm_device_set_verdict(device, "attention", "y", BM_DTYPE_F32, BM_USE_MANY_TILES, BM_VERDICT_WRONG, &failure));
    MUST(bm_device_set_verdict(device, "attention", "y", BM_DTYPE_F32, BM_USE_MANY_TILES, BM_VERDICT_NONE,
                               &failure)); // taken back
    MUST(bm_device_set_verdict(device, "gemm", "x", BM_DTYPE_F16, BM_USE_FEW_TILES, BM_VERDICT_SLOWER, &failure));
    MUST(bm_device_set_verdict(device, "gemm", "x", BM_DTYPE_F16, BM_USE_ADDING, BM_VERDICT_RIGHT, &failure));
    MUST(bm_device_set_measured_gflops(device, 100, &failure));
    MUST(bm_device_set_measured_gflops(device, 1023.9, &failure));
    MUST(bm_verdicts_write(device, &failure));
    bm_device_close(&device);
    MUST(bm_file_read_all(path, 4096, &text, &size, &failure));
    bm_verdicts_digest(digest);
    assert_string_not_equal(digest, bm_kernels_digest); // with which verdicts of another form began
    char *want = bm_format("\n%s gemm:x-8:F16:many=slower,gemm:x:F16:many=right,gemm:x:F16:few=slower,"
                           "gemm:x:F16:adding=right,rate=512\n",
                           digest);
    assert_int_equal(size, strlen(want));
    assert_memory_equal(text, want, size);
    bm_free(want);
    bm_free(text);
    device = open_again(folder, NULL);
    assert_int_equal(bm_device_verdict(device, "gemm", "x", BM_DTYPE_F16, BM_USE_MANY_TILES), BM_VERDICT_RIGHT);
    assert_int_equal(bm_device_verdict(device, "gemm", "x-8", BM_DTYPE_F16, BM_USE_MANY_TILES), BM_VERDICT_SLOWER);
    assert_int_equal(bm_device_verdict(device, "gemm", "x", BM_DTYPE_BF16, BM_USE_MANY_TILES), BM_VERDICT_NONE);
    assert_true(bm_tuning_describe(bm_device_get_info(device), folder, &words));
    assert_string_equal(words.data, "gemm=x-8 for F16: slower\ngemm=x for F16: right\n"
                                    "gemm=x for F16 in few tiles: slower\ngemm=x for F16 added up: right\n"
                                    "product in float32: 512 GFLOP/s and more\n");
    assert_true(bm_device_measured_gflops(device) == 512);
    bm_string_clear(&words);
    bm_device_close(&device);

    memset(others[0], 'a', 64); // of other kernels or of a program before: a tuning holds, verdicts do not
    others[0][64] = '\0';
    memcpy(others[1], bm_kernels_digest, sizeof others[1]);
    for (uint32_t i = 0; i < BM_COUNT(others); i++) {
        text = bm_format("gemm=generic\n%s gemm:x:F16:many=wrong,rate=512\n", others[i]);
        MUST(bm_file_write_all(path, text, strlen(text), &failure));
        bm_free(text);
        device = open_again(folder, NULL);
        assert_null(device->verdicts);
        assert_true(bm_device_measured_gflops(device) == 0);
        assert_int_equal(bm_device_verdict(device, "gemm", "x", BM_DTYPE_F16, BM_USE_MANY_TILES), BM_VERDICT_NONE);
        assert_string_equal(bm_device_tuning(device), "gemm=generic");
        assert_int_equal(heard.warnings, 0);
        assert_true(bm_tuning_describe(bm_device_get_info(device), folder, &words));
        assert_string_equal(words.data, "tuning: gemm=generic\n");
        bm_string_clear(&words);
        bm_device_close(&device);
    }
    for (uint32_t i = 0; i < BM_COUNT(endings); i++) { // not ours
        text = bm_format("gemm=generic\n%s%s\n", digest, endings[i]);
        MUST(bm_file_write_all(path, text, strlen(text), &failure));
        bm_free(text);
        device = open_again(folder, NULL);
        assert_string_equal(bm_device_tuning(device), "");
        assert_int_equal(heard.warnings, 1);
        bm_string_clear(&words);
        assert_true(bm_tuning_describe(bm_device_get_info(device), folder, &words));
        assert_true(bm_starts_with(words.data, "tuning ignored: ") &&
                    strstr(words.data, ": not what bitmill writes\n"));
        bm_device_close(&device);
    }
    bm_string_free(&words);
    bm_free(path);
    support_folder_remove(&folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_of_several_processes_are_merged),
        cmocka_unit_test(what_others_compare_stays_in_the_file),
        cmocka_unit_test(what_was_tried_twice_is_wrong),
        cmocka_unit_test(what_was_timed_twice_is_used_without),
        cmocka_unit_test(more_than_is_read_is_not_written),
        cmocka_unit_test(tables_pass_over_what_is_switched_off),
        cmocka_unit_test(verdicts_are_of_these_kernels_alone),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
