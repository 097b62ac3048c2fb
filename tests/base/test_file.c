// Files and folders. POSIX calls stand in here for what another program would do.
#include "support/unit.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/thread.h"
#include "support/folders.h"
#include "support/own_folder.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void assert_content(const char *path, const char *expected)
{
    char *text = NULL;
    uint64_t size = 0;
    bm_error err;
    assert_ok(bm_file_read_all(path, 1 << 20, &text, &size, &err), &err);
    assert_int_equal(size, strlen(expected));
    assert_string_equal(text, expected);
    bm_free(text);
}

static uint32_t num_entries(const char *path)
{
    bm_name_list list = {0};
    bm_error err;
    assert_ok(bm_folder_list(path, &list, &err), &err);
    const uint32_t count = list.count;
    bm_name_list_free(&list);
    return count;
}

static void open_refuses_what_is_no_file(void **state)
{
    bm_file *file = NULL;
    bm_error err;
    char *absent = bm_path_join(folder, "absent"), *fifo = bm_path_join(folder, "fifo");
    (void)state;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(bm_file_open(&file, absent, &err), BM_E_IO);
    assert_non_null(strstr(err.message, absent));
    assert_int_equal(bm_file_open(&file, folder, &err), BM_E_IO);
    assert_int_equal(bm_file_open(&file, fifo, &err), BM_E_IO); // and does not hang
    assert_null(file);
    bm_free(absent);
    bm_free(fifo);
}

static void a_git_lfs_pointer_is_no_file(void **state)
{
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:81c4\nsize 9085657\n";
    char long_text[2000], *bytes = NULL;
    uint64_t size = 0;
    bm_file *file = NULL;
    bm_error err = {0};
    (void)state;
    char *path = support_file_write(folder, "pointer", pointer, sizeof pointer - 1),
         *copy = bm_path_join(folder, "copy");
    assert_int_equal(bm_file_open(&file, path, &err), BM_E_FORMAT);
    assert_null(file);
    assert_true(strncmp(err.message, path, strlen(path)) == 0);
    assert_non_null(strstr(err.message, "is a Git LFS pointer"));
    assert_non_null(strstr(err.message, "git lfs pull"));
    assert_int_equal(bm_file_read_all(path, 1000, &bytes, &size, &err), BM_E_FORMAT);
    assert_int_equal(bm_file_copy(path, copy, &err), BM_E_FORMAT);
    bm_free(path);
    // A text about pointers is longer, one that is as short says something else.
    memset(long_text, ' ', sizeof long_text);
    memcpy(long_text, pointer, sizeof pointer - 1);
    path = support_file_write(folder, "long", long_text, sizeof long_text);
    assert_ok(bm_file_open(&file, path, &err), &err);
    bm_file_close(&file);
    bm_free(path);
    path = support_file_write(folder, "other", pointer, 20);
    assert_ok(bm_file_open(&file, path, &err), &err);
    bm_file_close(&file);
    bm_free(path);
    bm_free(copy);
}

static void a_disk_says_how_much_room_it_has(void **state)
{
    uint64_t room = 0, none = 7;
    (void)state;
    assert_true(bm_folder_free_bytes(folder, &room));
    assert_true(room > 0);
    assert_false(bm_folder_free_bytes("/nowhere/at/all", &none));
    assert_true(bm_folder_shares_disk(folder, folder));
    assert_false(bm_folder_shares_disk(folder, "/nowhere/at/all"));
    assert_int_equal(none, 7);
}

static void within_goes_by_whole_names(void **state)
{
    (void)state;
    assert_true(bm_path_is_within("/a/b", "/a/b") && bm_path_is_within("/a/b/c", "/a/b"));
    assert_true(bm_path_is_within("/a/b/c", "/a/b/") && bm_path_is_within("/a", "/"));
    assert_false(bm_path_is_within("/a/bc", "/a/b") || bm_path_is_within("/a", "/a/b"));
}

static void read_at_gives_the_bytes_or_says_where_the_file_ends(void **state)
{
    char out[8] = "";
    bm_file *file = NULL;
    bm_error err;
    char *path = support_file_write(folder, "a", "0123456789", 10);
    (void)state;
    assert_ok(bm_file_open(&file, path, &err), &err);
    assert_int_equal(bm_file_size(file), 10);
    assert_string_equal(bm_file_path(file), path);
    assert_ok(bm_file_read_at(file, 3, out, 4, &err), &err);
    assert_memory_equal(out, "3456", 4);
    assert_ok(bm_file_read_at(file, 10, out, 0, &err), &err);
    assert_int_equal(bm_file_read_at(file, 8, out, 4, &err), BM_E_IO);
    assert_int_equal(bm_file_read_at(file, UINT64_MAX, out, 1, &err), BM_E_IO);
    assert_int_equal(bm_file_read_at(file, 1, out, UINT64_MAX, &err), BM_E_IO);
    bm_file_close(&file);
    assert_null(file);
    bm_free(path);
}

static void read_all_keeps_to_its_limit(void **state)
{
    char *text = NULL;
    uint64_t size = 0;
    bm_error err;
    char *path = support_file_write(folder, "a", "12345", 5), *none = support_file_write(folder, "b", "", 0);
    (void)state;
    assert_int_equal(bm_file_read_all(path, 4, &text, &size, &err), BM_E_FORMAT);
    assert_null(text);
    assert_ok(bm_file_read_all(path, 5, &text, &size, &err), &err);
    assert_string_equal(text, "12345");
    bm_free(text);
    assert_ok(bm_file_read_all(none, 0, &text, &size, &err), &err);
    assert_int_equal(size, 0);
    bm_free(text);
    bm_free(path);
    bm_free(none);
}

static void writer_shows_nothing_before_commit(void **state)
{
    bm_writer *writer = NULL;
    bm_error err;
    char *path = support_file_write(folder, "a", "old", 3);
    (void)state;
    assert_ok(bm_writer_create(&writer, path, &err), &err);
    assert_ok(bm_writer_write(writer, "newer", 5, &err), &err);
    assert_content(path, "old");
    assert_ok(bm_writer_commit(&writer, &err), &err);
    assert_null(writer);
    assert_content(path, "newer");
    assert_int_equal(num_entries(folder), 1);
    bm_free(path);
}

static void writer_without_commit_leaves_nothing(void **state)
{
    bm_writer *writer = NULL;
    bm_error err;
    char *path = bm_path_join(folder, "a");
    (void)state;
    assert_ok(bm_writer_create(&writer, path, &err), &err);
    assert_ok(bm_writer_write(writer, "x", 1, &err), &err);
    bm_writer_destroy(&writer);
    assert_int_equal(num_entries(folder), 0);
    bm_writer_destroy(&writer);
    bm_free(path);
}

static void writer_writes_at_any_place(void **state)
{
    bm_writer *writer = NULL;
    bm_error err;
    char *path = bm_path_join(folder, "a");
    (void)state;
    assert_ok(bm_writer_create(&writer, path, &err), &err);
    assert_ok(bm_writer_write_at(writer, 4, "56", 2, &err), &err);
    assert_ok(bm_writer_write(writer, "12", 2, &err), &err);
    assert_ok(bm_writer_write(writer, "34", 2, &err), &err);
    assert_ok(bm_writer_commit(&writer, &err), &err);
    assert_content(path, "123456");
    bm_free(path);
}

static void writer_to_a_place_that_refuses_names_it(void **state)
{
    bm_writer *writer = NULL;
    bm_error err;
    char *path = bm_path_join(folder, "absent/a");
    (void)state;
    assert_int_equal(bm_writer_create(&writer, path, &err), BM_E_IO);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(bm_file_write_all(path, "x", 1, &err), BM_E_IO);
    bm_free(path);
    if (geteuid() == 0)
        return; // root may write anywhere
    path = bm_path_join(folder, "a");
    assert_int_equal(chmod(folder, 0500), 0);
    const bm_status status = bm_file_write_all(path, "x", 1, &err);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_int_equal(status, BM_E_IO);
    bm_free(path);
}

static void commit_over_a_folder_fails_and_leaves_it(void **state)
{
    bm_error err;
    char *path = bm_path_join(folder, "taken");
    (void)state;
    assert_ok(bm_folder_create(path, false, &err), &err);
    assert_int_equal(bm_file_write_all(path, "x", 1, &err), BM_E_IO);
    assert_int_equal(bm_path_kind_of(path), BM_PATH_FOLDER);
    assert_int_equal(num_entries(folder), 1); // no temporary file
    bm_free(path);
}

// A limit on the size of files stands in for a full disk: writing fails half way.
static void writing_that_fails_half_way_leaves_the_old_file(void **state)
{
    char bytes[8192] = {0};
    struct rlimit limit, small;
    bm_error err;
    char *path = support_file_write(folder, "a", "old", 3);
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 4096;
    void (*previous)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const bm_status status = bm_file_write_all(path, bytes, sizeof bytes, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, previous);
    assert_int_equal(status, BM_E_IO);
    assert_non_null(strstr(err.message, path));
    assert_content(path, "old");
    assert_int_equal(num_entries(folder), 1);
    bm_free(path);
}

static void folders_are_made_with_their_parents(void **state)
{
    bm_error err;
    char *deep = bm_path_join(folder, "a/b//c/"), *file = support_file_write(folder, "file", "", 0);
    char *below = bm_path_join(file, "x");
    (void)state;
    assert_int_equal(bm_folder_create(deep, false, &err), BM_E_IO);
    assert_ok(bm_folder_create(deep, true, &err), &err);
    assert_ok(bm_folder_create(deep, true, &err), &err); // there already
    assert_int_equal(bm_path_kind_of(deep), BM_PATH_FOLDER);
    assert_int_equal(bm_folder_create(file, true, &err), BM_E_IO);
    assert_int_equal(bm_folder_create(below, true, &err), BM_E_IO);
    assert_int_equal(bm_path_kind_of(below), BM_PATH_ABSENT);
    bm_free(deep);
    bm_free(file);
    bm_free(below);
}

static void list_is_sorted_by_bytes(void **state)
{
    static const char *const names[] = {"b", "a", "B", "\xc3\xa4", ".hidden"};
    static const char *const sorted[] = {".hidden", "B", "a", "b", "\xc3\xa4"};
    bm_name_list list = {0};
    bm_error err;
    (void)state;
    for (size_t i = 0; i < BM_COUNT(names); i++)
        bm_free(support_file_write(folder, names[i], "", 0));
    assert_ok(bm_folder_list(folder, &list, &err), &err);
    assert_int_equal(list.count, BM_COUNT(sorted));
    for (size_t i = 0; i < BM_COUNT(sorted); i++)
        assert_string_equal(list.names[i], sorted[i]);
    bm_name_list_free(&list);
    assert_int_equal(bm_folder_list("/nowhere/at/all", &list, &err), BM_E_IO);
}

static void remove_does_not_follow_links(void **state)
{
    bm_error err;
    char *outside = bm_path_join(folder, "outside"), *tree = bm_path_join(folder, "tree");
    char *inner = bm_path_join(tree, "inner"), *link = bm_path_join(inner, "link");
    (void)state;
    assert_ok(bm_folder_create(outside, false, &err), &err);
    char *precious = support_file_write(outside, "precious", "x", 1);
    assert_ok(bm_folder_create(inner, true, &err), &err);
    bm_free(support_file_write(inner, "file", "x", 1));
    assert_int_equal(symlink(outside, link), 0);
    assert_ok(bm_folder_remove(tree, &err), &err);
    assert_int_equal(bm_path_kind_of(tree), BM_PATH_ABSENT);
    assert_content(precious, "x");
    // A link given as the root is removed itself.
    char *root = bm_path_join(folder, "root");
    assert_int_equal(symlink(outside, root), 0);
    assert_ok(bm_folder_remove(root, &err), &err);
    assert_content(precious, "x");
    assert_ok(bm_folder_remove(root, &err), &err); // absent is fine
    bm_free(root);
    bm_free(precious);
    bm_free(outside);
    bm_free(tree);
    bm_free(inner);
    bm_free(link);
}

static void swap_exchanges_two_folders(void **state)
{
    bm_error err;
    char *a = bm_path_join(folder, "a"), *b = bm_path_join(folder, "b"), *absent = bm_path_join(folder, "c"),
         *left = NULL;
    (void)state;
    assert_ok(bm_folder_create(a, false, &err), &err);
    assert_ok(bm_folder_create(b, false, &err), &err);
    char *in_a = support_file_write(a, "name", "of a", 4), *in_b = support_file_write(b, "name", "of b", 4);
    assert_ok(bm_folder_swap(a, b, &left, &err), &err);
    assert_content(in_a, "of b");
    assert_content(in_b, "of a");
    assert_null(left);
    assert_ok(bm_folder_sync(folder, &err), &err);
    assert_int_equal(bm_folder_swap(a, absent, &left, &err), BM_E_IO);
    assert_content(in_a, "of b"); // as it was
    assert_int_equal(num_entries(folder), 2);
    bm_free(in_a);
    bm_free(in_b);
    bm_free(a);
    bm_free(b);
    bm_free(absent);
}

static void copy_is_equal_and_atomic(void **state)
{
    enum { SIZE = (1 << 20) + 17 };
    bm_error err;
    char *bytes = bm_alloc(SIZE, 1), *back = NULL, *to = bm_path_join(folder, "to");
    uint64_t size = 0;
    (void)state;
    for (int i = 0; i < SIZE; i++)
        bytes[i] = (char)(i * 31 >> 3);
    char *from = support_file_write(folder, "from", bytes, SIZE);
    assert_ok(bm_file_copy(from, to, &err), &err);
    assert_ok(bm_file_read_all(to, SIZE, &back, &size, &err), &err);
    assert_int_equal(size, SIZE);
    assert_memory_equal(back, bytes, SIZE);
    assert_int_equal(num_entries(folder), 2);
    bm_free(back);
    bm_free(bytes);
    bm_free(from);
    bm_free(to);
}

// A child takes the lock while the parent holds it: it must wait until the parent has written its line.
static void lock_excludes_another_process(void **state)
{
    bm_file_lock *lock = NULL;
    bm_error err;
    char *path = bm_path_join(folder, "lock"), *record = bm_path_join(folder, "record"), *text = NULL;
    uint64_t size = 0;
    int exit_status = -1;
    (void)state;
    assert_ok(bm_file_lock_acquire(&lock, path, &err), &err);
    const pid_t child = fork();
    if (child == 0) {
        bm_file_lock *own = NULL;
        if (bm_file_lock_acquire(&own, path, NULL) != BM_OK)
            _exit(1);
        FILE *file = fopen(record, "ab");
        if (!file || fputs("child\n", file) < 0 || fclose(file) != 0)
            _exit(2);
        bm_file_lock_release(&own);
        bm_free(path);
        bm_free(record);
        _exit(0);
    }
    assert_true(child > 0);
    bm_clock_sleep_ms(100); // time for the child to come to the lock
    FILE *file = fopen(record, "ab");
    assert_non_null(file);
    assert_true(fputs("parent\n", file) >= 0 && fclose(file) == 0);
    bm_file_lock_release(&lock);
    assert_null(lock);
    assert_int_equal(waitpid(child, &exit_status, 0), child);
    assert_int_equal(exit_status, 0);
    assert_ok(bm_file_read_all(record, 100, &text, &size, &err), &err);
    assert_string_equal(text, "parent\nchild\n");
    bm_free(text);
    bm_free(path);
    bm_free(record);
}

typedef struct lock_user {
    const char *path;
    bool failed;
    int *inside; // threads that hold the lock at this moment: not atomic, the lock guards it
    int most;
} lock_user;

static void take_lock(void *user)
{
    lock_user *u = user;
    for (int i = 0; i < 20; i++) {
        bm_file_lock *lock = NULL;
        if (bm_file_lock_acquire(&lock, u->path, NULL) != BM_OK) {
            u->failed = true;
            return;
        }
        const int inside = ++*u->inside;
        if (inside > u->most)
            u->most = inside;
        bm_clock_sleep_ms(1);
        --*u->inside;
        bm_file_lock_release(&lock);
    }
}

static void lock_excludes_another_thread(void **state)
{
    (void)state;
    char *path = bm_path_join(folder, "lock");
    int inside = 0;
    lock_user users[3] = {{path, false, &inside, 0}, {path, false, &inside, 0}, {path, false, &inside, 0}};
    bm_thread *threads[3] = {NULL};
    bm_error err;
    for (size_t i = 0; i < BM_COUNT(users); i++)
        assert_ok(bm_thread_start(&threads[i], take_lock, &users[i], &err), &err);
    for (size_t i = 0; i < BM_COUNT(users); i++) {
        bm_thread_join(&threads[i]);
        assert_false(users[i].failed);
        assert_int_equal(users[i].most, 1);
    }
    bm_free(path);
}

// Two writers of one file in one process: each has bytes of its own until it commits, and the last commit stays.
static void writers_of_one_file_do_not_meet(void **state)
{
    (void)state;
    char *path = bm_path_join(folder, "file");
    bm_writer *first = NULL, *second = NULL;
    bm_error err;
    assert_ok(bm_writer_create(&first, path, &err), &err);
    assert_ok(bm_writer_write(first, "first", 5, &err), &err);
    assert_ok(bm_writer_create(&second, path, &err), &err);
    assert_ok(bm_writer_write(second, "2", 1, &err), &err);
    assert_ok(bm_writer_commit(&first, &err), &err);
    assert_content(path, "first");
    assert_ok(bm_writer_commit(&second, &err), &err);
    assert_content(path, "2");
    assert_int_equal(num_entries(folder), 1);
    bm_free(path);
}

static void a_claim_is_held_once_and_leaves_nothing(void **state)
{
    (void)state;
    bm_claim *first = NULL, *second = NULL;
    bm_error err;
    char *path = support_file_write(folder, "claim", "", 0); // its holder was killed
    assert_ok(bm_claim_try(&first, path, &err), &err);
    assert_non_null(first);
    assert_true(bm_claim_excludes(first));
    assert_ok(bm_claim_try(&second, path, &err), &err);
    assert_null(second);
    bm_claim_release(&first);
    assert_int_equal(num_entries(folder), 0);
    bm_free(path);
}

// Whatever of the name no claim can have left.
static void a_claim_leaves_a_strangers_file_alone(void **state)
{
    (void)state;
    bm_claim *claim = NULL;
    bm_error err;
    char *file = support_file_write(folder, "file", "letter", 6), *fifo = bm_path_join(folder, "fifo");
    char *link = bm_path_join(folder, "link"), *empty = support_file_write(folder, "empty", "", 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(symlink(empty, link), 0);
    const char *const all[] = {file, fifo, link, folder};
    for (size_t i = 0; i < BM_COUNT(all); i++) {
        assert_int_equal(bm_claim_try(&claim, all[i], &err), BM_E_IO);
        assert_null(claim);
        assert_non_null(strstr(err.message, all[i]));
    }
    assert_content(file, "letter");
    assert_int_equal(num_entries(folder), 4);
    bm_free(file);
    bm_free(fifo);
    bm_free(link);
    bm_free(empty);
}

static void lock_where_no_file_can_be_is_an_error(void **state)
{
    bm_file_lock *lock = NULL;
    bm_error err;
    (void)state;
    assert_int_equal(bm_file_lock_acquire(&lock, "/nowhere/at/all/lock", &err), BM_E_IO);
    assert_non_null(strstr(err.message, "/nowhere/at/all/lock"));
    assert_null(lock);
}

static void paths_are_joined_and_taken_apart(void **state)
{
    static const struct {
        const char *folder, *name, *joined;
    } cases[] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"/", "b", "/b"}};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *joined = bm_path_join(cases[i].folder, cases[i].name);
        assert_string_equal(joined, cases[i].joined);
        bm_free(joined);
    }
    assert_string_equal(bm_path_base_name("/a/b.txt"), "b.txt");
    assert_string_equal(bm_path_base_name("b.txt"), "b.txt");
    assert_string_equal(bm_path_base_name("a/"), "");
}

static void cache_folder_follows_the_environment(void **state)
{
    (void)state;
    assert_int_equal(setenv("XDG_CACHE_HOME", "/x", 1), 0);
    char *path = bm_user_cache_folder();
    assert_string_equal(path, "/x/bitmill");
    bm_free(path);
    assert_int_equal(setenv("XDG_CACHE_HOME", "relative", 1), 0); // not allowed to count
    assert_int_equal(setenv("HOME", "/h", 1), 0);
    path = bm_user_cache_folder();
    assert_true(strncmp(path, "/h/", 3) == 0);
    bm_free(path);
    assert_int_equal(unsetenv("HOME"), 0);
    assert_null(bm_user_cache_folder());
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(open_refuses_what_is_no_file),
        WITH_FOLDER(a_git_lfs_pointer_is_no_file),
        WITH_FOLDER(a_disk_says_how_much_room_it_has),
        cmocka_unit_test(within_goes_by_whole_names),
        WITH_FOLDER(read_at_gives_the_bytes_or_says_where_the_file_ends),
        WITH_FOLDER(read_all_keeps_to_its_limit),
        WITH_FOLDER(writer_shows_nothing_before_commit),
        WITH_FOLDER(writer_without_commit_leaves_nothing),
        WITH_FOLDER(writer_writes_at_any_place),
        WITH_FOLDER(writer_to_a_place_that_refuses_names_it),
        WITH_FOLDER(commit_over_a_folder_fails_and_leaves_it),
        WITH_FOLDER(writing_that_fails_half_way_leaves_the_old_file),
        WITH_FOLDER(folders_are_made_with_their_parents),
        WITH_FOLDER(list_is_sorted_by_bytes),
        WITH_FOLDER(remove_does_not_follow_links),
        WITH_FOLDER(swap_exchanges_two_folders),
        WITH_FOLDER(copy_is_equal_and_atomic),
        WITH_FOLDER(lock_excludes_another_process),
        WITH_FOLDER(lock_excludes_another_thread),
        WITH_FOLDER(writers_of_one_file_do_not_meet),
        WITH_FOLDER(a_claim_is_held_once_and_leaves_nothing),
        WITH_FOLDER(a_claim_leaves_a_strangers_file_alone),
        cmocka_unit_test(lock_where_no_file_can_be_is_an_error),
        cmocka_unit_test(paths_are_joined_and_taken_apart),
        cmocka_unit_test(cache_folder_follows_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
