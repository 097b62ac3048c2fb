// How much a device does: a low estimate of its rate, by which long work is cut into dispatches, and how many work-groups it runs
// side by side.
//
// Systems end a dispatch that takes longer than a second or two, so an estimate must hold for the slowest device that it is for. Of
// families of devices that were measured a table has rates; of others it has those of the slowest ones there are, until a product
// was timed at the first use (bm_measure_rate).
#ifndef BM_OPS_RATE_H
#define BM_OPS_RATE_H

#include "device/device.h"

typedef enum bm_work {
    BM_WORK_PLAIN,   // all kernels but products; what mostly moves memory counts its bytes
    BM_WORK_GENERIC, // products by the generic kernel
    BM_WORK_TILES,   // by tiles or panels
    BM_WORK_MATRIX_UNITS,
    BM_WORK_WARPGROUPS, // on matrix units of warpgroups
    BM_NUM_WORKS
} bm_work;

// Operations a second that the device reaches at least.
double bm_rate(const bm_device *device, bm_work work);

// Compute units (multiprocessors): as the driver tells, or as many as such a device usually has.
uint32_t bm_compute_units(const bm_device *device);

// Times a product in float32 on a device that no table has rates of, once: where it can be remembered (bm_verdicts_write) for good.
// Small ones first, cut by the rate of the slowest devices; without memory for it that rate stays, and is no error. Part of
// bm_first_use: nothing may be recorded. Cuts change no result, so neither does the time.
// Errors: BM_E_MEMORY of the program's own words; BM_E_DEVICE when the device was lost.
bm_status bm_measure_rate(bm_device *device, bm_error *err);

#endif
