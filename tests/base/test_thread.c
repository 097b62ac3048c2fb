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

static void count_up(void *user)
{
    uint32_t *count = user;
    for (int i = 0; i < 10000; i++)
        (*count)++;
}

static void threads_have_run_when_they_are_joined(void **state)
{
    uint32_t counts[4] = {0};
    bm_thread *threads[4] = {0};
    bm_error err;
    (void)state;
    for (int i = 0; i < 4; i++)
        assert_ok(bm_thread_start(&threads[i], count_up, &counts[i], &err), &err);
    for (int i = 0; i < 4; i++) {
        bm_thread_join(&threads[i]);
        assert_int_equal(counts[i], 10000);
    }
    assert_null(threads[0]);
    bm_thread_join(&threads[0]);
    assert_true(bm_processor_count() >= 1);
}

static void parallel_copies_are_whole(void **state)
{
    static const uint64_t sizes[] = {0, 1, 1000, (2 << 20) - 1, (2 << 20) + 7, (5 << 20) + 12345};
    uint8_t *from = bm_alloc(6 << 20, 1), *to = bm_alloc(6 << 20, 1);
    (void)state;
    assert_true(from && to);
    for (uint32_t i = 0; i < 6u << 20; i++)
        from[i] = (uint8_t)(i * 2654435761u >> 13);
    for (size_t s = 0; s < BM_COUNT(sizes); s++) {
        memset(to, 0, 6 << 20);
        bm_parallel_copy(to, from, sizes[s]);
        assert_memory_equal(to, from, (size_t)sizes[s]);
        for (uint64_t i = sizes[s]; i < sizes[s] + 100; i++)
            assert_int_equal(to[i], 0);
    }
    bm_free(from);
    bm_free(to);
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
        cmocka_unit_test(threads_have_run_when_they_are_joined),
        cmocka_unit_test(parallel_copies_are_whole),
        cmocka_unit_test(clock_runs_forward_and_writes_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
