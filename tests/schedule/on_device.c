#include "schedule/on_device.h"

#include <stdio.h>

const char *spec;
bm_device *device;
static support_log log_of_device;

int open_device(int argc, char **argv, loop_length loops)
{
    bm_error err = {0};
    spec = argc > 1 ? argv[1] : "host";
    support_log_init(&log_of_device);
    if (support_device_open(spec, &log_of_device, &device, &err) != BM_OK) {
        fprintf(stderr, "%s: %s\n", spec, err.message);
        return 1;
    }
    if (device && loops == LONG_LOOPS && support_is_instrumented())
        bm_device_close(&device);
    return device ? 0 : SUPPORT_SKIP;
}

bool close_device(void)
{
    bm_device_close(&device);
    if (log_of_device.num_complaints > 0)
        printf("%u complaints of validation\n", log_of_device.num_complaints);
    return log_of_device.num_complaints == 0;
}

int run_on_device(int argc, char **argv, const char *name, loop_length loops, const struct CMUnitTest *tests,
                  size_t num_tests)
{
    const int status = open_device(argc, argv, loops);
    if (status != 0)
        return status;
    const int failures = _cmocka_run_group_tests(name, tests, num_tests, NULL, NULL);
    return close_device() ? failures : failures + 1;
}
