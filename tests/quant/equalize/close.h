// Doubles that are nearly equal: cmocka's compare as float.
#ifndef BM_TESTS_QUANT_EQUALIZE_CLOSE_H
#define BM_TESTS_QUANT_EQUALIZE_CLOSE_H

#include "support/unit.h"

#include <math.h>

#define assert_close(value, expected, most)                                                                            \
    do {                                                                                                               \
        if (!(fabs((double)(value) - (double)(expected)) <= (double)(most)))                                           \
            fail_msg("%s: found %.17g, expected %.17g", #value, (double)(value), (double)(expected));                  \
    } while (0)

#endif
