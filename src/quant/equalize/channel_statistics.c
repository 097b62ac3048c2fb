// Statistics of channels: kept a sequence, so that observers can average over sequences whatever is done to the
// channels.
#include "quant/equalize/channel_statistics.h"

#include <math.h>
#include <string.h>

bm_status bm_channel_statistics_init(bm_channel_statistics *stats, uint32_t channels, uint32_t batch, bool keeps_mean,
                                     bool keeps_mean_magnitude, bm_error *err)
{
    *stats = (bm_channel_statistics){.channels = channels, .batch = batch};
    if (batch == 0 || channels == 0)
        return bm_fail(err, BM_E_ARGUMENT, "statistics: expected channels and sequences a step, found none");
    stats->zero_point = bm_alloc_zero(channels, sizeof *stats->zero_point);
    stats->mean = keeps_mean ? bm_alloc(0, sizeof *stats->mean) : NULL;
    stats->mean_magnitude = keeps_mean_magnitude ? bm_alloc(0, sizeof *stats->mean_magnitude) : NULL;
    if (!stats->zero_point || (keeps_mean && !stats->mean) || (keeps_mean_magnitude && !stats->mean_magnitude))
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    return BM_OK;
}

void bm_channel_statistics_destroy(bm_channel_statistics *stats)
{
    bm_free(stats->minimum);
    bm_free(stats->maximum);
    bm_free(stats->mean);
    bm_free(stats->mean_magnitude);
    bm_free(stats->tokens);
    bm_free(stats->zero_point);
    bm_free(stats->step);
    *stats = (bm_channel_statistics){0};
}

static bool grow_floats(float **values, uint64_t rows, uint32_t channels)
{
    uint64_t count = 0;
    float *grown = bm_multiply_u64(rows, channels, &count) ? bm_resize(*values, count, sizeof *grown) : NULL;
    if (grown)
        *values = grown;
    return grown;
}

static bool reserve(bm_channel_statistics *stats, uint64_t count)
{
    const uint64_t needed = stats->num_sequences + count, capacity = bm_max_u64(needed, 2 * stats->capacity);
    if (needed <= stats->capacity)
        return true;
    uint64_t *tokens = bm_resize(stats->tokens, capacity, sizeof *tokens);
    if (tokens)
        stats->tokens = tokens;
    if (!tokens || !grow_floats(&stats->minimum, capacity, stats->channels) ||
        !grow_floats(&stats->maximum, capacity, stats->channels) ||
        (stats->mean && !grow_floats(&stats->mean, capacity, stats->channels)) ||
        (stats->mean_magnitude && !grow_floats(&stats->mean_magnitude, capacity, stats->channels)))
        return false;
    stats->capacity = capacity;
    return true;
}

bm_status bm_channel_statistics_add(bm_channel_statistics *stats, uint64_t count, const float *minimum,
                                    const float *maximum, const float *mean, const float *mean_magnitude,
                                    const uint64_t *tokens, bm_error *err)
{
    const uint32_t channels = stats->channels;
    bm_status status = BM_OK;
    if (count == 0)
        return BM_OK;
    for (uint64_t n = 0; n < count; n++) {
        const unsigned long long sequence = stats->num_sequences + n;
        BM_FAIL_IF(tokens[n] == 0, err, BM_E_ARGUMENT, "sequence %llu: no tokens", sequence);
        for (uint32_t c = 0; c < channels; c++) {
            const uint64_t i = n * channels + c;
            BM_FAIL_IF(!isfinite(minimum[i]) || !isfinite(maximum[i]) || (stats->mean && !isfinite(mean[i])) ||
                           (stats->mean_magnitude && !isfinite(mean_magnitude[i])),
                       err, BM_E_NUMERIC,
                       "sequence %llu, channel %u: found a NaN or an infinity, expected finite activations", sequence,
                       c);
            BM_FAIL_IF(minimum[i] > maximum[i], err, BM_E_ARGUMENT,
                       "sequence %llu, channel %u: minimum %g above maximum %g", sequence, c, (double)minimum[i],
                       (double)maximum[i]);
        }
    }
    BM_FAIL_IF(!reserve(stats, count), err, BM_E_MEMORY, "out of memory");
    const uint64_t at = stats->num_sequences * channels;
    memcpy(stats->minimum + at, minimum, count * channels * sizeof *minimum);
    memcpy(stats->maximum + at, maximum, count * channels * sizeof *maximum);
    if (stats->mean)
        memcpy(stats->mean + at, mean, count * channels * sizeof *mean);
    if (stats->mean_magnitude)
        memcpy(stats->mean_magnitude + at, mean_magnitude, count * channels * sizeof *mean_magnitude);
    memcpy(stats->tokens + stats->num_sequences, tokens, count * sizeof *tokens);
    stats->num_sequences += count;
done:
    return status;
}

uint64_t bm_channel_statistics_first(const bm_channel_statistics *stats, int64_t steps)
{
    uint64_t wanted = 0;
    if (stats->step && steps >= 0) {
        while (wanted < stats->num_sequences && stats->step[wanted] < (uint64_t)steps)
            wanted++;
        return wanted;
    }
    if (steps < 0 || !bm_multiply_u64((uint64_t)steps, stats->batch, &wanted))
        return stats->num_sequences;
    return bm_min_u64(wanted, stats->num_sequences);
}

uint64_t bm_channel_statistics_step_end(const bm_channel_statistics *stats, uint64_t first)
{
    uint64_t end = first + 1;
    if (!stats->step)
        return bm_min_u64(first + stats->batch, stats->num_sequences);
    while (end < stats->num_sequences && stats->step[end] == stats->step[first])
        end++;
    return end;
}

void bm_channel_statistics_extremes(const bm_channel_statistics *stats, uint64_t first, uint64_t end, double *low,
                                    double *high)
{
    for (uint32_t c = 0; c < stats->channels; c++)
        low[c] = high[c] = 0;
    for (uint64_t n = first; n < end; n++)
        for (uint32_t c = 0; c < stats->channels; c++) {
            const uint64_t i = n * stats->channels + c;
            const double least = (double)stats->minimum[i] - stats->zero_point[c];
            const double largest = (double)stats->maximum[i] - stats->zero_point[c];
            low[c] = n == first ? least : fmin(low[c], least);
            high[c] = n == first ? largest : fmax(high[c], largest);
        }
}

// Not below 0: a maximum is not below its minimum.
static double magnitude(const bm_channel_statistics *stats, uint64_t sequence, uint32_t channel)
{
    const uint64_t i = sequence * stats->channels + channel;
    const double z = stats->zero_point[channel];
    return fmax((double)stats->maximum[i] - z, z - (double)stats->minimum[i]);
}

void bm_channel_statistics_amax(const bm_channel_statistics *stats, uint64_t first, uint64_t end, double *amax)
{
    for (uint32_t c = 0; c < stats->channels; c++) {
        amax[c] = 0;
        for (uint64_t n = first; n < end; n++)
            amax[c] = fmax(amax[c], magnitude(stats, n, c));
    }
}

void bm_channel_statistics_magnitudes(const bm_channel_statistics *stats, uint64_t first, uint64_t end, double *out)
{
    for (uint64_t n = first; n < end; n++)
        for (uint32_t c = 0; c < stats->channels; c++)
            out[(n - first) * stats->channels + c] = magnitude(stats, n, c);
}

void bm_channel_statistics_mean_magnitude(const bm_channel_statistics *stats, uint64_t first, uint64_t end, double *out)
{
    double tokens = 0;
    for (uint32_t c = 0; c < stats->channels; c++)
        out[c] = 0;
    for (uint64_t n = first; n < end; n++) {
        tokens += (double)stats->tokens[n];
        for (uint32_t c = 0; c < stats->channels; c++)
            out[c] += (double)stats->tokens[n] * (double)stats->mean_magnitude[n * stats->channels + c];
    }
    for (uint32_t c = 0; c < stats->channels && tokens > 0; c++)
        out[c] /= tokens;
}
