// column_range: of each span of rows and each column the least and largest element, the sum and that of squares or
// magnitudes. -0 lies below 0, and a NaN beyond the infinities, on the side of its sign.
#include "device/host_kernels.h"

#include <math.h>
#include <string.h>

// Numbers as integers of the same order.
static int64_t in_order(double value)
{
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits < 0 ? bits ^ INT64_MAX : bits;
}

static float number(int64_t ordered)
{
    double value;
    const int64_t bits = ordered < 0 ? ordered ^ INT64_MAX : ordered;
    memcpy(&value, &bits, sizeof value);
    return (float)value;
}

void host_column_range(const host_call *call)
{
    const bm_column_range_scalars *a = call->scalars;
    const float *part_maximum = call->buffers[1], *part_sum = call->buffers[2], *part_moments = call->buffers[3];
    const uint32_t *starts = (const uint32_t *)call->buffers[4] + a->first_span;
    float *minimum = call->buffers[5], *maximum = call->buffers[6], *sums = call->buffers[7],
          *moments = call->buffers[8];
    for (uint32_t s = 0; s < a->spans; s++)
        for (uint32_t c = 0; c < a->cols; c++) {
            int64_t least = INT64_MAX, largest = INT64_MIN;
            double sum = 0, sum_of_moments = 0;
            for (uint32_t r = starts[s] - a->first_row; r < starts[s + 1] - a->first_row; r++) {
                const double low = host_load(call->buffers[0], call->types[0], (uint64_t)r * a->x_stride + c);
                const uint64_t part = (uint64_t)r * a->part_stride + c;
                const int64_t high = in_order(a->joins ? (double)part_maximum[part] : low);
                least = in_order(low) < least ? in_order(low) : least;
                largest = high > largest ? high : largest;
                sum += a->joins ? (double)part_sum[part] : low;
                if (a->moment != 0) {
                    const double moment = a->moment == 2 ? fabs(low) : low * low;
                    sum_of_moments += a->joins ? (double)part_moments[part] : moment;
                }
            }
            const uint64_t at = (uint64_t)s * a->out_stride + c;
            minimum[at] = number(least);
            maximum[at] = number(largest);
            sums[at] = (float)sum;
            if (a->moment != 0)
                moments[at] = (float)sum_of_moments;
        }
}
