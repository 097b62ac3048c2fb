// Grouped-query attention: channel (h, d) of o_proj's input carries dimension d of the values of key/value head
// h / heads_a_group, so all heads of a group get one scale and one zero point.
#include "quant/equalize/channel_statistics.h"

#include <math.h>

typedef enum join { JOIN_MIN, JOIN_MAX, JOIN_MEAN } join;

// Over the channels of one dimension of a group's heads; they are head_dim apart.
static float joined(join how, const float *values, uint32_t head_dim, uint32_t heads_a_group)
{
    double sum = 0;
    float least = values[0], largest = values[0];
    for (uint32_t h = 0; h < heads_a_group; h++) {
        const float value = values[(size_t)h * head_dim];
        least = fminf(least, value);
        largest = fmaxf(largest, value);
        sum += (double)value;
    }
    return how == JOIN_MEAN ? (float)(sum / heads_a_group) : how == JOIN_MIN ? least : largest;
}

static void join_heads(join how, float *values, uint32_t channels, uint32_t head_dim, uint32_t heads_a_group)
{
    const uint32_t width = head_dim * heads_a_group;
    for (uint32_t first = 0; first + width <= channels; first += width)
        for (uint32_t d = 0; d < head_dim; d++) {
            const float all = joined(how, values + first + d, head_dim, heads_a_group);
            for (uint32_t h = 0; h < heads_a_group; h++)
                values[first + h * head_dim + d] = all;
        }
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
