// Comparing variants at the first use of a device: what is wrong or slower is switched off, remembered and said, what is right is
// kept, and what fails for other reasons gives no verdict. Devices here have no matrix units: other variants are compared.
#include "ops/first_use_fixture.h"

#include "base/file.h"
#include "base/str.h"
#include "device/backend.h"
#include "support/folders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void every_variant_that_is_right_is_kept(void **state)
{
    (void)state;
    static const bm_dtype types[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16};
    bm_device *device = open_again(NULL, "gemm=auto");
    for (uint32_t k = 0; k < BM_NUM_VARIANT_SETS; k++)
        for (uint32_t i = 0; bm_variant_sets[k].name(device, i); i++)
            for (uint32_t t = 0; t < BM_COUNT(types); t++) {
                bm_comparison c = comparison_of(device, &bm_variant_sets[k]);
                bm_verdict verdict = BM_VERDICT_NONE;
                c.variant = c.set->name(device, i);
                c.type = c.type == BM_DTYPE_I8 ? BM_DTYPE_I8 : types[t];
                MUST(bm_compare_variants(device, &c, &verdict, &failure));
                assert_int_equal(verdict, BM_VERDICT_RIGHT);
                assert_int_equal(verdict_on(device, &c), BM_VERDICT_RIGHT);
            }
    assert_int_equal(heard.warnings, 0);
    assert_string_equal(bm_device_variants(device), "gemm=auto"); // as it was asked for
    bm_device_close(&device);
}

// ---- mistakes of a variant ----

typedef struct mistake {
    const char *what;
    uint32_t output, row; // of the last outputs that are wanted
    uint32_t word;        // what is written there, into 16 bytes
    bool fails;
} mistake;

static bm_status make_mistake(void *user, const bm_trial *trial, bm_error *err)
{
    const mistake *m = user;
    if (m->fails)
        return bm_fail(err, BM_E_DEVICE, "%s", m->what);
    const bm_tensor *y = &trial->outputs[m->output < trial->num_parts ? m->output : 0];
    const bm_tensor row = bm_tensor_rows(y, m->row < y->rows ? m->row : y->rows - 1, 1);
    return bm_fill(trial->device, bm_view_part(row.view, 0, 16), m->word, err);
}

static void what_is_wrong_is_switched_off_remembered_and_said(void **state)
{
    (void)state;
    static const mistake mistakes[] = {
        {"zeros in the first row", 0, 0, 0, false},
        {"no number in the last row", 0, 1000, 0xffffffff, false},
        {"zeros in the second output", 1, 1000, 0, false},
        {"one driver's words", 0, 0, 0, true},
    };
    for (uint32_t k = 0; k < BM_NUM_VARIANT_SETS; k++)
        for (uint32_t i = 0; i < BM_COUNT(mistakes); i++) {
            char *folder = support_folder_create(), *words, tuned[64];
            bm_device *device = open_again(folder, NULL);
            bm_comparison c = comparison_of(device, &bm_variant_sets[k]);
            mistake m = mistakes[i];
            bm_verdict verdict = BM_VERDICT_NONE;
            c.also = make_mistake, c.user = &m;
            c.remembers = true; // times do not count for what is wrong
            MUST(bm_compare_variants(device, &c, &verdict, &failure));
            assert_int_equal(verdict, BM_VERDICT_WRONG);
            assert_int_equal(heard.warnings, 1);
            words = bm_format("%s=%s is not used for %s on %s: it is wrong: ", c.set->kernel, c.variant,
                              bm_dtype_name(c.type), bm_device_get_info(device)->name);
            assert_memory_equal(heard.last, words, strlen(words));
            if (m.fails)
                assert_string_equal(heard.last + strlen(words), m.what);
            bm_free(words);
            assert_false(bm_device_may_use(device, c.set->kernel, c.variant, c.type, c.use));
            assert_false(bm_device_may_use(device, c.set->kernel, c.variant, c.type, BM_USE_ADDING)); // in every use
            assert_true(bm_device_may_use(device, c.set->kernel, c.variant, BM_DTYPE_F32, c.use));    // another type
            MUST(bm_verdicts_write(device, &failure));
            snprintf(tuned, sizeof tuned, "%s=%s", c.set->kernel, c.variant);
            MUST(bm_tuning_write(device, tuned, &failure)); // leaves the verdicts
            bm_device_close(&device);

            device = open_again(folder, NULL);
            assert_int_equal(verdict_on(device, &c), BM_VERDICT_WRONG);
            assert_string_equal(bm_device_tuning(device), tuned);
            assert_false(bm_device_may_use(device, c.set->kernel, c.variant, c.type, c.use)); // tuned or not
            assert_int_equal(heard.warnings, 0);                                              // said once
            if (k == 0 && c.variant != c.instead)
                assert_string_not_equal(bm_gemm_choose_for(device, c.type, c.type, BM_USE_MANY_TILES).name, c.variant);
            bm_device_close(&device);
            device = open_again(folder, tuned);
            assert_true(bm_device_may_use(device, c.set->kernel, c.variant, c.type, c.use)); // as the caller wants
            bm_device_close(&device);
            support_folder_remove(&folder);
        }
}

// A driver whose products sum in less than float32, where an output is that: a Hessian would lack as much. What matrix units cut
// where they add is less, and right.
static bm_status lose(void *user, const bm_trial *trial, bm_error *err)
{
    const float *kept = user;
    bm_status status = BM_OK;
    for (uint32_t p = 0; p < trial->num_parts && status == BM_OK; p++) {
        const bm_tensor *y = &trial->outputs[p];
        float *values = malloc(sizeof(float) * y->rows * y->cols);
        assert_non_null(values);
        if (y->dtype == BM_DTYPE_F32) {
            status = bm_tensor_download(trial->device, y, values, err);
            status = status == BM_OK ? bm_device_wait(trial->device, err) : status;
            for (uint64_t i = 0; i < y->rows * y->cols; i++)
                values[i] *= *kept;
            status = status == BM_OK ? bm_tensor_upload(trial->device, y, values, err) : status;
        }
        free(values);
    }
    return status;
}

static void sums_in_less_than_float32_are_wrong(void **state)
{
    (void)state;
    static const bm_dtype types[] = {BM_DTYPE_F16, BM_DTYPE_BF16};
    static const struct {
        float lost;
        bm_verdict verdict;
    } drivers[] = {{0x1p-9f, BM_VERDICT_WRONG}, {0x1p-12f, BM_VERDICT_WRONG}, {0x1p-17f, BM_VERDICT_RIGHT}};
    for (uint32_t t = 0; t < BM_COUNT(types); t++)
        for (uint32_t i = 0; i < BM_COUNT(drivers); i++) {
            bm_device *device = open_again(NULL, NULL);
            bm_comparison c = comparison_of(device, &bm_variant_sets[0]);
            bm_verdict verdict = BM_VERDICT_NONE;
            float kept = 1 - drivers[i].lost;
            assert_string_equal(c.set->kernel, "gemm");
            c.type = types[t], c.also = lose, c.user = &kept;
            MUST(bm_compare_variants(device, &c, &verdict, &failure));
            assert_int_equal(verdict, drivers[i].verdict);
            bm_device_close(&device);
        }
}

// ---- failures of others ----

typedef enum trouble { REPORT_BEHIND_CREATE, NO_MEMORY, ALL_FAIL, NO_ROOM, NO_ROOM_FOR_TIMES, NUM_TROUBLES } trouble;
static trouble in_trouble;

// What was recorded while inputs were made fails at the next wait.
static bm_status create_in_trouble(bm_trial *trial, bm_error *err)
{
    const uint32_t which = trials_made; // the generic kernel's two, the variant's one or two, those for times
    const bm_status status = create_counted(trial, err);
    if (in_trouble == REPORT_BEHIND_CREATE && which == 2)
        (void)bm_fail(&trial->device->report, BM_E_NUMERIC, "of the inputs");
    return status;
}

static bm_status run_in_trouble(void *user, const bm_trial *trial, bm_error *err)
{
    (void)user;
    if (in_trouble == NO_MEMORY)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    if (in_trouble == ALL_FAIL) { // a driver's word for no memory: the generic kernel has none either
        trial->device->allowed_bytes = 1;
        return bm_fail(err, BM_E_DEVICE, "out of device memory");
    }
    return BM_OK;
}

// The next start has memory for times, and compares no outputs again. What was found is the file's.
static void take_times_at_last(bm_device *device, bm_comparison *c)
{
    bm_verdict verdict = BM_VERDICT_WRONG;
    const char *name = c->variant;
    trials_made = 0;
    c->instead = name; // the same: neither is slower, or by chance either
    MUST(bm_compare_variants(device, c, &verdict, &failure));
    assert_int_equal(trials_made, 2);
    assert_true(verdict == BM_VERDICT_RIGHT || verdict == BM_VERDICT_SLOWER);
    MUST(bm_verdicts_write(device, &failure));
    assert_int_equal(verdict_on(device, c), verdict);
}

// They give no verdict, or, where outputs were compared, that they are right; and are no error.
static void failures_of_others_give_no_verdict(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < BM_NUM_VARIANT_SETS; k++)
        for (in_trouble = 0; in_trouble < NUM_TROUBLES; in_trouble++) {
            char *folder = support_folder_create();
            bm_device *device = open_again(folder, NULL);
            bm_comparison c = comparison_of(device, &bm_variant_sets[k]);
            bm_variant_set set = *c.set;
            bm_verdict verdict = BM_VERDICT_WRONG;
            count_trials(&set, create_in_trouble);
            c.set = &set;
            c.also = run_in_trouble;
            c.remembers = true;
            if (in_trouble == NO_ROOM)
                device->allowed_bytes = 1;
            if (in_trouble == NO_ROOM_FOR_TIMES) { // what the small trials take, in which the large ones do not fit
                device->info.kind = BM_DEVICE_DISCRETE_GPU;
                device->allowed_bytes = bm_device_live_bytes(device) + (UINT64_C(3) << 20);
            }
            const bm_verdict want = in_trouble == NO_ROOM_FOR_TIMES ? BM_VERDICT_UNTIMED : BM_VERDICT_NONE;
            MUST(bm_compare_variants(device, &c, &verdict, &failure));
            assert_int_equal(verdict, want);
            assert_int_equal(verdict_on(device, &c), want);
            assert_true(bm_device_may_use(device, c.set->kernel, c.variant, c.type, c.use));
            assert_int_equal(heard.warnings, 0);
            const uint32_t small = strcmp(c.set->kernel, "gemm") == 0 ? 4 : 3;        // it has float32 beside 16 bits
            assert_true(in_trouble != NO_ROOM_FOR_TIMES || trials_made == small + 1); // of those for times one is tried
            bm_device_close(&device);
            device = open_again(folder, NULL);
            assert_int_equal(verdict_on(device, &c), want); // nor was it tried, for the next start
            if (want == BM_VERDICT_UNTIMED)
                take_times_at_last(device, &c);
            bm_device_close(&device);
            support_folder_remove(&folder);
        }
}

// ---- times ----

// More work where times are measured.
static bm_status dawdle(void *user, const bm_trial *trial, bm_error *err)
{
    const bm_trial_kind *kind = user;
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < 4 && trial->size >= BM_TRIAL_LARGE && status == BM_OK; i++)
        status = kind->run(trial, err);
    return status;
}

// Times decide where they can be remembered, there alone; a tuning, which measured more, knows better.
static void what_is_slower_is_switched_off_where_that_is_remembered(void **state)
{
    (void)state;
    assert_true(bm_is_slower(1.06, 1) && !bm_is_slower(1.04, 1)); // tuning asks the same
    for (uint32_t k = 0; k < BM_NUM_VARIANT_SETS; k++)
        for (uint32_t i = 0; i < 2 * bm_variant_sets[k].num_uses; i++) {
            char *folder = support_folder_create(), tuned[64];
            bm_device *device = open_again(folder, NULL);
            bm_comparison c = comparison_of(device, &bm_variant_sets[k]);
            bm_trial_kind kind = *c.set->trial;
            bm_verdict verdict = BM_VERDICT_NONE;
            c.instead = c.variant; // the same, but for what it does besides
            c.remembers = i % 2 == 1;
            c.use = (bm_variant_use)(i / 2);
            c.also = dawdle, c.user = &kind;
            MUST(bm_compare_variants(device, &c, &verdict, &failure));
            assert_int_equal(verdict, c.remembers ? BM_VERDICT_SLOWER : BM_VERDICT_RIGHT);
            assert_int_equal(heard.warnings, c.remembers);
            assert_true(!c.remembers || strstr(heard.last, "it is slower: "));
            assert_int_equal(bm_device_may_use(device, c.set->kernel, c.variant, c.type, c.use), !c.remembers);
            for (uint32_t use = 0; use < BM_NUM_VARIANT_USES; use++) { // of another use nothing is known
                if (use == (uint32_t)c.use)
                    continue;
                assert_int_equal(bm_device_verdict(device, c.set->kernel, c.variant, c.type, (bm_variant_use)use),
                                 BM_VERDICT_NONE);
                assert_true(bm_device_may_use(device, c.set->kernel, c.variant, c.type, (bm_variant_use)use));
            }
            snprintf(tuned, sizeof tuned, "%s=%s", c.set->kernel, c.variant);
            MUST(bm_verdicts_write(device, &failure));
            MUST(bm_tuning_write(device, tuned, &failure));
            bm_device_close(&device);
            device = open_again(folder, NULL);
            assert_int_equal(verdict_on(device, &c), verdict);
            assert_int_equal(bm_device_may_use(device, c.set->kernel, c.variant, c.type, c.use),
                             !c.remembers || c.use != BM_USE_ADDING); // which tuning does not measure
            bm_device_close(&device);
            support_folder_remove(&folder);
        }
}

// A clock on which the variant takes so much of what the other one does. Runs take turns, the variant first.
static double share_of_other;
static uint32_t times_read;

static bm_status read_timestamp(bm_device *device, uint32_t slot, double *ns, bm_error *err)
{
    (void)device;
    (void)err;
    *ns = slot == 0 ? 0 : times_read++ % 2 == 0 ? 1e6 * share_of_other : 1e6;
    return BM_OK;
}

// Beside what: a file that cannot be written any more, another process's verdict.
static bm_status block_file(void *user, const bm_trial *trial, bm_error *err)
{
    bm_device *device = trial->device;
    bm_free(device->cache_folder); // below a file there are no folders
    device->cache_folder = bm_path_join(user, "file/folder");
    (void)err;
    return BM_OK;
}

static bm_status another_is_faster(void *user, const bm_trial *trial, bm_error *err)
{
    const bm_comparison *c = user;
    bm_device *other = NULL;
    bm_device_params params;
    bm_device_params_init(&params);
    params.spec = bm_device_get_info(test_device)->spec;
    params.cache_folder = trial->device->cache_folder;
    bm_status status = bm_device_open(&other, &params, err);
    if (status == BM_OK) {
        (void)bm_device_set_verdict(other, c->set->kernel, c->variant, c->type, c->use, BM_VERDICT_RIGHT, err);
        (void)bm_device_set_verdict(other, "gemm", "x", BM_DTYPE_F32, BM_USE_MANY_TILES, BM_VERDICT_WRONG, err);
        status = bm_verdicts_write(other, err);
    }
    bm_device_close(&other);
    return status;
}

static void small_differences_and_times_that_are_not_kept_do_not_count(void **state)
{
    (void)state;
    static const struct {
        double share;
        bool fails, has_other;
        bm_verdict verdict;
    } cases[] = {{1.04, false, false, BM_VERDICT_RIGHT},
                 {1.06, false, false, BM_VERDICT_SLOWER},
                 {1.06, true, false, BM_VERDICT_RIGHT},
                 {1.06, false, true, BM_VERDICT_RIGHT}};
    for (uint32_t i = 0; i < BM_COUNT(cases); i++) {
        char *folder = support_folder_create(), *file = bm_path_join(folder, "file");
        bm_device *device = open_again(folder, NULL);
        const bm_backend *backend = device->backend;
        bm_backend clocked = *backend;
        bm_comparison c = comparison_of(device, &bm_variant_sets[0]);
        bm_verdict verdict = BM_VERDICT_NONE;
        clocked.timestamp_read = read_timestamp;
        device->backend = &clocked;
        share_of_other = cases[i].share;
        times_read = 0;
        c.remembers = true;
        c.also = cases[i].fails ? block_file : cases[i].has_other ? another_is_faster : NULL;
        c.user = cases[i].fails ? (void *)folder : &c;
        MUST(bm_file_write_all(file, "x", 1, &failure));
        MUST(bm_compare_variants(device, &c, &verdict, &failure));
        assert_int_equal(verdict, cases[i].verdict);
        assert_int_equal(verdict_on(device, &c), cases[i].verdict);
        assert_int_equal(heard.warnings, cases[i].fails || verdict == BM_VERDICT_SLOWER);
        assert_int_equal(bm_device_verdict(device, "gemm", "x", BM_DTYPE_F32, BM_USE_MANY_TILES), // taken over
                         cases[i].has_other ? BM_VERDICT_WRONG : BM_VERDICT_NONE);
        device->backend = backend;
        bm_device_close(&device);
        bm_free(file);
        support_folder_remove(&folder);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_that_is_right_is_kept),
        cmocka_unit_test(sums_in_less_than_float32_are_wrong),
        cmocka_unit_test(what_is_wrong_is_switched_off_remembered_and_said),
        cmocka_unit_test(failures_of_others_give_no_verdict),
        cmocka_unit_test(what_is_slower_is_switched_off_where_that_is_remembered),
        cmocka_unit_test(small_differences_and_times_that_are_not_kept_do_not_count),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
