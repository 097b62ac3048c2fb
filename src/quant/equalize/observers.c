// Largest magnitudes; nothing here rounds but the products that a fold rounds too.
#include "quant/equalize/observers.h"

#include <math.h>

static double observed(bm_activation_observer observer, double most, double sum, uint64_t num_sequences)
{
    if (num_sequences == 0)
        return BM_ACTIVATION_AMAX_FLOOR;
    return fmax(BM_ACTIVATION_AMAX_FLOOR, observer == BM_ACTIVATION_ABS_MAX ? most : sum / (double)num_sequences);
}

double bm_activation_amax_of(bm_activation_observer observer, const double *largest, uint64_t num_sequences)
{
    double most = 0, sum = 0;
    for (uint64_t n = 0; n < num_sequences; n++) {
        most = fmax(most, largest[n]);
        sum += largest[n];
    }
    return observed(observer, most, sum, num_sequences);
}

double bm_activation_amax(bm_activation_observer observer, const double *magnitudes, uint64_t num_sequences,
                          uint32_t channels, const float *scales)
{
    double most = 0, sum = 0;
    for (uint64_t n = 0; n < num_sequences; n++) {
        double largest = 0;
        for (uint32_t c = 0; c < channels; c++) {
            const double magnitude = magnitudes[n * channels + c];
            largest = fmax(largest, scales ? magnitude / (double)scales[c] : magnitude);
        }
        most = fmax(most, largest);
        sum += largest;
    }
    return observed(observer, most, sum, num_sequences);
}

void bm_weight_amax(const float *weights, uint64_t rows, uint32_t channels, uint32_t group_size, const float *scales,
                    float *amax)
{
    const uint64_t groups = bm_divide_up(channels, group_size);
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t g = 0; g < groups; g++) {
            const uint64_t end = bm_min_u64((g + 1) * group_size, channels);
            float largest = 0;
            for (uint64_t c = g * group_size; c < end; c++) {
                const float weight = weights[r * channels + c];
                largest = fmaxf(largest, fabsf(scales ? weight * scales[c] : weight));
            }
            amax[r * groups + g] = largest > 0 ? largest : BM_WEIGHT_AMAX_FLOOR;
        }
}

void bm_column_amax_add(const float *weights, uint64_t rows, uint32_t channels, float *w)
{
    for (uint64_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < channels; c++)
            w[c] = fmaxf(w[c], fabsf(weights[r * channels + c]));
}
