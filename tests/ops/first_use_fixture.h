// first_use_fixture: what the tests of a device's first use share. The device of the program's argument is opened once more, what it
// says is heard, and the last variant of a kernel is compared.
#ifndef BM_TESTS_OPS_FIRST_USE_FIXTURE_H
#define BM_TESTS_OPS_FIRST_USE_FIXTURE_H

#include "ops/first_use.h"
#include "ops/fixture.h"

// What was said since the device was opened last.
typedef struct said {
    bm_log log;
    uint32_t warnings, infos;
    char last[512]; // warning
} said;

extern said heard;

// The device once more, with a log of ours, into heard; cache_folder NULL: nothing is remembered. variants: as a caller's, NULL: none.
// bm_device_close it. One that does not open fails the test.
bm_device *open_again(const char *cache_folder, const char *variants);

// The last variant of a set beside the generic one, for inputs of 16 bits or codes in many tiles; times do not count. Where the device
// has no other variant, it is the generic one itself.
bm_comparison comparison_of(bm_device *device, const bm_variant_set *set);
// What the device holds of what c compares.
bm_verdict verdict_on(bm_device *device, const bm_comparison *c);

// Of a set, which is the caller's copy: trials that are created from here on are counted in trials_made, from 0. create makes them, which
// is create_counted or ends in a call of it. One set at a time.
void count_trials(bm_variant_set *set, bm_status (*create)(bm_trial *trial, bm_error *err));
bm_status create_counted(bm_trial *trial, bm_error *err);
extern uint32_t trials_made;

#endif
