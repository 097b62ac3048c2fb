// Comparing variants at the first use of a device: what is wrong or slower is switched off, remembered and said, what is right is
// kept. Devices here have no matrix units: other variants are compared, and devices pretend.
#include "ops/fixture.h"

#include "base/file.h"
#include "base/str.h"
#include "device/backend.h"
#include "device/opencl/opencl.h"
#include "ops/attention.h"
#include "ops/first_use.h"
#include "support/folders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What is said.
typedef struct said {
    bm_log log;
    uint32_t warnings, infos;
    char last[512]; // warning
} said;

static void hear(void *user, bm_log_level level, const char *message)
{
    said *heard = user;
    heard->infos += level == BM_LOG_INFO;
    if (level != BM_LOG_WARNING)
        return;
    heard->warnings++;
    snprintf(heard->last, sizeof heard->last, "%s", message);
}

static said heard;

// The device once more, with a log of ours; cache_folder NULL: none.
static bm_device *open_again(const char *cache_folder, const char *variants)
{
    bm_device *device = NULL;
    bm_device_params params;
    heard = (said){.log = {BM_LOG_INFO, hear, &heard}};
    bm_device_params_init(&params);
    params.spec = bm_device_get_info(test_device)->spec;
    params.cache_folder = cache_folder;
    params.variants = variants;
    params.log = &heard.log;
    MUST(bm_device_open(&device, &params, &failure));
    return device;
}

// The name of the last variant of a set: where there are several, not the generic one.
static const char *last_name(bm_device *device, const bm_variant_set *set)
{
    uint32_t count = 0;
    while (set->name(device, count + 1))
        count++;
    return set->name(device, count);
}

static bm_dtype type_of(const bm_variant_set *set)
{
    return strcmp(set->kernel, "gemm_int8") == 0 ? BM_DTYPE_I8 : BM_DTYPE_F16;
}

static bm_comparison comparison_of(bm_device *device, const bm_variant_set *set)
{
    return (bm_comparison){
        .set = set, .variant = last_name(device, set), .instead = set->name(device, 0), .type = type_of(set)};
}

static bm_verdict verdict_on(bm_device *device, const bm_comparison *c)
{
    return bm_device_verdict(device, c->set->kernel, c->variant, c->type, c->use);
}

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
static uint32_t trials_made;
static bm_trial_kind kind_of_trouble, plain_kind;

// What was recorded while inputs were made fails at the next wait.
static bm_status create_in_trouble(bm_trial *trial, bm_error *err)
{
    const bm_status status = plain_kind.create(trial, err);
    const uint32_t which = trials_made++; // the generic kernel's two, the variant's one or two, those for times
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
            plain_kind = *set.trial;
            kind_of_trouble = plain_kind;
            kind_of_trouble.create = create_in_trouble;
            set.trial = &kind_of_trouble;
            trials_made = 0;
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
            plain_kind = *set.trial;
            kind_of_trouble = plain_kind;
            kind_of_trouble.create = create_in_trouble;
            in_trouble = NUM_TROUBLES;
            trials_made = 0;
            set.trial = &kind_of_trouble;
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

// ---- the file ----

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
                                          " rate=fast"};
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

// ---- devices that pretend ----

// lavapipe leaks what it made of a module when it refuses its matrices: a leak of the driver, of this program alone.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libvulkan_lvp.so\n";
}

// Matrix units that this device does not have; false: its backend has no kernels for them.
static bool pretend(bm_device *device)
{
    bm_device_limits *limits = &device->info.limits;
    device->info.kind = BM_DEVICE_DISCRETE_GPU;
    limits->shared_memory_bytes = 49152;
    limits->max_group_invocations = 1024;
    limits->min_subgroup_size = limits->max_subgroup_size = 32;
    limits->compute_units = 100;
    if (strcmp(device->info.backend, "opencl") == 0) {
        const ocl_source *source = ocl_source_of(BM_KERNEL_GEMM, BM_VARIANT_GEMM_WGMMA);
        ocl_state_of(device)->ptx_answers[0] = (struct ocl_ptx_answer){source->ptx, true};
        limits->wgmma = limits->nvidia_mma = true;
    }
    if (strcmp(device->info.backend, "vulkan") == 0) {
        limits->matrix_shapes[limits->num_matrix_shapes++] =
            bm_kernel_table[BM_KERNEL_GEMM].variants[BM_VARIANT_GEMM_CM].matrix;
        limits->matrix_shapes[limits->num_matrix_shapes++] =
            bm_kernel_table[BM_KERNEL_GEMM].variants[BM_VARIANT_GEMM_CM_BF16].matrix;
    }
    return !bm_device_is_host(device);
}

// Variants of a table whose matrix units need no subgroups are done by hand: those of test_first_use_by_hand, right on any device.
static bool is_by_hand(void)
{
    return bm_kernel_table[BM_KERNEL_GEMM].variants[BM_VARIANT_GEMM_CM].subgroup_size == 0;
}

// What a device gets: names of products of float16, bfloat16, few tiles of float16, and attention.
static void expect_taken(bm_device *device, const char *const names[4])
{
    assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).name, names[0]);
    assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_BF16, BM_DTYPE_BF16, BM_USE_MANY_TILES).name, names[1]);
    assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_FEW_TILES).name, names[2]);
    assert_string_equal(bm_attention_choose(device, BM_DTYPE_F16, 64, 64).name, names[3]);
}

static bool has_matrix_units(const bm_device *device)
{
    return device->info.limits.num_matrix_shapes > 0 || device->info.limits.wgmma || device->info.limits.nvidia_mma;
}

static void a_device_that_pretends_loses_its_matrix_units(void **state)
{
    (void)state;
    if (has_matrix_units(test_device))
        skip();
    char *folder = support_folder_create();
    for (uint32_t start = 0; start < 3; start++) { // the last one remembers nothing
        bm_device *device = open_again(start < 2 ? folder : NULL, NULL);
        const bool is_vulkan = strcmp(bm_device_get_info(device)->backend, "vulkan") == 0;
        const char *const on_units[] = {"matrix", "matrix", "matrix-8", "matrix"};
        const char *const nvidia[] = {"wgmma", "wgmma", "wgmma", "mma"};
        const char *const plain[] = {is_vulkan ? "tile-8" : "library", is_vulkan ? "tile-8" : "library",
                                     is_vulkan ? "tile-8" : "library", "tile"};
        const bool has_library = bm_device_has_product(device);
        if (pretend(device) && (is_vulkan || has_library)) {
            if (start != 1)
                expect_taken(device, is_vulkan ? on_units : nvidia);
            MUST(bm_variants_resolve(device, &failure));
            expect_taken(device, plain);
            // Products and attention of two types; matrix-8 stands behind matrix, mma behind wgmma.
            const uint32_t compared = is_vulkan ? 4 : 6;
            assert_int_equal(heard.warnings, start == 1 ? 0 : compared);
            MUST(bm_variants_resolve(device, &failure));
            assert_int_equal(heard.warnings, start == 1 ? 0 : compared);
            MUST(bm_device_set_variants(device, is_vulkan ? "gemm=matrix" : "gemm=wgmma", &failure));
            assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).name,
                                is_vulkan ? "matrix" : "wgmma");
        }
        bm_device_close(&device);
    }
    support_folder_remove(&folder);
}

// A tuning of types without matrix units names other variants: those of 16 bits keep theirs, unless they are slower.
static void a_tuning_without_matrix_units_leaves_them(void **state)
{
    (void)state;
    if (has_matrix_units(test_device))
        skip(); // it takes variants of its own
    char *folder = support_folder_create();
    const char *const plain[] = {"generic", "generic", "generic", "plain"};
    bm_device *device = open_again(folder, NULL);
    const bool is_vulkan = strcmp(bm_device_get_info(device)->backend, "vulkan") == 0;
    MUST(bm_tuning_write(device, "gemm=generic,attention=plain", &failure));
    bm_device_close(&device);
    device = open_again(folder, NULL);
    if (pretend(device)) {
        const char *const units = is_vulkan ? "matrix" : "wgmma";
        expect_taken(device,
                     (const char *const[]){units, units, is_vulkan ? "matrix-8" : units, is_vulkan ? "matrix" : "mma"});
        assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F32, BM_DTYPE_F32, BM_USE_MANY_TILES).name, "generic");
        assert_string_equal(bm_attention_choose(device, BM_DTYPE_F32, 64, 64).name, "plain");
        MUST(bm_device_set_variants(device, "gemm=generic,attention=plain", &failure)); // that of a caller is for all
        expect_taken(device, plain);
        MUST(bm_device_set_variants(device, "", &failure));
        for (bm_dtype type = BM_DTYPE_F16; type <= BM_DTYPE_BF16; type++) {
            for (bm_variant_use use = BM_USE_MANY_TILES; use <= BM_USE_FEW_TILES; use++) {
                MUST(bm_device_set_verdict(device, "gemm", units, type, use, BM_VERDICT_SLOWER, &failure));
                MUST(bm_device_set_verdict(device, "gemm", "mma", type, use, BM_VERDICT_SLOWER, &failure));
            }
        }
        MUST(bm_device_set_verdict(device, "attention", is_vulkan ? "matrix" : "mma", BM_DTYPE_F16, BM_USE_MANY_TILES,
                                   BM_VERDICT_SLOWER, &failure));
        expect_taken(device, plain);
    }
    bm_device_close(&device);
    support_folder_remove(&folder);
}

// By hand they are right, and kept: without a file that remembers, times do not count.
static void matrix_units_that_are_right_are_kept(void **state)
{
    (void)state;
    bm_device *device = open_again(NULL, NULL);
    const bool is_vulkan = strcmp(bm_device_get_info(device)->backend, "vulkan") == 0;
    const char *const units = is_vulkan ? "matrix" : "mma", *const few = is_vulkan ? "matrix-8" : "mma";
    const char *const all[] = {units, units, few, units};
    (void)pretend(device);
    heard.infos = 0;
    MUST(bm_variants_resolve(device, &failure));
    assert_int_equal(heard.infos, 1);
    MUST(bm_variants_resolve(device, &failure)); // it is known
    assert_int_equal(heard.infos, 1);
    assert_int_equal(heard.warnings, 0);
    expect_taken(device, all);
    static const bm_dtype types[] = {BM_DTYPE_F16, BM_DTYPE_BF16};
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(bm_device_verdict(device, "gemm", units, types[i], BM_USE_MANY_TILES), BM_VERDICT_RIGHT);
        assert_int_equal(bm_device_verdict(device, "gemm", few, types[i], BM_USE_FEW_TILES), BM_VERDICT_RIGHT);
        assert_int_equal(bm_device_verdict(device, "gemm", few, types[i], BM_USE_ADDING), BM_VERDICT_RIGHT);
    }
    assert_int_equal(bm_device_verdict(device, "attention", units, BM_DTYPE_F16, BM_USE_MANY_TILES), BM_VERDICT_RIGHT);
    bm_device_close(&device);
}

// A caller who names "matrix" gets it everywhere. By a tuning, which measures no products that add, matrix-8 is taken for those: it is
// compared there, and passed over where it is wrong or slower there.
static void what_is_taken_behind_a_name_is_compared(void **state)
{
    (void)state;
    if (has_matrix_units(test_device))
        skip();                        // what it computes is right
    for (uint32_t i = 0; i < 2; i++) { // named by the caller, by a tuning
        char *folder = support_folder_create();
        bm_device *device = open_again(folder, i == 0 ? "gemm=matrix" : "");
        const bool is_vulkan = strcmp(bm_device_get_info(device)->backend, "vulkan") == 0;
        if (is_vulkan) {
            MUST(bm_tuning_write(device, "gemm=matrix", &failure));
            bm_device_close(&device);
            device = open_again(i == 0 ? NULL : folder, i == 0 ? "gemm=matrix" : "");
            (void)pretend(device);
            assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_FEW_TILES).name,
                                "matrix");
            assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_ADDING).name,
                                i == 0 ? "matrix" : "matrix-8");
            bm_free(device->cache_folder); // times do not count
            device->cache_folder = NULL;
            MUST(bm_variants_resolve(device, &failure));
            // A tuning's matrix is wrong too where it is no hand that computes: then nothing asks for matrix-8.
            assert_int_equal(bm_device_verdict(device, "gemm", "matrix-8", BM_DTYPE_F16, BM_USE_ADDING),
                             i == 1 && is_by_hand() ? BM_VERDICT_RIGHT : BM_VERDICT_NONE);
            for (bm_verdict verdict = BM_VERDICT_RIGHT; verdict <= BM_VERDICT_WRONG; verdict++) {
                for (uint32_t use = 0; use < BM_NUM_VARIANT_USES; use++)
                    MUST(bm_device_set_verdict(device, "gemm", "matrix", BM_DTYPE_F16, (bm_variant_use)use,
                                               BM_VERDICT_RIGHT, &failure));
                MUST(bm_device_set_verdict(device, "gemm", "matrix-8", BM_DTYPE_F16, BM_USE_ADDING, verdict, &failure));
                assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_ADDING).name,
                                    i == 1 && verdict == BM_VERDICT_RIGHT ? "matrix-8" : "matrix");
            }
        }
        bm_device_close(&device);
        support_folder_remove(&folder);
    }
}

// A device without matrix units is not asked anything.
static void nothing_is_compared_without_matrix_units(void **state)
{
    (void)state;
    char *folder = support_folder_create();
    bm_device *device = open_again(folder, NULL);
    char *path = bm_tuning_path(device);
    const bool has_units = has_matrix_units(device);
    const uint64_t compiled = bm_device_compiled_kernels(device);
    MUST(bm_variants_resolve(device, &failure));
    assert_true(has_units || bm_device_compiled_kernels(device) == compiled);
    assert_true(has_units || bm_path_kind_of(path) == BM_PATH_ABSENT);
    bm_free(path);
    bm_device_close(&device);
    support_folder_remove(&folder);
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
        cmocka_unit_test(verdicts_of_several_processes_are_merged),
        cmocka_unit_test(what_others_compare_stays_in_the_file),
        cmocka_unit_test(what_was_tried_twice_is_wrong),
        cmocka_unit_test(what_was_timed_twice_is_used_without),
        cmocka_unit_test(more_than_is_read_is_not_written),
        cmocka_unit_test(tables_pass_over_what_is_switched_off),
        cmocka_unit_test(verdicts_are_of_these_kernels_alone),
        cmocka_unit_test(a_device_that_pretends_loses_its_matrix_units),
        cmocka_unit_test(a_tuning_without_matrix_units_leaves_them),
        cmocka_unit_test(what_is_taken_behind_a_name_is_compared),
        cmocka_unit_test(nothing_is_compared_without_matrix_units),
    };
    const struct CMUnitTest by_hand[] = {cmocka_unit_test(matrix_units_that_are_right_are_kept),
                                         cmocka_unit_test(what_is_taken_behind_a_name_is_compared)};
    return is_by_hand() ? run_on_device(argc, argv, by_hand, BM_COUNT(by_hand))
                        : run_on_device(argc, argv, tests, BM_COUNT(tests));
}
