// cmocka with what it wants in front of it.
#ifndef BM_TESTS_UNIT_H
#define BM_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

// Fails with the words of err when a call that returns bm_status does not return BM_OK.
#define assert_ok(call, err)                                                                                           \
    do {                                                                                                               \
        if ((call) != BM_OK)                                                                                           \
            fail_msg("%s: %s", #call, (err)->message);                                                                 \
    } while (0)

#endif
