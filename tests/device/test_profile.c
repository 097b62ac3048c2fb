// Times of kernels, as the log has them when a device is closed: every dispatch but the first is counted, in parallel sections and where
// timestamps were collected on the way too; times are those of the device, so no more than the clock says.
#include "device/fixture.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 300 }; // more than profile.c collects at once

static struct {
    char first[128], rows[8][128];
    uint32_t num_rows;
} table;

static void hear(void *user, bm_log_level level, const char *message)
{
    (void)user;
    if (level > BM_LOG_WARNING && strncmp(message, "kernels of ", 11) == 0)
        snprintf(table.first, sizeof table.first, "%s", message);
    else if (table.first[0] && table.num_rows < BM_COUNT(table.rows))
        snprintf(table.rows[table.num_rows++], sizeof table.rows[0], "%s", message);
}

static double seconds_of(const char *kernel, unsigned long long dispatches)
{
    for (uint32_t i = 0; i < table.num_rows; i++) {
        // "   0.660 s  59.4 %       299 x     2.2068 ms  gemm"
        char *end = NULL;
        const double seconds = strtod(table.rows[i], &end), share = strtod(end + strspn(end, " s"), &end);
        const unsigned long long count = strtoull(end + strspn(end, " %"), &end, 10);
        const double each = strtod(end + strspn(end, " x"), &end);
        const char *name = end + strspn(end, " ms");
        if (strcmp(name, kernel) != 0)
            continue;
        assert_int_equal(count, dispatches);
        assert_true(each >= 0 && share >= 0 && share <= 100);
        return seconds;
    }
    fail_msg("no row of %s", kernel);
    return 0;
}

static void counts_every_dispatch(void **state)
{
    (void)state;
    const bm_log log = {.level = BM_LOG_INFO, .write = hear};
    bm_device_params params;
    bm_device *profiled = NULL;
    bm_device_params_init(&params);
    params.spec = device_spec;
    params.log = &log;
    params.profile = true;
    table.first[0] = '\0';
    table.num_rows = 0;
    const uint64_t begin = bm_clock_ns();
    MUST(bm_device_open(&profiled, &params, &failure));
    bm_device *usual = test_device;
    test_device = profiled;
    bm_buffer *x = make_values(16), *y = make_buffer(64), *z = make_buffer(64);
    for (uint32_t i = 0; i < CALLS; i += 2) {
        if (i == 200)
            MUST(bm_batch_parallel_begin(profiled, &failure));
        MUST(convert(bm_buffer_view(x), bm_buffer_view(y), 16, "x"));
        MUST(convert(bm_buffer_view(x), bm_buffer_view(z), 16, "x"));
        if (i == 200)
            MUST(bm_batch_parallel_end(profiled, &failure));
    }
    MUST(bm_device_wait(profiled, &failure));
    bm_buffer_destroy(&x);
    bm_buffer_destroy(&y);
    bm_buffer_destroy(&z);
    test_device = usual;
    const bm_kernel_time *rows = NULL;
    assert_int_equal(bm_device_kernel_times(profiled, &rows), 1);
    const bm_kernel_time by_hand = rows[0];
    bm_device_close(&profiled);
    const double clock = 1e-9 * (double)(bm_clock_ns() - begin);
    assert_int_equal(table.num_rows, 1);
    const double sum = strtod(strrchr(table.first, ':') + 1, NULL);
    assert_true(seconds_of("convert", CALLS - 1) <= clock);
    assert_true(sum <= clock);
    assert_non_null(strstr(table.first, " s in 1 first launch, "));
    assert_int_equal(by_hand.dispatches, CALLS - 1);
    assert_int_equal(by_hand.first_launches, 1);
    assert_true(by_hand.kernel == BM_KERNEL_CONVERT && by_hand.seconds + by_hand.first_seconds <= clock);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {ON_A_DEVICE(counts_every_dispatch)};
    return device_fixture_main(argc, argv, tests, BM_COUNT(tests));
}
