// When a device has settled: by times that are made up, one series of them measured; and the work that it is put to.
#include "ops/fixture.h"

#include "base/clock.h"
#include "device/backend.h"
#include "ops/settle.h"

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

// The device once more, as one of another kind.
static bm_device *pretend(bm_device_kind kind)
{
    bm_device *device = NULL;
    bm_device_params params;
    bm_device_params_init(&params);
    params.spec = bm_device_get_info(test_device)->spec;
    params.cache_folder = NULL;
    MUST(bm_device_open(&device, &params, &failure));
    device->info.kind = kind;
    return device;
}

static void gpus_are_put_to_work(void **state)
{
    (void)state;
    double rate = 0;
    bm_device *cpu = pretend(BM_DEVICE_CPU);
    MUST(bm_settle(cpu, NULL, &failure));
    assert_true(bm_device_compiled_kernels(cpu) == 0); // nothing ran
    MUST(bm_settle(cpu, &rate, &failure));
    assert_true(rate > 1e6);
    bm_device_close(&cpu);
    rate = 0;
    bm_device *gpu = pretend(BM_DEVICE_INTEGRATED_GPU);
    const uint64_t begin = bm_clock_ns();
    MUST(bm_settle(gpu, &rate, &failure));
    assert_true(bm_clock_ns() - begin >= 500000000);
    assert_true(rate > 1e6);
    bm_device_close(&gpu);
}

static void without_memory_nothing_is_done(void **state)
{
    (void)state;
    double rate = 7;
    bm_device *device = pretend(BM_DEVICE_CPU);
    device->allowed_bytes = 1;
    MUST(bm_settle(device, &rate, &failure));
    assert_true(rate == 7);
    device->allowed_bytes = 10 << 20; // for matrices of [512, 512], not for three of [1024, 1024]
    MUST(bm_settle(device, &rate, &failure));
    assert_true(rate > 1e6);
    bm_device_close(&device);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_has_settled_half_a_second_behind_the_last_step),
        cmocka_unit_test(what_never_settles_is_left_behind_two_seconds),
        cmocka_unit_test(gpus_are_put_to_work),
        cmocka_unit_test(without_memory_nothing_is_done),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
