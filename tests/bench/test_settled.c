// How long benchmarks warm up. The linker puts a clock of this file in the place of the real one (__wrap_NAME for NAME): it stands still but
// where work says what it takes. On the host, which pretends to be a GPU.
#include "bench/benchmark.h"
#include "base/clock.h"
#include "device/backend.h"
#include "support/unit.h"

static uint64_t passed_ns;
static bm_device *gpu;

// ISO C leaves names that begin with two underscores to the implementation; the linker's option asks for these.
uint64_t __wrap_bm_clock_ns(void);

uint64_t __wrap_bm_clock_ns(void)
{
    return passed_ns;
}

typedef struct work {
    uint64_t compiling_ns;  // of the first run
    uint64_t slow_until_ns; // of the clock: runs take three milliseconds, then one
    uint32_t count;
    uint64_t begin_ns; // of the first run behind compiling
} work;

static bm_status run(void *user, bm_device *device, bm_error *err)
{
    work *w = user;
    (void)device, (void)err;
    if (w->count == 1)
        w->begin_ns = passed_ns;
    passed_ns += w->count++ == 0 ? w->compiling_ns : passed_ns < w->slow_until_ns ? 3000000 : 1000000;
    return BM_OK;
}

// Milliseconds from the first run behind compiling to the end.
static uint64_t measure(work *w)
{
    bm_error err = {0};
    bm_benchmark_time time = {0};
    assert_ok(bm_benchmark_measure(gpu, run, w, NULL, &time, &err), &err);
    assert_in_range((uint64_t)(1e9 * time.seconds + 0.5), 1000000, 1000000);
    return (passed_ns - w->begin_ns) / 1000000;
}

static void gpus_settle_before_they_are_measured(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_device_params params;
    bm_device_params_init(&params);
    params.spec = "host";
    params.cache_folder = NULL;
    assert_ok(bm_device_open(&gpu, &params, &err), &err);
    gpu->info.kind = BM_DEVICE_DISCRETE_GPU;
    passed_ns = 1000000000;
    work falls = {.compiling_ns = 5000000000, .slow_until_ns = 6300000000};
    assert_in_range(measure(&falls), 800 + 18, 810 + 30); // with nine times of two or three runs
    work warm = {.compiling_ns = 1000000};
    assert_in_range(measure(&warm), 100 + 18, 100 + 30);
    work compiles = {.compiling_ns = 5000000000}; // in which the clock falls again
    assert_in_range(measure(&compiles), 500 + 18, 501 + 30);
    bm_device_close(&gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpus_settle_before_they_are_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
