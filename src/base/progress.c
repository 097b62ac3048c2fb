// Progress.
#include "base/progress.h"

bm_status bm_progress_tell(const bm_progress *progress, const bm_progress_report *report, bm_error *err)
{
    if (!progress || !progress->report || progress->report(progress->user, report))
        return BM_OK;
    return bm_fail(err, BM_E_CANCELLED, "interrupted");
}
