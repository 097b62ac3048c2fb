#include "support/unit.h"

#include "base/clock.h"
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

static int keep(void *user, const bm_progress_report *report)
{
    *(bm_progress_report *)user = *report;
    return report->done < 4;
}

static void a_phase_adds_up_and_estimates(void **state)
{
    bm_progress_report last = {0};
    const bm_progress progress = {keep, &last};
    bm_phase phase = {.progress = &progress,
                      .report = {.phase = "work", .total = 4, .unit = "pieces", .block = 7},
                      .start_ns = bm_clock_ns() - UINT64_C(1000000000)};
    bm_error err = {0};
    (void)state;
    assert_int_equal(bm_phase_step(&phase, 0, &err), BM_OK);
    assert_true(last.done == 0 && last.seconds_left < 0); // unknown
    assert_int_equal(bm_phase_step(&phase, 1, &err), BM_OK);
    assert_true(last.done == 1 && last.seconds_left >= 3 && last.seconds_left < 60);
    assert_int_equal(bm_phase_step(&phase, 0, &err), BM_OK);
    assert_true(last.done == 1 && last.block == 7);
    assert_string_equal(last.unit, "pieces");
    assert_int_equal(bm_phase_step(&phase, 3, &err), BM_E_CANCELLED);
    assert_true(last.done == 4 && last.seconds_left == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_answer_decides),
        cmocka_unit_test(a_phase_adds_up_and_estimates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
