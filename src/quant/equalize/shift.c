// Zero points from the statistics of a group, and whether they are worth applying.
#include "quant/equalize/shift.h"

#include "quant/equalize/paddleslim.h"

#include <math.h>
#include <string.h>

#define SMALL_SHARE 1e-3 // of a channel's range: what a zero point must reach

void bm_shift_statistic_of(const bm_channel_statistics *stats, bm_channel_center statistic, uint64_t first,
                           uint64_t end, double *out)
{
    const uint32_t channels = stats->channels;
    double tokens = 0;
    for (uint64_t n = first; n < end; n++)
        tokens += (double)stats->tokens[n];
    for (uint32_t c = 0; c < channels; c++) {
        double low = INFINITY, high = -INFINITY, sum = 0, ends = 0;
        for (uint64_t n = first; n < end; n++) {
            const uint64_t i = n * channels + c;
            low = fmin(low, (double)stats->minimum[i]);
            high = fmax(high, (double)stats->maximum[i]);
            ends += (double)stats->minimum[i] + (double)stats->maximum[i];
            if (stats->mean)
                sum += (double)stats->tokens[n] * (double)stats->mean[i];
        }
        out[c] = first == end                     ? 0
                 : statistic == BM_CENTER_MEAN    ? sum / tokens
                 : statistic == BM_CENTER_AVERAGE ? ends / (2 * (double)(end - first))
                                                  : (low + high) / 2;
    }
}

// values: memory of [channels].
static void find_ema(const bm_channel_statistics *stats, bm_channel_center statistic, uint64_t num_sequences,
                     double *values, double *zero_point)
{
    uint64_t num_added = 0;
    memset(zero_point, 0, stats->channels * sizeof *zero_point);
    for (uint64_t first = 0, end; first < num_sequences; first = end) {
        end = bm_min_u64(bm_channel_statistics_step_end(stats, first), num_sequences);
        bm_shift_statistic_of(stats, statistic, first, end, values);
        bm_ema_add(zero_point, values, stats->channels);
        num_added++;
    }
    bm_ema_estimate(zero_point, num_added, stats->channels, zero_point);
}

static uint32_t drop_small(const double *low, const double *high, uint32_t channels, double *zero_point)
{
    uint32_t num_small = 0;
    for (uint32_t c = 0; c < channels; c++) {
        const bool small = zero_point[c] != 0 && fabs(zero_point[c]) < SMALL_SHARE * (high[c] - low[c]);
        zero_point[c] = small ? 0 : zero_point[c];
        num_small += small;
    }
    return num_small;
}

static double amax_behind(const bm_channel_statistics *stats, const bm_shift_params *params, double *magnitudes)
{
    const uint64_t count = bm_channel_statistics_first(stats, params->ptq_step);
    bm_channel_statistics_magnitudes(stats, 0, count, magnitudes);
    return bm_activation_amax(params->observer, magnitudes, count, stats->channels, NULL);
}

bm_status bm_shift_find(const bm_channel_statistics *stats, const bm_shift_params *params, double *zero_point,
                        bm_shift_record *record, bm_error *err)
{
    const uint64_t count = bm_channel_statistics_first(stats, params->shift_step);
    const uint32_t channels = stats->channels;
    const bool compat = params->compat_paddleslim, ema = params->sampler == BM_SHIFT_SAMPLER_EMA;
    const bool wants_mean = compat ? ema : params->statistic == BM_CENTER_MEAN;
    bm_status status = BM_OK;
    bm_channel_statistics shifted = *stats; // with zero points of its own
    double *memory = bm_alloc(bm_max_u64(2, stats->num_sequences), channels * sizeof *memory);
    double *none = bm_alloc_zero(channels, sizeof *none);
    *record = (bm_shift_record){0};
    BM_FAIL_IF(!memory || !none, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(wants_mean && !stats->mean, err, BM_E_ARGUMENT, "shift by means: the statistics keep none");
    if (compat)
        BM_TRY(bm_paddleslim_zero_point(stats, params, count, memory, zero_point, err));
    else if (ema)
        find_ema(stats, params->statistic, count, memory, zero_point);
    else
        bm_shift_statistic_of(stats, params->statistic, 0, count, zero_point);
    for (uint32_t c = 0; c < channels; c++)
        zero_point[c] = (double)(float)zero_point[c];
    shifted.zero_point = none;
    record->amax_before = amax_behind(&shifted, params, memory);
    if (!compat) {
        bm_channel_statistics_extremes(&shifted, 0, count, memory, memory + channels);
        record->num_small = drop_small(memory, memory + channels, channels, zero_point);
    }
    shifted.zero_point = zero_point;
    record->amax_after = amax_behind(&shifted, params, memory);
    record->enlarges = !compat && record->amax_after > record->amax_before;
    if (record->enlarges)
        memset(zero_point, 0, channels * sizeof *zero_point);
done:
    bm_free(memory);
    bm_free(none);
    return status;
}
