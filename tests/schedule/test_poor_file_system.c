// Outputs where the file system can do little: no locks, no exchange of folders, renames that fail, no room. The linker
// puts functions of this file in the place of those that would have to fail (__wrap_NAME for NAME).
#include "support/unit.h"

#include "base/file_system.h"
#include "base/str.h"
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

static uint64_t room; // that the disk has
static bool is_room_known;
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

bool __wrap_bm_folder_free_bytes(const char *path, uint64_t *out)
{
    (void)path;
    if (is_room_known)
        *out = room;
    return is_room_known;
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
    is_room_known = false;
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

static void a_new_result_that_cannot_be_moved_leaves_the_old_one(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_output output;
    put(out, "bitmill.json");
    assert_ok(bm_output_begin(&output, out, true, NULL, &err), &err);
    put(output.partial, "new");
    refused_suffix = "out.partial";
    assert_int_equal(bm_output_commit(&output, &err), BM_E_IO);
    assert_true(support_folder_has(out, "bitmill.json") && support_folder_count(out) == 1);
    assert_int_equal(support_folder_count(parent), 1);
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

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(without_locks_an_output_is_written_all_the_same),
        WITH_FOLDER(a_result_that_came_with_the_lock_stays),
        WITH_FOLDER(folders_are_exchanged_by_renames),
        WITH_FOLDER(an_old_result_that_cannot_be_moved_is_a_warning),
        WITH_FOLDER(a_new_result_that_cannot_be_moved_leaves_the_old_one),
        WITH_FOLDER(a_disk_without_room_ends_a_run_before_its_work),
    };
    return cmocka_run_group_tests_name("poor_file_system", tests, NULL, NULL);
}
