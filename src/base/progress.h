// Telling the caller how far the work is, and hearing from it whether to stop. All of the library does it through here.
#ifndef BM_BASE_PROGRESS_H
#define BM_BASE_PROGRESS_H

#include "base/base.h"

// Reports, if there is somebody to report to. Errors: BM_E_CANCELLED when the answer is to stop.
bm_status bm_progress_tell(const bm_progress *progress, const bm_progress_report *report, bm_error *err);

// A phase of work that is handed down to those who do its pieces.
typedef struct bm_phase {
    const bm_progress *progress; // NULL: none
    bm_progress_report report;   // what is next reported; the time left is filled in
    uint64_t start_ns;           // bm_clock_ns when the phase began
} bm_phase;

// Adds to the units of work that are done (0: a sign of life between pieces of one unit) and reports.
// Errors: BM_E_CANCELLED.
bm_status bm_phase_step(bm_phase *phase, uint64_t more_done, bm_error *err);

#endif
