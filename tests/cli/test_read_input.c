// Standard input and signals: a program that waits for somebody to type ends by a signal, whenever that comes.
#include "support/unit.h"

#include "cli/cli.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

// In a process of its own, whose standard input is a pipe that nobody writes into: a signal, then a read. Does not return.
static void read_after(int signal_number)
{
    int ends[2];
    cli_context context;
    bm_string words = BM_STRING_INIT;
    bm_error err;
    alarm(30); // a read that outlasts the signal ends by this one
    if (pipe(ends) != 0 || dup2(ends[0], 0) != 0)
        _exit(2);
    cli_context_init(&context, "test");
    raise(signal_number);
    (void)cli_read_input(&words, 1000, &err);
    _exit(1);
}

static void a_signal_before_the_read_ends_it(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(signals); i++) {
        int ended = 0;
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            read_after(signals[i]);
        assert_int_equal(waitpid(child, &ended, 0), child);
        assert_true(WIFEXITED(ended));
        assert_int_equal(WEXITSTATUS(ended), CLI_INTERRUPTED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_signal_before_the_read_ends_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
