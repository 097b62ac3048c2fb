// What plain rounding is bound by, measured: pieces of linears are read, rounded and written as in a run, one after the other instead
// of side by side, and the result is dropped.
#ifndef BM_SCHEDULE_ROUNDING_TRIAL_H
#define BM_SCHEDULE_ROUNDING_TRIAL_H

#include "schedule/lanes.h"
#include "schedule/run.h"

typedef struct bm_trial_params {
    const bm_quantize_run_params *run;
    const char *folder; // there gets what is written a file without a name
    bool only_floats;   // linears are not rounded but calibrated: they are left alone
} bm_trial_params;

// Of a whole run.
typedef struct bm_rounding_costs {
    bm_lanes floats;      // tensors that stay float: the host is their device
    bm_lanes linears;     // that are quantized
    double pace;          // of a device that is made of the processors; 0: of its own
    double loading;       // of kernels at their first use, beside warming up
    uint32_t num_kinds;   // of linears: shapes and grids, each of which was measured
    uint32_t num_samples; // in all
} bm_rounding_costs;

// Behind the run's warming up, where linears are rounded. Errors: those of a run.
bm_status bm_rounding_trial(const bm_trial_params *params, bm_rounding_costs *out, bm_error *err);

#endif
