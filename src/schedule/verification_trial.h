// What verification is bound by, measured: reading from the system's cache, and checksums.
#ifndef BM_SCHEDULE_VERIFICATION_TRIAL_H
#define BM_SCHEDULE_VERIFICATION_TRIAL_H

#include "schedule/lanes.h"
#include "schedule/run.h"

// Seconds that it takes in a run, by all processors: a piece of the input is read again instead of the result, which is not there yet.
// 0 where the run skips it. Errors: BM_E_IO, BM_E_MEMORY.
bm_status bm_verification_trial(const bm_quantize_run_params *params, double *seconds, bm_error *err);

// What comparing logits takes (verify_logits.h): embedding and head are run with two blocks, and with as many more as are
// quick, 9 at most, by whose pace all are told.
// loading: of what is used for the first time; 0 where that was compiling, and the device keeps kernels: they are there when the run
// begins. All 0 where the run compares none, or cannot. Errors: those of loading.
bm_status bm_logits_trial(const bm_quantize_run_params *params, bm_lanes *out, double *loading, bm_error *err);

#endif
