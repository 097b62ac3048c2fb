// What an output does to the file system, and in which order: a result that can be seen is on the disk, and a run that is
// broken off at any moment leaves the old result, the new one, or a folder that is known as unfinished. The linker puts
// functions of this file in the place of those of the system (__wrap_NAME for NAME); each writes a line when it is called, removals when they
// have succeeded.
#include "support/unit.h"

#include "base/file_system.h"
#include "base/str.h"
#include "infer/kept.h"
#include "schedule/output.h"
#include "support/folders.h"
#include "support/support.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// ISO C leaves names that begin with two underscores to the implementation; the linker's option asks for these.
int __wrap_fsync(int descriptor);
int __wrap_rename(const char *from, const char *to);
int __wrap_unlink(const char *path);
int __wrap_rmdir(const char *path);
bool __wrap_bm_system_exchange(const char *a, const char *b);
int __real_fsync(int descriptor);
int __real_rename(const char *from, const char *to);
int __real_unlink(const char *path);
int __real_rmdir(const char *path);
bool __real_bm_system_exchange(const char *a, const char *b);

static char *parent, *out; // a folder, and FOLDER/out
static bm_string events;   // since the last assert_events
static int flush_error;    // of every fsync; 0: none

// A path below parent; of a temporary file, whose name holds a number, the name of the file with "~".
typedef struct shown {
    char text[200];
} shown;

static shown show(const char *path)
{
    shown s;
    const size_t length = strlen(parent);
    const bool is_below = strncmp(path, parent, length) == 0;
    snprintf(s.text, sizeof s.text, "%s", !is_below ? path : path[length] ? path + length + 1 : ".");
    if (bm_ends_with(s.text, ".tmp")) {
        *strrchr(s.text, '.') = '\0';
        memcpy(strrchr(s.text, '.'), "~", 2);
    }
    return s;
}

int __wrap_fsync(int descriptor)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    const ssize_t length = readlink(link, path, sizeof path - 1);
    assert_true(length > 0);
    path[length] = '\0';
    (void)bm_string_append_format(&events, "flush %s\n", show(path).text);
    errno = flush_error;
    return flush_error ? -1 : __real_fsync(descriptor);
}

int __wrap_rename(const char *from, const char *to)
{
    (void)bm_string_append_format(&events, "rename %s %s\n", show(from).text, show(to).text);
    return __real_rename(from, to);
}

static int removed(const char *path, int result)
{
    if (result == 0)
        (void)bm_string_append_format(&events, "remove %s\n", show(path).text);
    return result;
}

int __wrap_unlink(const char *path)
{
    return removed(path, __real_unlink(path));
}

int __wrap_rmdir(const char *path)
{
    return removed(path, __real_rmdir(path));
}

bool __wrap_bm_system_exchange(const char *a, const char *b)
{
    (void)bm_string_append_format(&events, "exchange %s %s\n", show(a).text, show(b).text);
    return __real_bm_system_exchange(a, b);
}

static void assert_events(const char *want)
{
    assert_string_equal(bm_string_text(&events), want);
    bm_string_clear(&events);
}

static int make_folder(void **state)
{
    (void)state;
    char *created = support_folder_create();
    parent = bm_path_resolve(created); // as the system shows it
    bm_free(created);
    out = bm_path_join(parent, "out");
    flush_error = 0;
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    flush_error = 0;
    bm_free(out);
    support_folder_remove(&parent);
    bm_string_free(&events);
    return 0;
}

static const char record[] = "{\"files\": [\"weights\", \"bitmill.json\"]}";

static void put(const char *folder, const char *name)
{
    bm_error err = {0};
    char *path = bm_path_join(folder, name);
    assert_ok(bm_file_write_all(path, record, sizeof record - 1, &err), &err);
    bm_free(path);
}

static void write_output(const char *path, bool overwrite)
{
    bm_error err = {0};
    bm_output output;
    assert_ok(bm_output_begin(&output, path, overwrite, NULL, &err), &err);
    assert_events("flush out.partial/bitmill.journal~\n"
                  "rename out.partial/bitmill.journal~ out.partial/bitmill.journal\n");
    put(output.partial, "weights");
    put(output.partial, "bitmill.json");
    assert_events("flush out.partial/weights~\n"
                  "rename out.partial/weights~ out.partial/weights\n"
                  "flush out.partial/bitmill.json~\n"
                  "rename out.partial/bitmill.json~ out.partial/bitmill.json\n");
    assert_ok(bm_output_commit(&output, &err), &err);
}

static void a_result_is_flushed_before_it_is_seen(void **state)
{
    (void)state;
    write_output(out, false);
    assert_events("remove out.partial/bitmill.journal\n"
                  "flush out.partial\n"
                  "rename out.partial out\n"
                  "flush .\n"
                  "remove out.partial.lock\n");
}

// The old result, which bears the partial name then, is marked as debris before the first of its files goes, and the mark
// goes last.
static void an_old_result_goes_when_the_new_one_is_flushed(void **state)
{
    (void)state;
    write_output(out, false);
    bm_string_clear(&events);
    write_output(out, true);
    assert_events("remove out.partial/bitmill.journal\n"
                  "flush out.partial\n"
                  "exchange out out.partial\n"
                  "flush .\n"
                  "flush out.partial/bitmill.journal~\n"
                  "rename out.partial/bitmill.journal~ out.partial/bitmill.journal\n"
                  "remove out.partial/bitmill.json\n"
                  "remove out.partial/weights\n"
                  "remove out.partial/bitmill.journal\n"
                  "remove out.partial\n"
                  "remove out.partial.lock\n");
}

// Each folder that was made is an entry of the one above it.
static void parents_that_were_made_are_flushed_too(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_output output;
    char *deep = bm_path_join(parent, "a/b/out");
    assert_ok(bm_output_begin(&output, deep, false, NULL, &err), &err);
    bm_string_clear(&events);
    assert_ok(bm_output_commit(&output, &err), &err);
    assert_events("remove a/b/out.partial/bitmill.journal\n"
                  "flush a/b/out.partial\n"
                  "rename a/b/out.partial a/b/out\n"
                  "flush a/b\n"
                  "flush a\n"
                  "flush .\n"
                  "remove a/b/out.partial.lock\n");
    bm_free(deep);
}

// A disk that is full or broken says so when it is flushed. Some file systems cannot flush folders.
static void what_cannot_be_flushed_is_no_result(void **state)
{
    (void)state;
    static const char path_words[] = "out.partial: cannot flush";
    bm_error err = {0};
    bm_output output;
    assert_ok(bm_output_begin(&output, out, false, NULL, &err), &err);
    flush_error = EIO;
    char *path = bm_path_join(output.partial, "weights");
    assert_int_equal(bm_file_write_all(path, record, 1, &err), BM_E_IO);
    assert_non_null(strstr(err.message, "out.partial/weights: cannot flush"));
    assert_false(support_folder_has(output.partial, "weights"));
    assert_int_equal(support_folder_count(output.partial), 1); // the mark
    assert_int_equal(bm_output_commit(&output, &err), BM_E_IO);
    assert_non_null(strstr(err.message, path_words));
    assert_int_equal(support_folder_count(parent), 0);
    flush_error = EINVAL;
    assert_ok(bm_output_begin(&output, out, false, NULL, &err), &err);
    assert_ok(bm_output_commit(&output, &err), &err);
    assert_int_equal(support_folder_count(parent), 1);
    bm_free(path);
}

// Activations that a run keeps in a file are read back by that run alone: waiting for the disk would be in vain.
static void what_is_read_back_is_not_flushed(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_device *device = NULL;
    bm_tensor matrix = {0}, taken = {0};
    bm_kept kept = {0};
    float values[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, found[12] = {0};
    support_log log;
    support_log_init(&log);
    assert_ok(support_device_open("host", &log, &device, &err), &err);
    assert_ok(bm_tensor_create(device, BM_DTYPE_F32, 3, 4, "matrix", &matrix, &err), &err);
    assert_ok(bm_kept_begin(&kept, device, BM_KEPT_FILE, 1, 0, parent, &err), &err);
    assert_ok(bm_tensor_upload(device, &matrix, values, &err), &err);
    assert_ok(bm_kept_put(&kept, 0, &matrix, &err), &err);
    assert_ok(bm_fill(device, matrix.view, 0, &err), &err);
    assert_ok(bm_kept_take(&kept, 0, &matrix, &taken, &err), &err);
    assert_ok(bm_tensor_download(device, &taken, found, &err), &err);
    assert_ok(bm_device_wait(device, &err), &err);
    assert_memory_equal(found, values, sizeof values);
    bm_kept_end(&kept);
    assert_events("remove scratch~\n");
    bm_tensor_destroy(&matrix);
    bm_device_close(&device);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_result_is_flushed_before_it_is_seen),
        WITH_FOLDER(an_old_result_goes_when_the_new_one_is_flushed),
        WITH_FOLDER(parents_that_were_made_are_flushed_too),
        WITH_FOLDER(what_is_read_back_is_not_flushed),
        WITH_FOLDER(what_cannot_be_flushed_is_no_result),
    };
    return cmocka_run_group_tests_name("durability", tests, NULL, NULL);
}
