// Output folders where the file system can do little: no locks, no exchange of folders, renames that fail. The linker
// puts functions of this file in the place of those that would have to fail (__wrap_NAME for NAME).
#include "support/unit.h"

#include "base/file_system.h"
#include "base/str.h"
#include "schedule/output.h"
#include "support/folders.h"

#include <errno.h>
#include <string.h>

// ISO C leaves names that begin with two underscores to the implementation; the linker's option asks for these.
int __wrap_flock(int descriptor, int operation);
bool __wrap_bm_system_exchange(const char *a, const char *b);
int __wrap_rename(const char *from, const char *to);
int __real_rename(const char *from, const char *to);

static int lock_error;             // of every flock
static const char *refused_suffix; // of what rename may not move; NULL: everything moves

int __wrap_flock(int descriptor, int operation)
{
    (void)descriptor, (void)operation;
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

static char *parent, *out;

static int make_folder(void **state)
{
    (void)state;
    parent = support_folder_create();
    out = bm_path_join(parent, "out");
    lock_error = 0;
    refused_suffix = NULL;
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

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(without_locks_an_output_is_written_all_the_same),
        WITH_FOLDER(folders_are_exchanged_by_renames),
        WITH_FOLDER(an_old_result_that_cannot_be_moved_is_a_warning),
        WITH_FOLDER(a_new_result_that_cannot_be_moved_leaves_the_old_one),
    };
    return cmocka_run_group_tests_name("poor_file_system", tests, NULL, NULL);
}
