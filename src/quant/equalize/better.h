// When a loss is better than another: candidates are listed from what changes least to what changes most, and a later
// one wins only by more than rounding could make of it.
#ifndef BM_QUANT_EQUALIZE_BETTER_H
#define BM_QUANT_EQUALIZE_BETTER_H

#include <math.h>
#include <stdbool.h>

// Better by more than a share of the best so far. A loss that is not finite is never better; whatever is finite is better than it.
static inline bool bm_is_better_by(double share, double later, double best)
{
    return isfinite(later) && (!isfinite(best) || later < best - share * fabs(best));
}

static inline bool bm_is_better(double later, double best)
{
    return bm_is_better_by(1e-12, later, best);
}

#endif
