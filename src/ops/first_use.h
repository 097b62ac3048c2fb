// The first use of a device and driver: variants on matrix units, which some drivers only pretend to have, are compared with the
// generic kernel, and timed beside what the device would be given instead, in each use that they have. One that is wrong or slower is switched off
// (bm_device_may_use), which is said once and remembered beside a tuning (bm_verdicts_write), for this program's kernels.
//
// A time is not the same twice: were it measured at every start, a device would not give the same bits twice. So times decide
// only where that can be remembered; elsewhere correctness alone does, which every start finds again.
#ifndef BM_OPS_FIRST_USE_H
#define BM_OPS_FIRST_USE_H

#include "ops/trial.h"
#include "ops/variants.h"

// Times a product where nothing is known of the device's rate (rate.h); compares and times what the device would be given by itself and
// was not compared yet: nothing on a device that has no such variant, or where the caller's words name all of them. Part of bm_variants_resolve: nothing may be recorded.
// Memory that the device or --device-memory does not have leaves a variant without a verdict, and is no error; where it lacks for times
// alone, outputs are not compared again: the next start tries to take the times.
// Errors: BM_E_MEMORY of the program's own words; BM_E_DEVICE when the device was lost, which the next start knows.
bm_status bm_first_use(bm_device *device, bm_error *err);

// Whether a variant that takes so many seconds is slower than another: less than 5 % is no difference, here and in tuning.
bool bm_is_slower(double seconds, double than);

typedef struct bm_comparison {
    const bm_variant_set *set;
    const char *variant, *instead; // instead: what the device is given without variant
    bm_dtype type;                 // of inputs
    bm_variant_use use;            // times and the verdict are those of such products
    bool remembers;                // times decide too, and the verdict is kept
    // Called behind each run of variant, where it is not NULL; what it records counts as the variant's. For tests.
    bm_status (*also)(void *user, const bm_trial *trial, bm_error *err);
    void *user;
} bm_comparison;

// One of them: the verdict is the device's then; a warning says it where the variant is switched off. BM_VERDICT_NONE: what
// failed is not the variant's, nothing was found.
bm_status bm_compare_variants(bm_device *device, const bm_comparison *asked, bm_verdict *out, bm_error *err);

#endif
