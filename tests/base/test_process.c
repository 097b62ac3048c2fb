// What this process is: standard streams, terminal, memory.
#include "support/unit.h"

#include "base/process.h"

#include <fcntl.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_streams_are_taken_before_files_are_opened),
        cmocka_unit_test(a_file_is_no_terminal),
        cmocka_unit_test(memory_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
