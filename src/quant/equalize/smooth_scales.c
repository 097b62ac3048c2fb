// Scales: powers in double, since pow of devices is not rounded the same everywhere.
#include "quant/equalize/smooth_scales.h"

#include <math.h>

float bm_smooth_scale_clamp(double scale)
{
    return (float)fmin(fmax(scale, BM_SMOOTH_SCALE_MIN), BM_SMOOTH_SCALE_MAX);
}

float bm_smooth_scale(double a, double w, double alpha)
{
    return bm_channel_is_dead(a, w) ? 1.0f : bm_smooth_scale_clamp(pow(a, alpha) / pow(w, 1 - alpha));
}

float bm_smooth_scale_pow2(double scale)
{
    return ldexpf(1.0f, (int)lrint(log2(scale)));
}

// The least scale that is not below `least`, and the largest that is not above `most`.
static float scale_above(double least, bool pow2)
{
    const float nearest = pow2 ? ldexpf(1.0f, (int)ceil(log2(least))) : (float)least;
    return (double)nearest < least ? nextafterf(nearest, INFINITY) : nearest;
}

static float scale_below(double most, bool pow2)
{
    const float nearest = pow2 ? ldexpf(1.0f, (int)floor(log2(most))) : (float)most;
    return (double)nearest > most ? nextafterf(nearest, 0) : nearest;
}

static float limit(const bm_smooth_limits *limits, uint32_t c, float scale)
{
    // Limits lie on the other side of 1: what is stored is finite as it is.
    const double least = limits->divided ? (double)limits->divided[c] / limits->divided_max : 0;
    const double most = limits->multiplied && limits->multiplied[c] > 0
                            ? limits->multiplied_max / (double)limits->multiplied[c]
                            : INFINITY;
    if ((double)scale < least)
        return scale_above(least, limits->pow2);
    return (double)scale > most ? scale_below(most, limits->pow2) : scale;
}

void bm_smooth_scales_finish(const bm_smooth_limits *limits, uint32_t channels, float *scales,
                             bm_smooth_finish_record *record)
{
    double sum = 0;
    *record = (bm_smooth_finish_record){0};
    for (uint32_t c = 0; c < channels; c++) {
        scales[c] = limits->pow2 ? bm_smooth_scale_pow2((double)scales[c]) : scales[c];
        sum += log2((double)scales[c]);
    }
    record->exponent = channels ? -(int32_t)lrint(sum / channels) : 0;
    for (uint32_t c = 0; c < channels; c++) {
        const float chosen = ldexpf(scales[c], record->exponent);
        scales[c] = limit(limits, c, chosen);
        record->num_moved += scales[c] != chosen;
    }
}
