// Variants of kernels by name: which there are on a device, whether words that ask for some are right, which will be used.
// "auto" is what the tables of devices say, for a kernel that a tuning file should not decide. Names are given on the command line (--variant), by a library's caller (bm_device_params) or by a tuning file.
#ifndef BM_OPS_VARIANTS_H
#define BM_OPS_VARIANTS_H

#include "base/str.h"
#include "device/device.h"

// A kernel that has variants with names.
typedef struct bm_variant_set {
    const char *kernel;                                           // "gemm"
    const char *(*name)(const bm_device *device, uint32_t index); // those that run on this device; NULL: no more
    const char *(*chosen)(const bm_device *device);               // which one will be used
} bm_variant_set;
#define BM_NUM_VARIANT_SETS 2
extern const bm_variant_set bm_variant_sets[BM_NUM_VARIANT_SETS];

// Checks the words that a device was opened with (bm_device_variants).
// Errors: BM_E_ARGUMENT for a kernel without variants, a name that this device does not have (the words list those that
// it has), or text of another form.
bm_status bm_variants_check(const bm_device *device, bm_error *err);
// The same behind bm_device_open: given says that the words are the caller's, which must be right. Words of a tuning file
// that are not (of another version, or written by hand) are left aside with a warning.
bm_status bm_variants_settle(bm_device *device, bool given, bm_error *err);

#endif
