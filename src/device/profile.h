// Times of kernels (bm_device_params.profile); called by dispatch.c and device.c, where device->profile is not NULL.
#ifndef BM_DEVICE_PROFILE_H
#define BM_DEVICE_PROFILE_H

#include "device/backend.h"

// Errors: BM_E_MEMORY.
bm_status bm_profile_begin(bm_device *device, bm_error *err);
// Before anything of a dispatch is noted: may wait for the device, since the timestamps of 128 dispatches are collected at once.
bm_status bm_profile_make_room(bm_device *device, bm_error *err);
// Around the dispatch.
bm_status bm_profile_before(bm_device *device, const bm_call *call, bm_error *err);
bm_status bm_profile_after(bm_device *device, bm_error *err);
void bm_profile_collect(bm_device *device); // behind a wait
// Writes the table to the device's log, the longest first: seconds, share, dispatches, milliseconds each, without first launches.
void bm_profile_end(bm_device *device);

#endif
