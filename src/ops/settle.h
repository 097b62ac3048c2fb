// Clocks of GPUs: they fall while a GPU has nothing to do, as while kernels are compiled, and rise in steps behind some time of work.
// What is measured before that is measured several times too slow: an H200's are at 345 MHz behind some seconds without work, and at
// 1980 behind 0.45 s of it, in two steps.
#ifndef BM_OPS_SETTLE_H
#define BM_OPS_SETTLE_H

#include "base/progress.h"
#include "device/device.h"

// Runs of the same work; all zero before the first one.
typedef struct bm_settling {
    uint64_t begin_ns, fell_ns;
    double least; // seconds
} bm_settling;

// Whether to go on, behind a run that ended at now_ns and took so many seconds: until half a second has passed in which none took a
// tenth less than any before, for two seconds at most.
bool bm_settling_goes_on(bm_settling *settling, uint64_t now_ns, double seconds);

// Multiplies matrices of float32 until a GPU has settled, which takes half a second to two; on other devices twice, where the rate is
// asked for, and not at all where it is not. Waits before and behind.
//
//   phase  hears of each product, and may end them. NULL: nobody listens
//   rate   becomes that of the fastest product, operations a second by the host's clock; stays as it was where there is no memory for
//          products or they do not run, which is no error. NULL: nobody asks
// Memory: three squares of 4096, or of fewer rows where those do not fit (down to 512: 3 MB), with what bm_multiply takes.
// Errors: BM_E_CANCELLED; what was reported before; BM_E_DEVICE when the device was lost.
bm_status bm_settle(bm_device *device, bm_phase *phase, double *rate, bm_error *err);

#endif
