// Averages, scales and codes as PaddleSlim has them.
#include "quant/equalize/paddleslim.h"

#include <math.h>
#include <string.h>

void bm_paddleslim_halve_add(double *average, const double *values, uint32_t channels, uint64_t num_calls)
{
    for (uint32_t c = 0; c < channels; c++)
        average[c] = num_calls == 0 ? values[c] : (average[c] + values[c]) / 2;
}

void bm_paddleslim_ema_add(double *sum, const double *values, uint32_t channels, uint64_t num_calls, double *out)
{
    if (num_calls == 0) {
        memcpy(out, values, channels * sizeof *out);
        return;
    }
    bm_ema_add(sum, values, channels);
    if (num_calls == 1)
        memcpy(out, sum, channels * sizeof *out);
    else
        bm_ema_estimate(sum, num_calls - 1, channels, out);
}

bm_status bm_paddleslim_zero_point(const bm_channel_statistics *stats, const bm_shift_params *params,
                                   uint64_t num_sequences, double *memory, double *zero_point, bm_error *err)
{
    const uint32_t channels = stats->channels;
    double *sum = memory, *values = memory + channels;
    uint64_t num_calls = 0;
    if (num_sequences <= stats->batch)
        return bm_fail(err, BM_E_ARGUMENT,
                       "shift_step: found 1 step, expected 2 or more: compat takes none of the first");
    memset(sum, 0, channels * sizeof *sum);
    memset(zero_point, 0, channels * sizeof *zero_point);
    for (uint64_t first = stats->batch; first < num_sequences; first += stats->batch) {
        const bool ema = params->sampler == BM_SHIFT_SAMPLER_EMA;
        // Halving is linear: the half of both ends' sum is halved as the ends are.
        bm_shift_statistic_of(stats, ema ? BM_CENTER_MEAN : BM_CENTER_MIDRANGE, first,
                              bm_min_u64(first + stats->batch, num_sequences), values);
        for (uint32_t call = 0; call < params->calls_a_step; call++, num_calls++) {
            if (ema)
                bm_paddleslim_ema_add(sum, values, channels, num_calls, zero_point);
            else
                bm_paddleslim_halve_add(zero_point, values, channels, num_calls);
        }
    }
    return BM_OK;
}

double bm_paddleslim_activation_avg(const double *magnitudes, uint64_t num_sequences, uint32_t batch, uint32_t channels,
                                    const float *scales)
{
    double sum = 0, steps = 0;
    for (uint64_t first = 0; first < num_sequences; first += batch, steps++)
        sum += bm_activation_amax(BM_ACTIVATION_AVG, magnitudes + first * channels,
                                  bm_min_u64(batch, num_sequences - first), channels, scales);
    return steps > 0 ? sum / steps : BM_ACTIVATION_AMAX_FLOOR;
}

float bm_paddleslim_smooth_scale(double a, double w, double alpha)
{
    return (float)fmax(1e-5, pow(a, alpha) / pow(w, 1 - alpha));
}

static float clamp_code(float code, float largest)
{
    return fminf(fmaxf(code, -largest - 1), largest);
}

int32_t bm_paddleslim_search_code(float x, float amax)
{
    const float share = x / amax;
    return (int32_t)clamp_code(roundf(share * 127.0f), 127.0f);
}

int32_t bm_paddleslim_stored_code(float w, float amax, int32_t largest)
{
    const float inverse = 1.0f / amax;
    const float factor = (float)largest * inverse;
    return (int32_t)clamp_code(rintf(factor * w), (float)largest);
}
