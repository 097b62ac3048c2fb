// Trials: small problems of kernels, made up, by whose outputs and times variants of a kernel are compared (first_use.h).
#ifndef BM_OPS_TRIAL_H
#define BM_OPS_TRIAL_H

#include "ops/gemm_int8.h"

typedef enum bm_trial_size {
    BM_TRIAL_SMALL,      // for outputs: sizes that no tile divides, and all that a kernel can do
    BM_TRIAL_MAGNITUDES, // the same of absolute values, where outputs are linear in them: how large what is added up is
    BM_TRIAL_LARGE,      // for times; small on CPU devices
    BM_TRIAL_FEW_TILES,  // the same, with fewer tiles than the device has multiprocessors
    BM_TRIAL_ADDING,     // the same as of large ones, where products are added to what is there
    BM_TRIAL_FIRST,      // for a time of a product on a device of which nothing is known
} bm_trial_size;

typedef struct bm_trial {
    bm_device *device;
    bm_dtype type; // of inputs
    bm_trial_size size;
    bm_tensor inputs[6];
    uint32_t num_parts;   // outputs, each of a run of its own
    bm_tensor outputs[2]; // what is stored in the type of the inputs comes first
    bool second_is_lower; // what lies above the diagonal of the second is not wanted
    bm_buffer *integers;
    bm_weights *weights;
    bm_int8_weights *int8_weights;
} bm_trial;

// How a kernel is tried. Outputs are right when they are that near to those of the generic kernel: relative, a share of what is
// added up, and the rounding of what is stored. 0: equal.
typedef struct bm_trial_kind {
    bm_status (*create)(bm_trial *trial, bm_error *err); // where a variant is chosen here, as the device's words ask
    bm_status (*run)(const bm_trial *trial, bm_error *err);
    double (*relative)(bm_dtype type);
} bm_trial_kind;
extern const bm_trial_kind bm_trial_gemm, bm_trial_attention, bm_trial_gemm_int8;

// Makes inputs, the same ones for the same type and size, and outputs of NaN. On failure nothing is left.
bm_status bm_trial_create(bm_device *device, const bm_trial_kind *kind, bm_dtype type, bm_trial_size size,
                          bm_trial *out, bm_error *err);
void bm_trial_destroy(bm_trial *trial); // waits for the device first
// Operations of a trial of bm_trial_gemm in one of its runs, and of a large one.
double bm_trial_operations(const bm_trial *trial);
double bm_trial_large_operations(bm_device *device);
// All outputs, in float32; what is not wanted is 0.
typedef struct bm_trial_outputs {
    float *values; // bm_free them
    uint64_t count;
    uint64_t num_narrow; // the first of them, which are stored in 16 bits
} bm_trial_outputs;
bm_status bm_trial_read(const bm_trial *trial, bm_trial_outputs *out, bm_error *err); // waits

#endif
