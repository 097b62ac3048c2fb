// on_device: a program's tests on the device that its argument names.
#ifndef BM_TESTS_SCHEDULE_ON_DEVICE_H
#define BM_TESTS_SCHEDULE_ON_DEVICE_H

#include "support/support.h"
#include "support/unit.h"

extern const char *spec; // the argument; "host" without one
extern bm_device *device;

// Of the kernels that tests run: programs of long ones are skipped where support_is_instrumented.
typedef enum loop_length { SHORT_LOOPS, LONG_LOOPS } loop_length;

// Opens it. Returns 0, or the program's exit status: no device is open then.
int open_device(int argc, char **argv, loop_length loops);
// Closes it. True: validation complained of nothing.
bool close_device(void);

// main of a program that is one group of tests.
int run_on_device(int argc, char **argv, const char *name, loop_length loops, const struct CMUnitTest *tests,
                  size_t num_tests);

#endif
