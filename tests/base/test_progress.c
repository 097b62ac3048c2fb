#include "support/unit.h"

#include "base/progress.h"

static int answer(void *user, const bm_progress_report *report)
{
    const int *limit = user;
    return report->done < (uint64_t)*limit;
}

static void the_answer_decides(void **state)
{
    int limit = 3;
    const bm_progress progress = {answer, &limit}, silent = {NULL, NULL};
    const bm_progress_report early = {.phase = "work", .done = 2}, late = {.phase = "work", .done = 3};
    bm_error err = {0};
    (void)state;
    assert_int_equal(bm_progress_tell(&progress, &early, &err), BM_OK);
    assert_int_equal(bm_progress_tell(&progress, &late, &err), BM_E_CANCELLED);
    assert_string_equal(err.message, "interrupted");
    assert_int_equal(bm_progress_tell(&silent, &late, &err), BM_OK);
    assert_int_equal(bm_progress_tell(NULL, &late, &err), BM_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_answer_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
