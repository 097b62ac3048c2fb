// Grouped-query attention: channel (h, d) of o_proj's input carries dimension d of the values of key/value head
// h / heads_a_group, so all heads of a group get one scale and one zero point.
#include "quant/equalize/channel_statistics.h"

#include <math.h>

typedef enum join { JOIN_MIN, JOIN_MAX, JOIN_MEAN } join;

// Of channels, float32 or double.
typedef struct numbers {
    float *narrow;
    double *wide; // NULL: narrow
} numbers;

static double get(const numbers *values, uint32_t c)
{
    return values->wide ? values->wide[c] : (double)values->narrow[c];
}

// Over the channels of one dimension of a group's heads, from the first; they are head_dim apart.
static double joined(join how, const numbers *values, uint32_t first, uint32_t head_dim, uint32_t heads_a_group)
{
    double sum = 0, least = get(values, first), largest = least;
    for (uint32_t h = 0; h < heads_a_group; h++) {
        const double value = get(values, first + h * head_dim);
        least = fmin(least, value);
        largest = fmax(largest, value);
        sum += value;
    }
    return how == JOIN_MEAN ? sum / heads_a_group : how == JOIN_MIN ? least : largest;
}

static void join_numbers(join how, const numbers *values, uint32_t channels, uint32_t head_dim, uint32_t heads_a_group)
{
    const uint32_t width = head_dim * heads_a_group;
    for (uint32_t first = 0; first + width <= channels; first += width)
        for (uint32_t d = 0; d < head_dim; d++) {
            const double all = joined(how, values, first + d, head_dim, heads_a_group);
            for (uint32_t h = 0; h < heads_a_group; h++)
                if (values->wide)
                    values->wide[first + h * head_dim + d] = all;
                else
                    values->narrow[first + h * head_dim + d] = (float)all;
        }
}

static void join_heads(join how, float *values, uint32_t channels, uint32_t head_dim, uint32_t heads_a_group)
{
    join_numbers(how, &(numbers){.narrow = values}, channels, head_dim, heads_a_group);
}

void bm_join_heads_mean(double *values, uint32_t channels, uint32_t head_dim, uint32_t heads_a_group)
{
    join_numbers(JOIN_MEAN, &(numbers){.wide = values}, channels, head_dim, heads_a_group);
}

void bm_join_heads_max(float *values, uint32_t channels, uint32_t head_dim, uint32_t heads_a_group)
{
    join_heads(JOIN_MAX, values, channels, head_dim, heads_a_group);
}

void bm_channel_statistics_join_heads(bm_channel_statistics *stats, uint32_t head_dim, uint32_t heads_a_group)
{
    for (uint64_t n = 0; n < stats->num_sequences; n++) {
        const uint64_t row = n * stats->channels;
        join_heads(JOIN_MIN, stats->minimum + row, stats->channels, head_dim, heads_a_group);
        join_heads(JOIN_MAX, stats->maximum + row, stats->channels, head_dim, heads_a_group);
        if (stats->mean)
            join_heads(JOIN_MEAN, stats->mean + row, stats->channels, head_dim, heads_a_group);
        if (stats->mean_magnitude)
            join_heads(JOIN_MEAN, stats->mean_magnitude + row, stats->channels, head_dim, heads_a_group);
    }
}
