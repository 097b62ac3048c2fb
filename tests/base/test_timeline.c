#include "support/unit.h"

#include "base/clock.h"
#include "base/timeline.h"

#include <math.h>
#include <string.h>

static uint64_t sum_of(const bm_track *track, const char *phase)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < track->count; i++)
        sum += strcmp(track->spans[i].phase, phase) == 0 ? track->spans[i].end_ns - track->spans[i].begin_ns : 0;
    return sum;
}

static void assert_in_order(const bm_track *track)
{
    for (uint32_t i = 0; i < track->count; i++) {
        assert_true(track->spans[i].begin_ns < track->spans[i].end_ns);
        if (i > 0)
            assert_true(track->spans[i - 1].end_ns <= track->spans[i].begin_ns);
    }
}

static void the_run_has_no_gaps(void **state)
{
    double seconds[BM_NUM_TRACKS], second, all = 0;
    bm_timeline *t = bm_timeline_create();
    const bm_track *run = &t->tracks[BM_TRACK_RUN];
    (void)state;
    for (int32_t i = 0; i < 3; i++) {
        t->block = i;
        const uint64_t begin = bm_clock_ns();
        bm_clock_sleep_ms(3);
        bm_timeline_wait(t, BM_TRACK_READING, begin, bm_clock_ns());
        bm_clock_sleep_ms(2);
        bm_timeline_spend(t, "load", seconds);
        assert_true(seconds[BM_TRACK_READING] >= 3e-3 && seconds[BM_TRACK_RUN] >= 2e-3);
        all += seconds[BM_TRACK_RUN] + seconds[BM_TRACK_READING];
        bm_clock_sleep_ms(2);
        bm_timeline_spend_two(t, "compute", 0.25, "watch", seconds, &second);
        assert_true(fabs(second - 3 * seconds[BM_TRACK_RUN]) < 1e-6);
        all += second + seconds[BM_TRACK_RUN];
    }
    assert_in_order(run);
    assert_int_equal(run->spans[0].begin_ns, t->start_ns);
    for (uint32_t i = 1; i < run->count; i++)
        assert_int_equal(run->spans[i - 1].end_ns, run->spans[i].begin_ns);
    assert_int_equal(run->spans[run->count - 1].end_ns, t->clock_ns);
    assert_true(fabs(all - (double)(t->clock_ns - t->start_ns) * 1e-9) < 1e-6);
    bm_free(t);
}

// More spans than a track holds: sums stay, order stays, and nothing overlaps.
static void spans_are_merged(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    uint64_t sums[3] = {0}, at = 1;
    bm_timeline *t = bm_timeline_create();
    const bm_track *track = &t->tracks[BM_TRACK_READING];
    (void)state;
    for (uint32_t i = 0; i < 20000; i++) {
        const uint64_t length = 1000 + i % 13 * 100000;
        bm_timeline_add(t, BM_TRACK_READING, names[i % 3], (int32_t)(i / 100), at, at + length);
        sums[i % 3] += length;
        at += length + i % 5 * 1000;
    }
    assert_true(track->count <= BM_MAX_SPANS);
    for (uint32_t most = BM_MAX_SPANS; most >= 16; most /= 2) {
        bm_timeline_reduce(t, most);
        assert_true(track->count <= most && track->count > 0);
        assert_in_order(track);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(sum_of(track, names[i]), sums[i]);
        assert_true(track->spans[track->count - 1].end_ns <= at);
    }
    bm_free(t);
}

static void nobody_looks(void **state)
{
    double seconds[BM_NUM_TRACKS] = {1};
    (void)state;
    bm_timeline_add(NULL, BM_TRACK_RUN, "a", 0, 0, 1);
    bm_timeline_wait(NULL, BM_TRACK_READING, 0, 1);
    bm_timeline_spend(NULL, "a", seconds);
    assert_true(seconds[0] == 0);
    assert_int_equal(bm_timeline_block(NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_run_has_no_gaps),
        cmocka_unit_test(spans_are_merged),
        cmocka_unit_test(nobody_looks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
