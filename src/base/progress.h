// Telling the caller how far the work is, and hearing from it whether to stop. All of the library does it through here.
#ifndef BM_BASE_PROGRESS_H
#define BM_BASE_PROGRESS_H

#include "base/base.h"

// Reports, if there is somebody to report to. Errors: BM_E_CANCELLED when the answer is to stop.
bm_status bm_progress_tell(const bm_progress *progress, const bm_progress_report *report, bm_error *err);

#endif
