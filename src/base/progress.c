// Progress.
#include "base/progress.h"

#include "base/clock.h"

bm_status bm_progress_tell(const bm_progress *progress, const bm_progress_report *report, bm_error *err)
{
    if (!progress || !progress->report || progress->report(progress->user, report))
        return BM_OK;
    return bm_fail(err, BM_E_CANCELLED, "interrupted");
}

bm_status bm_phase_step(bm_phase *phase, uint64_t more_done, bm_error *err)
{
    bm_progress_report *r = &phase->report;
    const double seconds = (double)(bm_clock_ns() - phase->start_ns) * 1e-9;
    r->done += more_done;
    r->seconds_left =
        r->done > 0 && r->done <= r->total ? seconds / (double)r->done * (double)(r->total - r->done) : -1;
    return bm_progress_tell(phase->progress, r, err);
}
