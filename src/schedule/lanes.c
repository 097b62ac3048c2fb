// Arithmetic of lanes.
#include "schedule/lanes.h"

#include "schedule/emit.h"

#include <math.h>

double bm_lanes_seconds(const bm_lanes *lanes, double pace, uint32_t processors)
{
    const double writing = lanes->writing / (double)bm_min_u64(processors, BM_EMIT_THREADS);
    const double first = pace > 0 ? lanes->busy / pace : lanes->device;
    return pace > 0 ? fmax(first, writing) : fmax(first, fmax(lanes->reading, writing));
}

double bm_lanes_pace(const bm_lanes *lanes, uint32_t processors)
{
    return lanes->device > 0 ? fmin(fmax((lanes->busy - lanes->writing) / lanes->device, 0.1), processors) : processors;
}

double bm_lanes_rest(double seconds, double passed)
{
    return fmax(0, seconds - passed);
}

double bm_median(double *values, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t k = i; k > 0 && values[k - 1] > values[k]; k--) {
            const double value = values[k];
            values[k] = values[k - 1];
            values[k - 1] = value;
        }
    return count == 0 ? 0 : (values[(count - 1) / 2] + values[count / 2]) / 2;
}
