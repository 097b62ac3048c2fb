// host_device: setup and teardown of tests on the host, where nothing depends on the device.
#ifndef BM_TESTS_HOST_DEVICE_H
#define BM_TESTS_HOST_DEVICE_H

#include "device/device.h"
#include "support/unit.h"

extern bm_device *device; // between the two
extern bm_error failure;

#define MUST(call) assert_ok(call, &failure)

int open_host(void **state);
int close_host(void **state);

#endif
