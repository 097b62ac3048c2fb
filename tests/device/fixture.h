// fixture: what the tests of the device layer share: devices by spec, a log whose complaints fail a test, small
// buffers, two kernels, the cache on disk.
#ifndef BM_TESTS_DEVICE_FIXTURE_H
#define BM_TESTS_DEVICE_FIXTURE_H

#include "device/backend.h"
#include "support/support.h"
#include "support/unit.h"

extern const char *device_spec; // what open_with opens
extern support_log device_log;  // complaints since the test began
extern char cache_folder[512];  // of this program alone; removed before each test
extern bm_device *test_device;  // of tests by ON_A_DEVICE
extern bm_error failure;
#define MUST(call) assert_ok(call, &failure)

// Sets device_spec and cache_folder; false: no such device is here (exit with SUPPORT_SKIP).
bool device_fixture_begin(const char *spec);

// Setup and teardown. A test fails when the log heard complaints: of validation, or of driver objects that were left
// when a device was closed. With ON_A_DEVICE test_device is open, every buffer in an allocation of its own, without a
// cache.
int begin_test(void **state);
int end_test(void **state);
int begin_test_on_device(void **state);
int end_test_on_device(void **state);
#define PLAIN(function) cmocka_unit_test_setup_teardown(function, begin_test, end_test)
#define ON_A_DEVICE(function) cmocka_unit_test_setup_teardown(function, begin_test_on_device, end_test_on_device)

bm_device *open_with(const char *cache, bool separate_allocations); // cache may be NULL
bm_buffer *make_buffer(uint64_t size);
bm_buffer *make_values(uint32_t bad); // 16 float32 0, 1, 2, ... of which number bad is NaN; bad 16: none

// y = x of count float32 values, a kernel that reports NaN.
bm_status convert(bm_view x, bm_view y, uint32_t count, const char *subject);

// z = x + y of rows in three buffers, which its caller destroys.
bm_call add_call(bm_buffer *const operands[3], const bm_add_scalars *scalars);
// Whether the device adds 3 rows of 5 right. Its buffers are destroyed and waited for.
bool add_is_right(bm_device *on);
// Opens a device, adds, closes; how many kernels were compiled.
uint64_t compile_count(const char *cache);

// The device's backend with faults: make_faulty puts a copy in its place, of which a test then replaces functions.
extern const bm_backend *real;
extern bm_backend faulty;
void make_faulty(void);

// main of a program for any device: its only argument is the spec. Exit status 77: no such device.
int device_fixture_main(int argc, char **argv, const struct CMUnitTest *tests, size_t num_tests);

#endif
