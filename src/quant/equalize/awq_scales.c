// Candidates of AWQ.
#include "quant/equalize/awq_scales.h"

#include "quant/equalize/better.h"
#include "quant/equalize/smooth_scales.h"

#include <math.h>

#define LEAST_SCALE 1e-4
#define LEAST_WEIGHT 1e-4
#define NEAR 1e-5 // of a loss: more than devices, which sum up in orders of their own, disagree by

bm_status bm_awq_grid_create(uint32_t n_grid, bool extended, bm_smooth_grid *out, bm_error *err)
{
    const uint32_t count = extended ? 2 * n_grid + 1 : n_grid;
    *out = (bm_smooth_grid){.candidates = bm_alloc(count, sizeof *out->candidates)};
    if (!out->candidates)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (; out->count < count; out->count++) {
        const bool weighs = out->count > n_grid;
        out->candidates[out->count] =
            (bm_smooth_candidate){.kind = weighs ? BM_SMOOTH_AWQ_DUO : BM_SMOOTH_AWQ,
                                  .value = (double)(weighs ? out->count - n_grid - 1 : out->count) / (double)n_grid};
    }
    return BM_OK;
}

uint32_t bm_awq_best(const double *losses, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (bm_is_better_by(NEAR, losses[i], losses[best]))
            best = i;
    return best;
}

static double raw_scale(const bm_smooth_candidate *candidate, double m, double w)
{
    const double r = candidate->value;
    const double s = candidate->kind == BM_SMOOTH_AWQ ? pow(m, r) : pow(m, r) / (pow(w, 1 - r) + LEAST_WEIGHT);
    return fmax(s, LEAST_SCALE);
}

void bm_awq_scales(const bm_smooth_candidate *candidate, uint32_t channels, const double *m, const double *w,
                   float *scales)
{
    double least = INFINITY, largest = 0;
    for (uint32_t c = 0; c < channels; c++) {
        const double s = raw_scale(candidate, m[c], w[c]);
        if (bm_channel_is_dead(m[c], w[c]))
            continue;
        least = fmin(least, s);
        largest = fmax(largest, s);
    }
    const double middle = largest > 0 ? sqrt(least * largest) : 1;
    for (uint32_t c = 0; c < channels; c++)
        scales[c] =
            bm_channel_is_dead(m[c], w[c]) ? 1.0f : bm_smooth_scale_clamp(raw_scale(candidate, m[c], w[c]) / middle);
}
