// Variants of kernels by name: which there are on a device, whether words that ask for some are right, which will be used.
//
// Names are given on the command line (--variant) or by a library's caller (bm_device_params); a tuning file decides for
// kernels that they leave out, the tables of devices for the rest. "auto" asks for the table's, whatever a tuning says.
#ifndef BM_OPS_VARIANTS_H
#define BM_OPS_VARIANTS_H

#include "base/str.h"
#include "device/device.h"

// A kernel that has variants with names.
typedef struct bm_variant_set {
    const char *kernel;                                     // "gemm"
    const char *(*name)(bm_device *device, uint32_t index); // those that run on this device; NULL: no more
    const char *(*chosen)(bm_device *device);               // which one will be used
} bm_variant_set;
#define BM_NUM_VARIANT_SETS 2
extern const bm_variant_set bm_variant_sets[BM_NUM_VARIANT_SETS];

// Checks the words of an opened device; for whatever begins to use one. Words of a tuning file that are not right (of another
// version, or written by hand) are discarded with a warning.
// Errors: BM_E_ARGUMENT when the caller's words (bm_device_variants) name a kernel without variants, a name that this
// device does not have (the message lists those that it has), or have another form.
bm_status bm_variants_resolve(bm_device *device, bm_error *err);

#endif
