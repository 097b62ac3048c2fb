// Variants of kernels by name: which there are on a device, and which will be used.
//
// Names are given on the command line (--variant) or by a library's caller (bm_device_params), as a text of KERNEL=NAME
// pairs with commas between them. For kernels that it leaves out a tuning file decides, for the rest the tables of
// devices. "auto" asks for the table's variant, whatever a tuning file says.
#ifndef BM_OPS_VARIANTS_H
#define BM_OPS_VARIANTS_H

#include "base/str.h"
#include "device/device.h"

// A kernel that has variants with names.
typedef struct bm_variant_set {
    const char *kernel;                                     // "gemm"
    const char *(*name)(bm_device *device, uint32_t index); // those that run on this device; NULL: no more
    const char *(*chosen)(bm_device *device);               // which one will be used
    // Which one inputs of a type get, and whether it computes on matrix units.
    const char *(*taken)(bm_device *device, bm_dtype type, bm_variant_use use, bool *on_matrix_units);
    uint32_t num_uses; // for which there may be another one
    const struct bm_trial_kind *trial;
} bm_variant_set;
#define BM_NUM_VARIANT_SETS 3
extern const bm_variant_set bm_variant_sets[BM_NUM_VARIANT_SETS];

// Checks a tuning's names alone. Errors: BM_E_ARGUMENT with the file, and what to do.
bm_status bm_variants_check_tuning(bm_device *device, bm_error *err);
// Checks both texts of an opened device, and compares variants that this device has for the first time (first_use.h). Whatever
// begins to use a device calls this first. A tuning file with names that do not exist (of another version, or written by hand) is
// discarded with a warning.
// Errors: those of bm_first_use; BM_E_ARGUMENT when the caller's text (bm_device_variants) names a kernel without variants, a name that this
// device does not have (the message lists those that it has), or has another form.
bm_status bm_variants_resolve(bm_device *device, bm_error *err);

#endif
