// Outputs where the file system can do little: no locks, no exchange of folders, renames that fail, no room. The linker
// puts functions of this file in the place of those that would have to fail (__wrap_NAME for NAME).
#include "support/unit.h"

#include "base/file_system.h"
#include "base/str.h"
#include "schedule/disk.h"
#include "schedule/job.h"
#include "schedule/output.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include <bitmill/bitmill.h>

#include <errno.h>
#include <string.h>

// ISO C leaves names that begin with two underscores to the implementation; the linker's option asks for these.
int __wrap_flock(int descriptor, int operation);
bool __wrap_bm_system_exchange(const char *a, const char *b);
int __wrap_rename(const char *from, const char *to);
int __real_rename(const char *from, const char *to);
bool __wrap_bm_folder_free_bytes(const char *path, uint64_t *out);
bool __wrap_bm_folder_shares_disk(const char *a, const char *b);
bm_status __wrap_bm_system_write_at(bm_file *scratch, uint64_t offset, const void *bytes, uint64_t size, bm_error *err);
bm_status __real_bm_system_write_at(bm_file *scratch, uint64_t offset, const void *bytes, uint64_t size, bm_error *err);
uint64_t __wrap_bm_process_resident_bytes(void);

static uint64_t room;       // that the disk has
static uint64_t other_room; // and that of the other disk, of folders named so
static const char other_disk[] = "scratch";
static bool is_room_known, is_one_disk, loses_writes;
static int lock_error;             // of every flock
static const char *other_output;   // a result that another run makes while the lock is asked for; NULL: none
static const char *refused_suffix; // of what rename may not move; NULL: everything moves

static void put(const char *folder, const char *name);

int __wrap_flock(int descriptor, int operation)
{
    (void)descriptor, (void)operation;
    if (other_output)
        put(other_output, "bitmill.json");
    errno = lock_error;
    return lock_error ? -1 : 0;
}

bool __wrap_bm_system_exchange(const char *a, const char *b)
{
    (void)a, (void)b;
    return false;
}

int __wrap_rename(const char *from, const char *to)
{
    if (!refused_suffix || !bm_ends_with(from, refused_suffix))
        return __real_rename(from, to);
    errno = EACCES;
    return -1;
}

// Sanitizers keep what is freed, so that the process grows from one plan to the next.
uint64_t __wrap_bm_process_resident_bytes(void)
{
    return 50000000;
}

bool __wrap_bm_folder_free_bytes(const char *path, uint64_t *out)
{
    if (is_room_known)
        *out = bm_ends_with(path, other_disk) && !is_one_disk ? other_room : room;
    return is_room_known;
}

bool __wrap_bm_folder_shares_disk(const char *a, const char *b)
{
    return is_one_disk || bm_ends_with(a, other_disk) == bm_ends_with(b, other_disk);
}

// As a network's disk, which reports late that it was full.
bm_status __wrap_bm_system_write_at(bm_file *scratch, uint64_t offset, const void *bytes, uint64_t size, bm_error *err)
{
    return __real_bm_system_write_at(scratch, offset, bytes, loses_writes ? size - 1 : size, err);
}

static char *parent, *out;

static int make_folder(void **state)
{
    (void)state;
    parent = support_folder_create();
    out = bm_path_join(parent, "out");
    lock_error = 0;
    other_output = NULL;
    refused_suffix = NULL;
    is_room_known = is_one_disk = loses_writes = false;
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    refused_suffix = NULL;
    bm_free(out);
    support_folder_remove(&parent);
    return 0;
}

// A small file. What it says is a record of the files of a result, for which a bitmill.json is read.
static void put(const char *folder, const char *name)
{
    static const char record[] = "{\"files\": [\"new\", \"bitmill.json\"]}";
    bm_error err = {0};
    assert_ok(bm_folder_create(folder, true, &err), &err);
    bm_free(support_file_write(folder, name, record, sizeof record - 1));
}

// Gathers warnings.
static void gather(void *user, bm_log_level level, const char *message)
{
    (void)level;
    (void)bm_string_append(user, message);
}

static void without_locks_an_output_is_written_all_the_same(void **state)
{
    (void)state;
    static const int errors[] = {ENOSYS, ENOTSUP, EOPNOTSUPP, ENOLCK};
    bm_error err = {0};
    bm_output output;
    for (size_t i = 0; i < BM_COUNT(errors); i++) {
        bm_string words = BM_STRING_INIT;
        const bm_log log = {.level = BM_LOG_WARNING, .write = gather, .user = &words};
        lock_error = errors[i];
        assert_ok(bm_output_begin(&output, out, i > 0, &log, &err), &err);
        assert_non_null(strstr(bm_string_text(&words), "out.partial: the file system has no locks"));
        put(output.partial, "bitmill.json");
        assert_ok(bm_output_commit(&output, &err), &err);
        assert_int_equal(support_folder_count(parent), 1); // no lock stays
        bm_string_free(&words);
    }
    lock_error = EIO;
    assert_int_equal(bm_output_begin(&output, out, true, NULL, &err), BM_E_IO);
    assert_non_null(strstr(err.message, "out.partial.lock: cannot lock"));
}

// The run that held the lock has ended meanwhile.
static void a_result_that_came_with_the_lock_stays(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_output output;
    other_output = out;
    assert_int_equal(bm_output_begin(&output, out, false, NULL, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "out: exists"));
    assert_true(support_folder_has(out, "bitmill.json") && support_folder_count(parent) == 1);
}

static void folders_are_exchanged_by_renames(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_output output;
    put(out, "bitmill.json");
    assert_ok(bm_output_begin(&output, out, true, NULL, &err), &err);
    put(output.partial, "new");
    assert_ok(bm_output_commit(&output, &err), &err);
    assert_true(support_folder_has(out, "new") && support_folder_count(out) == 1);
    assert_int_equal(support_folder_count(parent), 1);
}

// The new result is in its place, so the run has succeeded.
static void an_old_result_that_cannot_be_moved_is_a_warning(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_output output;
    bm_string words = BM_STRING_INIT;
    const bm_log log = {.level = BM_LOG_WARNING, .write = gather, .user = &words};
    put(out, "bitmill.json");
    assert_ok(bm_output_begin(&output, out, true, &log, &err), &err);
    put(output.partial, "new");
    refused_suffix = "out.old";
    assert_ok(bm_output_commit(&output, &err), &err);
    assert_true(support_folder_has(out, "new") && support_folder_count(out) == 1);
    assert_true(support_folder_has(parent, "out.old") && support_folder_count(parent) == 2);
    assert_non_null(strstr(bm_string_text(&words), "out.old: is the replaced result: remove it"));
    assert_null(strstr(bm_string_text(&words), "partial"));
    bm_string_free(&words);
}

static void a_new_result_that_cannot_be_moved_stays_beside_the_old_one(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_output output;
    put(out, "bitmill.json");
    assert_ok(bm_output_begin(&output, out, true, NULL, &err), &err);
    put(output.partial, "new");
    refused_suffix = "out.partial";
    assert_int_equal(bm_output_commit(&output, &err), BM_E_IO);
    assert_non_null(strstr(err.message, "the result is whole and lies in "));
    assert_non_null(strstr(err.message, "out.partial: rename it"));
    assert_true(support_folder_has(out, "bitmill.json") && support_folder_count(out) == 1);
    char *partial = bm_path_join(parent, "out.partial");
    assert_true(support_folder_has(partial, "new") && support_folder_count(partial) == 1);
    assert_int_equal(support_folder_count(parent), 2);
    bm_free(partial);
}

static bm_status quantize(const char *model, bm_quantize_summary *summary, bm_error *err)
{
    static const char *const overrides[] = {"device=host"};
    bm_quantize_params params;
    bm_quantize_params_init(&params);
    params.model = model;
    params.method = "rtn";
    params.output = out;
    params.overrides = overrides;
    params.num_overrides = 1;
    return bm_quantize_model(&params, summary, err);
}

// One byte too few: nothing is begun. Where the system does not say, it is tried.
static void a_disk_without_room_ends_a_run_before_its_work(void **state)
{
    (void)state;
    static const char *const companions[] = {"tokenizer.json", "tokenizer_config.json"};
    bm_error err = {0};
    bm_quantize_summary summary;
    model_maker_params params;
    model_maker_params_init(&params);
    char *model = support_folder_create();
    assert_ok(model_maker_write(&params, model, &err), &err);
    assert_ok(quantize(model, &summary, &err), &err);
    assert_ok(bm_folder_remove(out, &err), &err);
    uint64_t need = summary.output_bytes + BM_OUTPUT_WORDS_BYTES;
    for (size_t i = 0; i < BM_COUNT(companions); i++) {
        bm_file *file = NULL;
        char *path = bm_path_join(model, companions[i]);
        assert_ok(bm_file_open(&file, path, &err), &err);
        need += bm_file_size(file);
        bm_file_close(&file);
        bm_free(path);
    }
    is_room_known = true;
    room = need - 1;
    assert_int_equal(quantize(model, &summary, &err), BM_E_IO);
    char *words = bm_format("the disk has room for %.2f MB, the result needs %.2f MB, with %.2f MB for its report and "
                            "record; choose another with --output DIR",
                            (double)room / 1e6, (double)need / 1e6, (double)BM_OUTPUT_WORDS_BYTES / 1e6);
    assert_non_null(strstr(err.message, words));
    assert_int_equal(support_folder_count(parent), 0);
    room = need;
    assert_ok(quantize(model, &summary, &err), &err);
    bm_free(words);
    support_folder_remove(&model);
}

// Folder, found and needed bytes.
static void expect_room(const bm_disk_need *n, const char *expected)
{
    bm_error err = {0};
    assert_int_equal(bm_disk_check(n, &err), BM_E_IO);
    if (strncmp(err.message, expected, strlen(expected)) != 0)
        fail_msg("%s\nwhere this was expected: %s", err.message, expected);
}

// What lies on one disk is summed, what lies on two is not. A megabyte is a million bytes.
static void results_and_scratch_files_share_a_disk(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_disk_need n = {.output = "here/out",
                      .output_folder = "here",
                      .result_bytes = 30000000 - BM_OUTPUT_WORDS_BYTES,
                      .scratch_folder = "there/scratch",
                      .scratch_bytes = 20000000};
    is_room_known = true;
    room = 30000000;
    other_room = 20000000;
    assert_ok(bm_disk_check(&n, &err), &err);
    is_one_disk = true;
    expect_room(&n, "output folder \"here/out\": the disk has room for 30.00 MB, expected 50.00 MB: 30.00 MB for the "
                    "result, 20.00 MB for files of what memory does not hold in \"there/scratch\"");
    room = 50000000;
    assert_ok(bm_disk_check(&n, &err), &err);
    room--;
    expect_room(&n, "output folder \"here/out\": the disk has room for 50.00 MB, expected 50.00 MB: ");
    n.scratch_folder = NULL; // beside the result
    is_one_disk = false;
    expect_room(&n, "output folder \"here/out\": the disk has room for 50.00 MB, expected 50.00 MB: 30.00 MB for the "
                    "result, 20.00 MB for files of what memory does not hold, on the same");
    n.scratch_folder = "there/scratch";
    room = 29999999;
    expect_room(&n, "output folder \"here/out\": the disk has room for 30.00 MB, the result needs 30.00 MB");
    room = 30000000;
    other_room = 19990000;
    expect_room(&n,
                "--cache-dir: \"there/scratch\": the disk has room for 19.99 MB, files of what memory does not hold "
                "need 20.00 MB");
    n.scratch_bytes = 0;
    assert_ok(bm_disk_check(&n, &err), &err);
    is_one_disk = true;
    assert_ok(bm_disk_check(&n, &err), &err);
}

// A residual stream in a file of another folder on the same disk: the run and its dry run refuse the same, before any work; and a
// disk that loses it ends the run.
static void a_run_sums_what_it_writes(void **state)
{
    (void)state;
    static const char *const overrides[] = {"device=host", "group_size=32", "gptq_step=400", "max_length=48"};
    static const char line[] = "{\"src\": \"one two three four\", \"tgt\": \"five six seven eight\"}\n";
    bm_string text = BM_STRING_INIT;
    bm_error err = {0};
    bm_dry_run dry;
    bm_quantize_params params;
    bm_quantize_job job = {0};
    model_maker_params maker;
    model_maker_params_init(&maker);
    char *model = support_folder_create(), *scratch = bm_path_join(parent, other_disk);
    for (uint32_t i = 0; i < 500; i++)
        (void)bm_string_append(&text, line);
    char *data = support_file_write(model, "data.jsonl", bm_string_text(&text), strlen(bm_string_text(&text)));
    assert_ok(model_maker_write(&maker, model, &err), &err);
    assert_ok(bm_folder_create(scratch, false, &err), &err);
    bm_quantize_params_init(&params);
    params.model = model;
    params.method = "gptq";
    params.data = data;
    params.output = out;
    params.overrides = overrides;
    params.num_overrides = BM_COUNT(overrides);
    params.activation_folder = scratch;
    params.host_memory = 1000000;
    is_room_known = is_one_disk = true;
    room = 1000000000000;
    assert_int_equal(bm_quantize_job_plan(&params, &job, &err), BM_E_ARGUMENT);
    params.host_memory = job.least.process_bytes;
    bm_quantize_job_free(&job);
    job = (bm_quantize_job){0};
    assert_ok(bm_quantize_job_plan(&params, &job, &err), &err);
    bm_quantize_run_params run = {.arguments = job.arguments,
                                  .plan = job.plan,
                                  .model = job.model,
                                  .device = job.device,
                                  .budget = &job.budget,
                                  .folder = scratch,
                                  .scratch_bytes = bm_memory_claims_peak(&job.claims, BM_MEMORY_DISK)};
    const uint64_t need = bm_quantize_run_output_bytes(&run) + BM_OUTPUT_WORDS_BYTES + run.scratch_bytes;
    assert_true(run.scratch_bytes > 0);
    room = need - 1;
    assert_int_equal(bm_quantize_job_dry_run(&params, &job, &dry, &err), BM_E_IO);
    assert_non_null(strstr(err.message, "the same file system"));
    assert_int_equal(bm_quantize_run(&run, &job.result, &err), BM_E_IO);
    assert_non_null(strstr(err.message, "the same file system"));
    assert_int_equal(support_folder_count(parent), 1);
    room = need;
    assert_ok(bm_quantize_run_check_disk(&run, parent, &err), &err);
    loses_writes = true;
    bm_quantize_result_free(&job.result);
    assert_int_equal(bm_quantize_run(&run, &job.result, &err), BM_E_IO);
    assert_non_null(strstr(err.message, "the disk has lost what was written"));
    assert_non_null(strstr(err.message, "--cache-dir"));
    assert_int_equal(support_folder_count(parent), 1);
    bm_quantize_job_free(&job);
    bm_string_free(&text);
    bm_free(data);
    bm_free(scratch);
    support_folder_remove(&model);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(without_locks_an_output_is_written_all_the_same),
        WITH_FOLDER(a_result_that_came_with_the_lock_stays),
        WITH_FOLDER(folders_are_exchanged_by_renames),
        WITH_FOLDER(an_old_result_that_cannot_be_moved_is_a_warning),
        WITH_FOLDER(a_new_result_that_cannot_be_moved_stays_beside_the_old_one),
        WITH_FOLDER(a_disk_without_room_ends_a_run_before_its_work),
        WITH_FOLDER(results_and_scratch_files_share_a_disk),
        WITH_FOLDER(a_run_sums_what_it_writes),
    };
    return cmocka_run_group_tests_name("poor_file_system", tests, NULL, NULL);
}
