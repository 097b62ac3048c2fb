// The exponential average, with the correction for its start at 0.
#include "quant/equalize/shift.h"

#include <math.h>

void bm_ema_add(double *sum, const double *values, uint32_t channels)
{
    for (uint32_t c = 0; c < channels; c++)
        sum[c] = BM_EMA_BETA * sum[c] + (1 - BM_EMA_BETA) * values[c];
}

void bm_ema_estimate(const double *sum, uint64_t num_added, uint32_t channels, double *out)
{
    const double weight = 1 - pow(BM_EMA_BETA, (double)num_added); // of all values together
    for (uint32_t c = 0; c < channels; c++)
        out[c] = num_added ? sum[c] / weight : 0;
}
