#include "support/unit.h"

#include "base/clock.h"
#include "base/thread.h"

#include <string.h>

static void mark(void *user, uint64_t begin, uint64_t end)
{
    uint8_t *marks = user;
    for (uint64_t i = begin; i < end; i++)
        marks[i]++;
}

static void parallel_for_visits_each_index_once(void **state)
{
    static const uint64_t counts[] = {0, 1, 2, 3, 63, 64, 65, 1000, 65537};
    static const uint64_t smallest[] = {0, 1, 7, 1000, UINT64_MAX};
    static uint8_t marks[65538];
    (void)state;
    for (size_t c = 0; c < BM_COUNT(counts); c++)
        for (size_t s = 0; s < BM_COUNT(smallest); s++) {
            memset(marks, 0, sizeof marks);
            bm_parallel_for(counts[c], smallest[s], mark, marks);
            for (uint64_t i = 0; i < counts[c]; i++)
                assert_int_equal(marks[i], 1);
            assert_int_equal(marks[counts[c]], 0);
        }
}

typedef struct shared_count {
    bm_mutex *mutex;
    bm_condition *changed;
    uint32_t count;
} shared_count;

static void count_up(void *user)
{
    shared_count *s = user;
    for (int i = 0; i < 10000; i++) {
        bm_mutex_lock(s->mutex);
        s->count++;
        bm_condition_broadcast(s->changed);
        bm_mutex_unlock(s->mutex);
    }
}

static void mutex_and_condition_hold_between_threads(void **state)
{
    shared_count s = {bm_mutex_create(), bm_condition_create(), 0};
    bm_thread *threads[4] = {0};
    bm_error err;
    (void)state;
    for (int i = 0; i < 4; i++)
        assert_ok(bm_thread_start(&threads[i], count_up, &s, &err), &err);
    bm_mutex_lock(s.mutex);
    while (s.count < 40000)
        bm_condition_wait(s.changed, s.mutex);
    bm_mutex_unlock(s.mutex);
    for (int i = 0; i < 4; i++)
        bm_thread_join(&threads[i]);
    assert_null(threads[0]);
    bm_thread_join(&threads[0]);
    assert_int_equal(s.count, 40000);
    bm_mutex_destroy(&s.mutex);
    bm_condition_destroy(&s.changed);
    assert_true(bm_processor_count() >= 1);
}

static void clock_runs_forward_and_writes_utc(void **state)
{
    char text[21];
    const uint64_t before = bm_clock_ns();
    (void)state;
    bm_clock_sleep_ms(5);
    assert_true(bm_clock_ns() - before >= 5000000);
    bm_clock_utc_text(text);
    assert_int_equal(strlen(text), 20);
    assert_true(text[4] == '-' && text[10] == 'T' && text[19] == 'Z');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parallel_for_visits_each_index_once),
        cmocka_unit_test(mutex_and_condition_hold_between_threads),
        cmocka_unit_test(clock_runs_forward_and_writes_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
