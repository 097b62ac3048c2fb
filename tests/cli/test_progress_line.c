// Progress: the words of a report in a given width, and signs of life where standard error is no terminal.
#include "support/folders.h"
#include "support/unit.h"

#include "base/clock.h"
#include "base/file.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const bm_progress_report long_report = {.phase = "evaluate the reference, window 12 of 345",
                                               .done = 999,
                                               .total = 1000,
                                               .unit = "tokens x blocks",
                                               .block = 6,
                                               .num_blocks = 32,
                                               .tokens_per_second = 1234.4,
                                               .seconds_left = 17};

static void words_shrink_to_the_width(void **state)
{
    char line[256];
    (void)state;
    cli_progress_words(&long_report, 200, line, sizeof line);
    assert_string_equal(line,
                        "evaluate the reference, window 12 of 345, block 7 of 32, 999 of 1000 tokens x blocks (99 %), "
                        "1234 tokens/s, 17 s left");
    cli_progress_words(&long_report, 90, line, sizeof line);
    assert_string_equal(line,
                        "evaluate the reference, window 12 of 345, block 7 of 32, 99 %, 1234 tokens/s, 17 s left");
    for (uint32_t columns = 0; columns < 130; columns++) {
        memset(line, 'x', sizeof line);
        cli_progress_words(&long_report, columns, line, sizeof line);
        assert_true(strlen(line) <= columns);
    }
    const bm_progress_report short_report = {.phase = "read", .seconds_left = -1};
    cli_progress_words(&short_report, 79, line, sizeof line);
    assert_string_equal(line, "read");
}

// What reports print to standard error, which is a file meanwhile; seconds[i] pass before report i. bm_free it.
static char *said(const double *seconds, const bm_progress_report *reports, uint32_t count)
{
    char *folder = support_folder_create(), *path = bm_path_join(folder, "stderr"), *text = NULL;
    uint64_t size = 0;
    bm_error err = {0};
    cli_context context = {.program = "test"};
    fflush(stderr);
    const int kept = dup(STDERR_FILENO);
    FILE *file = fopen(path, "w");
    assert_true(kept >= 0 && file);
    dup2(fileno(file), STDERR_FILENO);
    for (uint32_t i = 0; i < count; i++) {
        context.last_progress_ns -= (uint64_t)(seconds[i] * 1e9);
        assert_true(cli_report_progress(&context, &reports[i]));
    }
    cli_end_progress(&context);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    fclose(file);
    assert_int_equal(bm_file_read_all(path, 10000, &text, &size, &err), BM_OK);
    bm_free(path);
    support_folder_remove(&folder);
    return text;
}

static void a_long_phase_shows_signs_of_life(void **state)
{
    static const double seconds[] = {0, 1, 9.5, 5, 20, 0};
    bm_progress_report reports[BM_COUNT(seconds)];
    (void)state;
    for (uint32_t i = 0; i < BM_COUNT(seconds); i++)
        reports[i] = (bm_progress_report){
            .phase = i < 5 ? "evaluate" : "score", .done = i, .total = 4, .unit = "steps", .seconds_left = -1};
    char *text = said(seconds, reports, BM_COUNT(seconds));
    assert_string_equal(text, "evaluate ...\n"
                              "evaluate, 2 of 4 steps (50 %)\n"
                              "evaluate, 4 of 4 steps (100 %)\n"
                              "score ...\n");
    bm_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_shrink_to_the_width),
        cmocka_unit_test(a_long_phase_shows_signs_of_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
