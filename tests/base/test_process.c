// What this process is: standard streams, terminal, memory.
#include "support/folders.h"
#include "support/unit.h"

#include "base/file.h"
#include "base/process.h"
#include "base/str.h"

#include <fcntl.h>
#ifdef __linux__
#include <malloc.h>
#endif
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// In a child, whose streams may be closed: 0 when a file that is opened takes no number of a stream, and what was closed
// fails when it is used.
static int open_a_file_with_closed_streams(unsigned closed)
{
    for (int stream = 0; stream < 3; stream++)
        if (closed >> stream & 1u)
            close(stream);
    if (!bm_process_open_standard_streams())
        return 1;
    if (open("/dev/null", O_RDONLY) < 3)
        return 2;
    char byte = 0;
    if (closed & 1u && read(0, &byte, 1) >= 0)
        return 3;
    for (int stream = 1; stream < 3; stream++)
        if (closed >> stream & 1u && write(stream, &byte, 1) >= 0)
            return 4;
    return 0;
}

static void closed_streams_are_taken_before_files_are_opened(void **state)
{
    (void)state;
    for (unsigned closed = 0; closed < 8; closed++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            _exit(open_a_file_with_closed_streams(closed));
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

static void a_file_is_no_terminal(void **state)
{
    (void)state;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(1);
        _exit(open("/dev/null", O_WRONLY) == 1 && bm_process_terminal_columns(1) == 0 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void memory_is_known(void **state)
{
    (void)state;
    assert_true(bm_process_memory_bytes() >= UINT64_C(1) << 26);
    assert_true(bm_process_memory_bytes() < UINT64_C(1) << 50);
}

// groups: of /proc/self/cgroup; files below a root, with their contents.
static uint64_t limit_of(const char *groups, const char *const files[][2])
{
    char *root = support_folder_create();
    bm_error err = {0};
    char *path = support_file_write(root, "groups", groups, strlen(groups));
    for (uint32_t i = 0; files[i][0]; i++) {
        for (const char *slash = strchr(files[i][0], '/'); slash; slash = strchr(slash + 1, '/')) {
            char *folder = bm_format("%s/%.*s", root, (int)(slash - files[i][0]), files[i][0]);
            assert_ok(bm_folder_create(folder, false, &err), &err);
            bm_free(folder);
        }
        bm_free(support_file_write(root, files[i][0], files[i][1], strlen(files[i][1])));
    }
    const uint64_t limit = bm_process_memory_limit(path, root);
    bm_free(path);
    support_folder_remove(&root);
    return limit;
}

static void containers_limit_memory(void **state)
{
    (void)state;
    static const char *const two[][2] = {
        {"a/b/memory.max", "max\n"}, {"a/memory.max", "3000\n"}, {"memory.max", "5000\n"}, {NULL, NULL}};
    static const char *const own[][2] = {{"a/b/memory.max", "200\n"}, {"a/memory.max", "3000\n"}, {NULL, NULL}};
    static const char *const root[][2] = {{"memory.max", "700\n"}, {NULL, NULL}};
    static const char *const one[][2] = {{"memory/x/memory.limit_in_bytes", "900\n"},
                                         {"memory/memory.limit_in_bytes", "9223372036854771712\n"},
                                         {"memory/z/memory.limit_in_bytes", "1\n"},
                                         {NULL, NULL}};
    static const char *const odd[][2] = {{"memory.max", "many\n"}, {"a/memory.max", ""}, {NULL, NULL}};
    assert_true(limit_of("0::/a/b\n", two) == 3000);
    assert_true(limit_of("0::/a/b\n", own) == 200);
    assert_true(limit_of("0::/\n", root) == 700);
    assert_true(limit_of("0::/of/the/host\n", root) == 700); // not to be seen here
    assert_true(limit_of("7:cpu:/z\n4:hugetlb,memory:/x\n0::/\n", one) == 900);
    assert_true(limit_of("4:memory:/y\n", one) == INT64_C(9223372036854771712));
    assert_true(limit_of("0::/a\n", odd) == UINT64_MAX);
    assert_true(limit_of("none\n", root) == UINT64_MAX);
    assert_true(bm_process_memory_limit("/nowhere/cgroup", "/nowhere") == UINT64_MAX);
}

static void taken(int signal_number)
{
    (void)signal_number;
}

static void of_others(int signal_number)
{
    (void)signal_number;
}

// A driver's compiler sets handlers of its own, also of files that grow too large: LLVM's ends the process there.
static void handlers_are_ours_again_after_code_of_others(void **state)
{
    (void)state;
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGXFSZ};
    for (size_t i = 0; i < BM_COUNT(numbers); i++)
        bm_process_take_signal(numbers[i], taken);
    bm_process_handlers *kept = bm_process_keep_handlers();
    assert_non_null(kept);
    for (size_t i = 0; i < BM_COUNT(numbers); i++)
        signal(numbers[i], of_others);
    bm_process_restore_handlers(&kept);
    assert_null(kept);
    for (size_t i = 0; i < BM_COUNT(numbers); i++)
        assert_true(signal(numbers[i], SIG_IGN) == taken);
    for (size_t i = 0; i < BM_COUNT(numbers); i++) { // whoever started the program had them ignored
        bm_process_take_signal(numbers[i], taken);
        assert_true(signal(numbers[i], SIG_DFL) == SIG_IGN);
    }
}

// What was freed once would make the allocator keep the next one in its heap.
static void freed_memory_goes_back(void **state)
{
    (void)state;
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
    enum { SIZE = 8 << 20 };
    bm_process_return_memory();
    bm_free(bm_alloc(2 * SIZE, 1));           // for which it would raise its bound
    const size_t before = mallinfo2().hblkhd; // bytes that are no part of a heap
    void *bytes = bm_alloc(SIZE, 1);
    assert_true(mallinfo2().hblkhd >= before + SIZE);
    bm_free(bytes);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_streams_are_taken_before_files_are_opened),
        cmocka_unit_test(a_file_is_no_terminal),
        cmocka_unit_test(memory_is_known),
        cmocka_unit_test(containers_limit_memory),
        cmocka_unit_test(handlers_are_ours_again_after_code_of_others),
        cmocka_unit_test(freed_memory_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
