// fixture: what the tests of operations share. A program opens the device that its argument names and runs its tests on
// it.
#ifndef BM_TESTS_OPS_FIXTURE_H
#define BM_TESTS_OPS_FIXTURE_H

#include "base/random.h"
#include "device/tensor.h"
#include "support/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka needs the three above
#include <cmocka.h>

extern bm_device *test_device; // open while tests run

// main of a test program. Exit status 77: no such device.
int run_on_device(int argc, char **argv, const struct CMUnitTest *tests, size_t num_tests);

// The call must succeed; its words are printed otherwise. Its last argument is &failure.
extern bm_error failure;
#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != BM_OK)                                                                                           \
            fail_msg("%s", failure.message);                                                                           \
    } while (0)

// A tensor of float32 with these dense rows (NULL: zeros); tests end with destroy_tensors.
bm_tensor make_tensor(uint64_t rows, uint64_t cols, const float *values);
bm_tensor make_typed(bm_dtype dtype, uint64_t rows, uint64_t cols, const void *values); // the same of any type
bm_view make_integers(uint32_t count, const uint32_t *values);
void destroy_tensors(void);                               // all that were made
void read_tensor(const bm_tensor *tensor, float *values); // waits
// count normal numbers times scale.
void fill_normal(bm_random *random, uint64_t count, double scale, float *out);

#endif
