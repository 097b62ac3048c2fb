// What work takes that goes on side by side: known numbers.
#include "support/unit.h"

#include "schedule/lanes.h"

#include <math.h>

static void assert_seconds(double value, double wanted)
{
    if (!(fabs(value - wanted) < 1e-12))
        fail_msg("%g, expected %g", value, wanted);
}

static void a_device_of_its_own_waits_for_the_longest_lane(void **state)
{
    (void)state;
    const bm_lanes by_device = {.device = 8, .reading = 5, .writing = 12, .busy = 40};
    const bm_lanes by_reading = {.device = 4, .reading = 5, .writing = 12, .busy = 40};
    const bm_lanes by_writing = {.device = 4, .reading = 5, .writing = 48, .busy = 40};
    assert_seconds(bm_lanes_seconds(&by_device, 0, 16), 8);
    assert_seconds(bm_lanes_seconds(&by_reading, 0, 16), 5);
    assert_seconds(bm_lanes_seconds(&by_writing, 0, 16), 6); // eight threads write
    assert_seconds(bm_lanes_seconds(&by_writing, 0, 2), 24); // two of them side by side
}

static void lanes_that_share_processors_are_added(void **state)
{
    (void)state;
    const bm_lanes lanes = {.device = 8, .reading = 5, .writing = 6, .busy = 27};
    assert_seconds(bm_lanes_seconds(&lanes, 1.5, 2), 18);
    assert_seconds(bm_lanes_seconds(&lanes, 2, 2), 13.5);
    // Of many processors eight write at most.
    const bm_lanes writes = {.device = 0.1, .reading = 0.1, .writing = 12, .busy = 12};
    assert_seconds(bm_lanes_seconds(&writes, 48, 64), 1.5);
}

static void the_pace_is_what_the_device_had(void **state)
{
    (void)state;
    const bm_lanes lanes = {.device = 2, .writing = 1, .busy = 4}; // of which the thread that wrote had one
    assert_seconds(bm_lanes_pace(&lanes, 4), 1.5);
    const bm_lanes more = {.device = 1, .busy = 3}; // than there is, by clocks that differ
    assert_seconds(bm_lanes_pace(&more, 2), 2);
    const bm_lanes less = {.device = 10, .writing = 5, .busy = 4};
    assert_seconds(bm_lanes_pace(&less, 2), 0.1);
    const bm_lanes nothing = {.device = 0};
    assert_seconds(bm_lanes_pace(&nothing, 3), 3);
}

static void what_is_done_meanwhile_costs_what_is_left(void **state)
{
    (void)state;
    assert_seconds(bm_lanes_rest(5, 3), 2);
    assert_seconds(bm_lanes_rest(3, 5), 0);
}

static void a_median_is_of_the_middle(void **state)
{
    (void)state;
    double odd[] = {9, 1, 2}, even[] = {7, 100, 1, 3}, one[] = {4};
    assert_seconds(bm_median(odd, 3), 2);
    assert_seconds(bm_median(even, 4), 5);
    assert_seconds(bm_median(one, 1), 4);
    assert_seconds(bm_median(one, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_of_its_own_waits_for_the_longest_lane),
        cmocka_unit_test(lanes_that_share_processors_are_added),
        cmocka_unit_test(the_pace_is_what_the_device_had),
        cmocka_unit_test(what_is_done_meanwhile_costs_what_is_left),
        cmocka_unit_test(a_median_is_of_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
