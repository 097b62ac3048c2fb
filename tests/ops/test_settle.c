// When a device has settled: by times that are made up, one series of them measured; and the work that it is put to.
#include "ops/fixture.h"

#include "device/backend.h"
#include "ops/elementwise.h"
#include "ops/settle.h"

#include <math.h>

typedef struct step {
    double until, seconds; // of the clock; that a run takes until then
} step;

// When it goes on no longer, seconds behind the end of the first run.
static double settled_at(const step *steps, uint32_t count)
{
    bm_settling settling = {.least = 0};
    double now = steps[0].seconds;
    const double begin = now;
    while (bm_settling_goes_on(&settling, (uint64_t)(1e9 * now), steps[0].seconds)) {
        while (count > 1 && now - begin >= steps[0].until) {
            steps++;
            count--;
        }
        now += steps[0].seconds;
        assert_true(now - begin < 10);
    }
    return now - begin;
}

static void a_device_has_settled_half_a_second_behind_the_last_step(void **state)
{
    (void)state;
    // An H200 behind ten seconds without work, products of [2048, 2048] matrices.
    static const step h200[] = {{0.24, 1.34e-3}, {0.45, 0.83e-3}, {9, 0.35e-3}};
    assert_in_range((uint64_t)(1e3 * settled_at(h200, 3)), 950, 953);
    static const step awake[] = {{9, 1e-3}};
    assert_in_range((uint64_t)(1e3 * settled_at(awake, 1)), 500, 502);
    static const step compiles[] = {{0, 3}, {9, 1e-3}}; // the first run
    assert_in_range((uint64_t)(1e3 * settled_at(compiles, 2)), 501, 503);
    static const step little[] = {{0.3, 1e-3}, {9, 0.91e-3}}; // is no step
    assert_in_range((uint64_t)(1e3 * settled_at(little, 2)), 500, 502);
    static const step slow[] = {{9, 0.6}};
    assert_in_range((uint64_t)(1e3 * settled_at(slow, 1)), 599, 601); // one more run
}

static void what_never_settles_is_left_behind_two_seconds(void **state)
{
    (void)state;
    step falls[200];
    for (uint32_t i = 0; i < BM_COUNT(falls); i++)
        falls[i] = (step){0.1 * (i + 1), i == 0 ? 0.05 : 0.8 * falls[i - 1].seconds};
    assert_in_range((uint64_t)(1e3 * settled_at(falls, 30)), 2000, 2050);
}

static support_log device_log;

// The device once more, as one of another kind, with memory for matrices of [512, 512] and not for three of [1024, 1024].
static bm_device *pretend(bm_device_kind kind)
{
    bm_device *device = NULL;
    support_log_init(&device_log);
    MUST(support_device_open(bm_device_get_info(test_device)->spec, &device_log, &device, &failure));
    device->info.kind = kind;
    device->allowed_bytes = 10 << 20;
    return device;
}

static void close_it(bm_device **device)
{
    bm_device_close(device);
    assert_int_equal(device_log.num_complaints, 0);
}

static int hear(void *user, const bm_progress_report *report)
{
    (void)report;
    return ++*(uint32_t *)user < 2;
}

// Other devices only for a rate, by two products; GPUs by more, until they are told to stop.
static void gpus_are_put_to_work(void **state)
{
    (void)state;
    double rate = 0;
    uint32_t heard = 0;
    const bm_progress progress = {hear, &heard};
    bm_phase phase = {.progress = &progress};
    if (support_is_instrumented())
        skip();
    bm_device *cpu = pretend(BM_DEVICE_CPU);
    const uint64_t none = bm_device_num_waits(cpu);
    MUST(bm_settle(cpu, NULL, NULL, &failure));
    assert_int_equal(bm_device_num_waits(cpu), none);
    MUST(bm_settle(cpu, NULL, &rate, &failure));
    assert_true(rate > 1e6);
    const uint64_t twice = bm_device_num_waits(cpu) - none;
    close_it(&cpu);
    rate = 0;
    bm_device *gpu = pretend(BM_DEVICE_INTEGRATED_GPU);
    const uint64_t before = bm_device_num_waits(gpu);
    MUST(bm_settle(gpu, NULL, &rate, &failure));
    assert_true(rate > 1e6);
    assert_true(bm_device_num_waits(gpu) - before > twice);
    assert_int_equal(bm_settle(gpu, &phase, &rate, &failure), BM_E_CANCELLED);
    assert_int_equal(heard, 2);
    close_it(&gpu);
}

static void without_memory_nothing_is_done(void **state)
{
    (void)state;
    double rate = 7;
    bm_device *device = pretend(BM_DEVICE_CPU);
    device->allowed_bytes = 1;
    MUST(bm_settle(device, NULL, &rate, &failure));
    assert_true(rate == 7);
    close_it(&device);
}

// A report of work before it is not lost.
static void what_was_reported_before_is_returned(void **state)
{
    (void)state;
    double rate = 7;
    const float x[6] = {1, 2, 3, 4, INFINITY, 6};
    const bm_tensor in = make_tensor(2, 3, x), out = make_tensor(2, 3, NULL);
    MUST(bm_convert(test_device, &in, &out, "model.layers.3.mlp.up_proj.weight", &failure));
    assert_int_equal(bm_settle(test_device, NULL, &rate, &failure), BM_E_NUMERIC);
    assert_true(rate == 7);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_has_settled_half_a_second_behind_the_last_step),
        cmocka_unit_test(what_never_settles_is_left_behind_two_seconds),
        cmocka_unit_test(gpus_are_put_to_work),
        cmocka_unit_test(what_was_reported_before_is_returned),
        cmocka_unit_test(without_memory_nothing_is_done),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
