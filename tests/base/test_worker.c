#include "support/unit.h"

#include "base/clock.h"
#include "base/thread.h"
#include "base/worker.h"

#include <string.h>

enum { NUM_TASKS = 200 };

// What a task does, and where it says so.
typedef struct note {
    uint32_t number, *done, *num_done, *num_discarded;
    bool fails;
} note;

static bm_status write_down(void *context, bm_error *err)
{
    const note *n = context;
    if (n->fails)
        return bm_fail(err, BM_E_IO, "task %u: no room", n->number);
    n->done[(*n->num_done)++] = n->number;
    return BM_OK;
}

static void discard(void *context)
{
    note *n = context;
    ++*n->num_discarded;
}

// Hands over NUM_TASKS tasks, of which one may fail; the first error that is met.
static bm_status run_all(uint64_t max_bytes, uint32_t max_threads, int failing, uint32_t *done, uint32_t *num_done,
                         uint32_t *num_discarded, bm_error *err)
{
    static note notes[NUM_TASKS];
    bm_worker *worker = NULL;
    bm_status status = bm_worker_create(&worker, max_bytes, max_threads, NULL, BM_TRACK_WRITING, err);
    *num_done = *num_discarded = 0;
    assert_int_equal(status, BM_OK);
    for (uint32_t i = 0; i < NUM_TASKS && status == BM_OK; i++) {
        notes[i] = (note){i, done, num_done, num_discarded, (int)i == failing};
        const bm_task task = {write_down, discard, &notes[i], i % 7 == 3 ? 1000 : 10};
        status = bm_worker_push(worker, &task, err);
    }
    if (status == BM_OK)
        status = bm_worker_finish(worker, err);
    bm_worker_destroy(&worker);
    return status;
}

static const uint64_t sizes[] = {0, 1, 100, 100000}; // without a thread, one at a time, few, all

static void tasks_are_done_in_order(void **state)
{
    uint32_t done[NUM_TASKS], num_done, num_discarded;
    bm_error err;
    (void)state;
    for (size_t s = 0; s < BM_COUNT(sizes); s++) {
        assert_ok(run_all(sizes[s], 1, -1, done, &num_done, &num_discarded, &err), &err);
        assert_int_equal(num_done, NUM_TASKS);
        assert_int_equal(num_discarded, NUM_TASKS);
        for (uint32_t i = 0; i < NUM_TASKS; i++)
            assert_int_equal(done[i], i);
    }
}

static void the_first_error_ends_it(void **state)
{
    uint32_t done[NUM_TASKS], num_done, num_discarded;
    (void)state;
    for (size_t s = 0; s < BM_COUNT(sizes); s++) {
        bm_error err = {0};
        assert_int_equal(run_all(sizes[s], 1, 17, done, &num_done, &num_discarded, &err), BM_E_IO);
        assert_string_equal(err.message, "task 17: no room");
        assert_int_equal(num_done, 17);
        assert_true(num_discarded >= 18);
    }
}

// Two that meet: each waits, for ten seconds at most, until the other has come as well.
typedef struct meeting {
    bm_monitor *monitor;
    uint32_t here;
} meeting;

static bm_status meet(void *context, bm_error *err)
{
    meeting *m = context;
    bm_status status = BM_OK;
    bm_monitor_enter(m->monitor);
    m->here++;
    for (uint32_t i = 0; i < 1000 && m->here < 2; i++) {
        bm_monitor_leave(m->monitor);
        bm_clock_sleep_ms(10);
        bm_monitor_enter(m->monitor);
    }
    if (m->here < 2)
        status = bm_fail(err, BM_E_INTERNAL, "nobody came");
    bm_monitor_leave(m->monitor);
    return status;
}

static void keep(void *context)
{
    (void)context;
}

static void tasks_run_side_by_side(void **state)
{
    meeting m = {.monitor = bm_monitor_create()};
    bm_worker *worker = NULL;
    bm_error err;
    (void)state;
    assert_non_null(m.monitor);
    assert_ok(bm_worker_create(&worker, 100, 2, NULL, BM_TRACK_WRITING, &err), &err);
    for (uint32_t i = 0; i < 2; i++)
        assert_ok(bm_worker_push(worker, &(bm_task){meet, keep, &m, 1}, &err), &err);
    assert_ok(bm_worker_finish(worker, &err), &err);
    bm_worker_destroy(&worker);
    bm_monitor_destroy(&m.monitor);
}

static void unfinished_tasks_are_discarded(void **state)
{
    static note notes[NUM_TASKS];
    uint32_t done[NUM_TASKS], num_done = 0, num_discarded = 0;
    bm_worker *worker = NULL;
    bm_error err;
    (void)state;
    assert_ok(bm_worker_create(&worker, 100000, 1, NULL, BM_TRACK_WRITING, &err), &err);
    for (uint32_t i = 0; i < NUM_TASKS; i++) {
        notes[i] = (note){i, done, &num_done, &num_discarded, false};
        assert_ok(bm_worker_push(worker, &(bm_task){write_down, discard, &notes[i], 1}, &err), &err);
    }
    bm_worker_destroy(&worker);
    assert_int_equal(num_discarded, NUM_TASKS);
}

static bm_status write_down_slowly(void *context, bm_error *err)
{
    bm_clock_sleep_ms(1);
    return write_down(context, err);
}

static void spans_of_tasks_are_kept(void **state)
{
    uint32_t done[1], num_done = 0, num_discarded = 0;
    note n = {0, done, &num_done, &num_discarded, false};
    bm_timeline *timeline = bm_timeline_create();
    bm_worker *worker = NULL;
    bm_error err;
    (void)state;
    assert_non_null(timeline);
    timeline->block = 5;
    assert_ok(bm_worker_create(&worker, 100, 1, timeline, BM_TRACK_WRITING, &err), &err);
    assert_ok(bm_worker_push(worker, &(bm_task){write_down_slowly, discard, &n, 1}, &err), &err);
    assert_ok(bm_worker_finish(worker, &err), &err);
    bm_worker_destroy(&worker);
    const bm_track *track = &timeline->tracks[BM_TRACK_WRITING];
    assert_int_equal(track->count, 1);
    assert_int_equal(track->spans[0].block, 5);
    bm_free(timeline);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_are_done_in_order), cmocka_unit_test(the_first_error_ends_it),
        cmocka_unit_test(tasks_run_side_by_side),  cmocka_unit_test(unfinished_tasks_are_discarded),
        cmocka_unit_test(spans_of_tasks_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
